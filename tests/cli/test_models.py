import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from cli.models import COSTS
from models.weights import library as library_module
from models.weights.checkpoint import save
from models.weights.library import find
from models.zoo.registry import ARCHITECTURES, build

DOCS = Path(__file__).parents[2] / "docs/models.md"


@pytest.fixture(autouse=True)
def _nothing_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "SHIPPED", tmp_path)


def models(*arguments: str) -> Result:
    return CliRunner(env={"SEGSERVE_MODEL_DIR": None}).invoke(main, ["models", *arguments])


def listed(*arguments: str) -> dict[str, dict[str, Any]]:
    result = models("--json", *arguments)
    assert result.exit_code == 0, result.output
    return {model["name"]: model for model in json.loads(result.stdout)}


def test_an_architecture_without_weights_has_the_papers_configuration() -> None:
    found = listed()
    assert list(found) == list(ARCHITECTURES)
    assert found["eseg-s"] == {
        "name": "eseg-s",
        "family": "eseg",
        "params": 6_871_011,
        "macs": 34_430_416_384,
        "input_size": [1024, 2048],
        "num_classes": 19,
        "label_set": None,
        "paper": {"params": 6_900_000, "macs": 34_500_000_000, "at": [1024, 2048], "num_classes": 19},
        "weights": False,
    }


def test_figures_that_the_paper_does_not_print_are_null() -> None:
    assert listed()["eseg-lite-m"]["paper"] is None
    assert listed()["eseg-lite-s"]["paper"] == {"params": None, "macs": 17e9, "at": [1024, 2048], "num_classes": 19}


def test_weights_are_described_by_their_card(checkpoint_dir: Path) -> None:
    found = listed("--model-dir", str(checkpoint_dir))
    assert list(found) == [*ARCHITECTURES, "tiny"]
    tiny, lite_s = found["tiny"], found["eseg-lite-s"]
    assert tiny["weights"]
    assert (tiny["input_size"], tiny["num_classes"], tiny["label_set"]) == ([120, 160], 11, "camvid11")
    assert (tiny["version"], tiny["licence"], tiny["scores"]) == (1, "Free for tests", {"val_miou": 0.01})
    for same in ("family", "params", "macs", "paper"):
        assert tiny[same] == lite_s[same]


def test_weights_under_an_architectures_name_take_its_place_in_their_newest_version(
    checkpoint_dir: Path, tmp_path: Path
) -> None:
    for version in (9, 10):
        card = find("tiny", checkpoint_dir).card.model_copy(update={"name": "eseg-lite-s", "version": version})
        save(build("eseg-lite-s", 11), card, tmp_path / f"eseg-lite-s@{version}.safetensors")
    found = listed("--model-dir", str(tmp_path))
    assert list(found) == list(ARCHITECTURES)
    assert (found["eseg-lite-s"]["version"], found["eseg-lite-s"]["label_set"]) == (10, "camvid11")
    assert found["eseg-lite-s"]["params"] == 3_596_759


def tables(*arguments: str) -> tuple[list[str], list[str]]:
    """The lines of what can be used and of what can be trained."""
    result = models(*arguments)
    assert result.exit_code == 0, result.output
    ready, architectures = result.stdout.split("\n\n")
    return ready.splitlines(), architectures.splitlines()


def test_what_can_be_used_stands_first_with_size_speed_accuracy_and_licence(checkpoint_dir: Path) -> None:
    header, *rows = tables("--model-dir", str(checkpoint_dir))[0]
    assert re.split(r"\s{2,}", header) == [
        *("READY TO USE", "PARAMS", "SPEED HERE", "MEAN IOU", "LABEL SET", "LICENCE OF THE WEIGHTS")
    ]
    [tiny] = [re.split(r"\s{2,}", row) for row in rows]
    assert re.fullmatch(r"\d+ ms at 120 x 160", tiny.pop(2))
    assert tiny == ["tiny@1", "3.59 M", "1.0% on val", "camvid11", "Free for tests"]


def test_of_several_versions_the_newest_is_offered(checkpoint_dir: Path, tmp_path: Path) -> None:
    for version in (9, 10):
        shutil.copy(checkpoint_dir / "tiny@1.safetensors", tmp_path / f"tiny@{version}.safetensors")
    _, row = tables("--model-dir", str(tmp_path))[0]
    assert row.startswith("tiny@10 ")


def test_without_weights_it_says_where_they_come_from() -> None:
    assert tables()[0] == ["no weights at hand: `segserve train` makes them"]


def test_what_can_be_trained_has_our_counts_beside_the_papers() -> None:
    header, *rows = tables()[1]
    assert re.split(r"\s{2,}", header) == ["TO TRAIN", *COSTS]
    named = {row.split()[0]: row for row in rows}
    assert list(named) == list(ARCHITECTURES)
    # Of 4.40 M printed parameters; the paper counts no multiply-adds.
    wide = ["4.44", "M", "4.40", "M", "+0.9%", "99.24", "G", "-", "-"]
    assert named["mobile-spinenet-s49-wide"].split()[1:10] == wide
    assert "334.29 G  343.00 G   -2.5%" in named["eseg-l"]
    assert len({row.index(" M") for row in rows}) == 1


def test_docs_are_up_to_date() -> None:
    printed = models("--markdown")
    assert printed.exit_code == 0, printed.output
    assert printed.stdout == DOCS.read_text(encoding="utf-8"), "run `segserve models --markdown > docs/models.md`"


def test_docs_do_not_depend_on_the_weights_at_hand(checkpoint_dir: Path) -> None:
    assert models("--markdown", "--model-dir", str(checkpoint_dir)).stdout == models("--markdown").stdout


def test_one_format_at_a_time() -> None:
    assert models("--markdown", "--json").exit_code == 2


def test_weights_of_an_unknown_architecture_are_an_error(checkpoint_dir: Path, tmp_path: Path) -> None:
    card = find("tiny", checkpoint_dir).card.model_copy(update={"architecture": "eseg-xxl"})
    save(build("eseg-lite-s", 11), card, tmp_path / "x@1.safetensors")
    for result in (models("--model-dir", str(tmp_path)), models("--json", "--model-dir", str(tmp_path))):
        assert result.exit_code == 1
        assert result.stderr.startswith(f"Error: {tmp_path / 'x@1.safetensors'}: no architecture 'eseg-xxl'")


def test_weights_that_do_not_fit_their_architecture_are_an_error(checkpoint_dir: Path, tmp_path: Path) -> None:
    card = find("tiny", checkpoint_dir).card.model_copy(update={"architecture": "mobile-spinenet-s49"})
    save(build("eseg-lite-s", 11), card, tmp_path / "x@1.safetensors")
    result = models("--model-dir", str(tmp_path))
    assert result.exit_code == 1
    assert result.stderr.startswith(
        f"Error: {tmp_path / 'x@1.safetensors'} does not fit mobile-spinenet-s49 with 11 classes"
    )


def test_a_broken_checkpoint_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x@1.safetensors").write_text("no")
    result = models("--json")
    assert result.exit_code == 1
    assert "x@1.safetensors cannot be read as safetensors" in result.stderr
    assert result.stdout == ""
