"""Buildah, for building images and running them: with chroot isolation, on the network of this machine."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

USER = 1000
"""The images' own."""
STOP_SECONDS = 90
# What pip and TLS need of this machine, where it has them.
_MACHINE = ("/etc/ssl/certs", "/etc/pip.conf", "/root/.config/pip")
_LOCAL_PATH = re.compile(r"(?:file://)?(/[^\s'\"]+)")


@dataclass(frozen=True, slots=True)
class Buildah:
    """storage: a folder for images and containers, apart from the machine's own."""

    storage: Path

    def __call__(self, *arguments: object) -> str:
        """Run it and return what it prints. Raises CalledProcessError, after its complaints went to stderr."""
        return subprocess.run(self._command(*arguments), check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def has(self, image: str) -> bool:
        found = subprocess.run(self._command("inspect", "--type", "image", image), capture_output=True, check=False)
        return found.returncode == 0

    def import_root(self, tar: Path, image: str) -> None:
        """Make an image of a file system."""
        container = self("from", "scratch")
        self("add", "--quiet", container, tar, "/")
        self("commit", "--quiet", "--rm", container, image)

    def build(self, folder: Path, target: str, image: str, **arguments: str) -> None:
        """Build `target` of the Dockerfile in `folder`. arguments: its ARGs."""
        given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        volumes = [f"--volume={path}:{path}:ro" for path in _machine_paths()]
        options = ("--isolation=chroot", "--layers", *given, *volumes, f"--target={target}", f"--tag={image}")
        subprocess.run(self._command("build", *options, folder), check=True, stdout=subprocess.DEVNULL)

    def size(self, image: str) -> int:
        """Bytes, the base included."""
        (found,) = json.loads(self("images", "--json", image))
        number, unit = str(found["size"]).split()
        return round(float(number) * {"KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])

    @contextmanager
    def container(self, image: str) -> Iterator["Container"]:
        """One that runs nothing yet."""
        name = self("from", "--pull-never", image)
        try:
            yield Container(self, name, Path(self("mount", name)))
        finally:
            self("rm", name)

    def _command(self, *arguments: object) -> list[str]:
        return ["buildah", f"--root={self.storage}/root", f"--runroot={self.storage}/run", *map(str, arguments)]


@dataclass(frozen=True, slots=True)
class Container:
    """root: its file system, as this machine sees it."""

    buildah: Buildah
    name: str
    root: Path

    @contextmanager
    def running(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path, cache: Path | None = None
    ) -> Iterator[Callable[[], psutil.Process]]:
        """`segserve COMMAND`: what this yields finds the process; SIGTERM ends it. cache: mounted at /cache."""
        flags = [f"--env={name}={value}" for name, value in environment.items()]
        flags += [f"--volume={cache}:/cache:rw"] if cache else []
        run = self.buildah._command("run", "--isolation=chroot", *flags, self.name, "--", "segserve", *command)
        with log.open("wb") as output:
            process = subprocess.Popen(run, stdout=output, stderr=output)
        try:
            yield lambda: _main_process(process)
        finally:
            _main_process(process).send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)

    def written(self) -> list[Path]:
        """What its user has written outside of /tmp: nothing, where the root may be read-only."""
        found = []
        for folder, _, files in os.walk(self.root):
            inside = Path(folder).relative_to(self.root)
            if inside.parts[:1] not in (("tmp",), ("proc",), ("dev",), ("sys",)):
                found += [inside / f for f in files if (Path(folder) / f).lstat().st_uid == USER]
        return found


def _machine_paths() -> list[Path]:
    configured = subprocess.run(["pip", "config", "list"], capture_output=True, text=True, check=False).stdout
    # An index leads to files beside it.
    named = (path.removesuffix("/simple") for path in (*_MACHINE, *_LOCAL_PATH.findall(configured)))
    paths = {Path(path) for path in named if Path(path).exists()}
    return sorted(path for path in paths if paths.isdisjoint(path.parents))


def _main_process(run: "subprocess.Popen[bytes]") -> psutil.Process:
    """The container's first process, below those of Buildah's."""
    for child in psutil.Process(run.pid).children(recursive=True):
        if any(part.endswith("/segserve") for part in child.cmdline()[:2]):
            return child
    raise ChildProcessError(f"the container has ended with {run.poll()}")
