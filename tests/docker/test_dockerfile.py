"""The Dockerfile, as far as it can be tested without a container engine, and how `make images` builds it."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.containers.__main__ import TORCH_INDICES, build
from loadtests.containers.buildah import Buildah

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
EXACT = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+(-[\w.-]+)?")
"""An image by its name and a whole version."""
TARGETS = ["gateway", "embedded", "worker", "label"]


def test_every_stage_is_made_from_one_before_it() -> None:
    bases, stages = re.findall(r"^ARG (\w+)=", DOCKERFILE, re.MULTILINE), set[str]()
    for line in DOCKERFILE.splitlines():
        if copied := re.search(r"--from=(\S+)", line):
            assert copied[1] in stages
        if made := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            assert made[1] in stages | {f"${{{base}}}" for base in bases}
            stages.add(made[2])
    assert set(TARGETS) <= stages


def test_what_comes_from_a_registry_is_pinned() -> None:
    """What a build takes today it takes next year. A variable's default counts, for `make images` gives its own."""
    defaults = dict(re.findall(r"^ARG (\w+)=(\S*)$", DOCKERFILE, re.MULTILINE))
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
    named = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    images = {defaults[name.strip("${}")] if name.startswith("$") else name for name in named} - stages
    assert images
    assert all(EXACT.fullmatch(image) for image in images)


def test_no_image_holds_what_installs_packages() -> None:
    environments = DOCKERFILE.split("-environment\n")[1:]
    assert len(environments) == len(TARGETS)
    for environment in environments:
        assert "pip uninstall --yes --quiet pip" in environment.partition("\nFROM ")[0]


@dataclass(frozen=True)
class Recorder(Buildah):
    """Builds nothing, and keeps what it was asked for."""

    builds: dict[str, dict[str, str]] = field(default_factory=dict)

    def build(self, folder: Path, target: str, image: str, **arguments: str) -> None:
        assert folder == ROOT
        assert target in image
        self.builds[target] = arguments

    def size(self, image: str) -> int:  # noqa: ARG002 (the parent's signature)
        return 0


def test_all_images_are_built_with_arguments_that_there_are(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    build(recorder, "debian", "https://index.example")
    assert list(recorder.builds) == TARGETS
    for arguments in recorder.builds.values():
        assert arguments["CPU_TORCH_INDEX"] == arguments["LABEL_TORCH_INDEX"] == "https://index.example"
        assert all(f"ARG {name}=" in DOCKERFILE for name in arguments)


def test_without_an_index_the_dockerfiles_own_count(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    build(recorder, "debian", None)
    assert all(arguments == {"BASE": "debian"} for arguments in recorder.builds.values())


def test_with_an_empty_index_pips_configuration_counts(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    build(recorder, "debian", "")
    for arguments in recorder.builds.values():
        assert arguments == {"BASE": "debian"} | dict.fromkeys(TORCH_INDICES, "")
    # And none of them is passed on to pip.
    assert all(DOCKERFILE.count(f"${{{name}:+--extra-index-url ${{{name}}}}}") == 1 for name in TORCH_INDICES)
