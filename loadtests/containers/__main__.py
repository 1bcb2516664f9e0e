"""Build the images, start them, label a photo, and say what they weigh: make images.

Needs root, and from Debian buildah and debootstrap. Without --base the base image is a Debian made on the spot.
"""

import argparse
import json
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil

from loadtests.containers.buildah import USER, Buildah, Container
from loadtests.containers.labelled import labels
from loadtests.loopback import HOST, free_port

ROOT = Path(__file__).parents[2]
VERSION = "0.1.0"
DEBIAN = "localhost/segserve-debian:bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
START_SECONDS = 180.0
TORCH_INDICES = ("CPU_TORCH_INDEX", "WORKER_TORCH_INDEX", "LABEL_TORCH_INDEX")
FORBIDDEN = ("gcc", "cc", "g++", "clang", "make")
Report = dict[str, dict[str, float | str]]


def debian(buildah: Buildah, folder: Path) -> str:
    """The image of a minimal Debian with Python."""
    if not buildah.has(DEBIAN):
        root, tar = folder / "debian", folder / "debian.tar"
        shutil.rmtree(root, ignore_errors=True)
        debootstrap = ("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root)
        subprocess.run(debootstrap, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(tar, "w") as file:
            for unneeded in ("var/cache/apt/archives", "var/lib/apt/lists"):
                shutil.rmtree(root / unneeded)
                (root / unneeded).mkdir()
            file.add(root, ".")
        buildah.import_root(tar, DEBIAN)
        shutil.rmtree(root)
        tar.unlink()
    return DEBIAN


def build(buildah: Buildah, base: str, torch_index: str | None) -> Report:
    """All four. torch_index: for all that have torch; None for the Dockerfile's own, "" for those that pip knows."""
    report: Report = {}
    arguments = {"BASE": base} | ({} if torch_index is None else dict.fromkeys(TORCH_INDICES, torch_index))
    for target in ("gateway", "embedded", "worker", "label"):
        began = time.monotonic()
        buildah.build(ROOT, target, image(target), **arguments)
        report[target] = {
            "MB": round(buildah.size(image(target)) / 1e6),
            "of base MB": round(buildah.size(base) / 1e6),
            "built in s": round(time.monotonic() - began, 1),
        }
        say(target, report[target])
    return report


def image(target: str) -> str:
    return f"localhost/segserve-{target}:{VERSION}"


@contextmanager
def started(
    container: Container, command: Sequence[str], environment: Mapping[str, str], port: int, log: Path, cache: Path
) -> Iterator[tuple[float, Callable[[], psutil.Process]]]:
    """Seconds until /readyz answered 200, and how to find the process."""
    began = time.monotonic()
    with container.running(command, environment, log, cache) as process:
        while not _ready(port):
            if time.monotonic() - began > START_SECONDS:
                raise TimeoutError(log.read_text(errors="replace")[-2000:])
            time.sleep(0.05)
        yield time.monotonic() - began, process


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://{HOST}:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def check(container: Container, process: psutil.Process) -> None:
    """As a pod of restricted security wants it. Raises AssertionError."""
    assert process.uids().real == USER
    assert not container.written(), container.written()
    programs = {path.name for folder in ("usr/bin", "usr/local/bin") for path in (container.root / folder).glob("*")}
    assert not programs.intersection(FORBIDDEN), programs.intersection(FORBIDDEN)


def try_out(buildah: Buildah, folder: Path, report: Report) -> None:
    """The gateway labels through the worker as the embedded one does by itself."""
    embedded, gateway, worker, inference = (free_port() for _ in range(4))
    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir(parents=True)
    shutil.chown(cache, USER, USER)
    with ExitStack() as stack:
        alone = stack.enter_context(buildah.container(image("embedded")))
        environment = {"SEGSERVE_PORT": str(embedded), "SEGSERVE_CACHE_DIR": "/cache", "SEGSERVE_ENGINE_WAIT": "true"}
        for start in ("ready after s, compiling", "ready after s"):
            run = started(alone, ["serve"], environment, embedded, folder / "embedded.log", cache)
            with run as (seconds, process):
                expected = labels(embedded)
                check(alone, process())
                report["embedded"] |= {start: round(seconds, 1), "RSS MB": rss(process())}
        say("embedded", report["embedded"])
        host = stack.enter_context(buildah.container(image("worker")))
        environment = {
            "SEGSERVE_WORKER_PORT": str(worker),
            "SEGSERVE_WORKER_INFERENCE_PORT": str(inference),
            "SEGSERVE_CACHE_DIR": "/cache",
        }
        run = started(host, ["worker"], environment, worker, folder / "worker.log", cache)
        seconds, process = stack.enter_context(run)
        report["worker"]["ready after s"] = round(seconds, 1)
        front = stack.enter_context(buildah.container(image("gateway")))
        assert not list(front.root.glob("opt/segserve/lib/*/site-packages/torch")), "the gateway needs no torch"
        environment = {"SEGSERVE_PORT": str(gateway), "SEGSERVE_WORKERS_AT": f"http://{HOST}:{worker}"}
        run = started(front, ["serve"], environment, gateway, folder / "gateway.log", cache)
        with run as (seconds, gateways_process):
            found = labels(gateway)
            check(front, gateways_process())
            check(host, process())
            report["gateway"] |= {"ready after s": round(seconds, 1), "RSS MB": rss(gateways_process())}
            report["worker"]["RSS MB"] = rss(process())
    assert found == expected, "the worker's labels differ from the embedded engine's"
    for target in ("worker", "gateway"):
        say(target, report[target])


def rss(process: psutil.Process) -> int:
    """With all that it started, in MB."""
    return round(sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 1e6)


def say(name: str, found: Mapping[str, float | str]) -> None:
    print(name, *(f"{key} {value}" for key, value in found.items()), sep="  ", flush=True)  # noqa: T201 (the report)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", help="an image with Python, such as the Dockerfile's own, where one can be fetched")
    parser.add_argument(
        "--torch-index",
        help="where pip finds torch for CPUs (empty: where it is configured to look); else the Dockerfile's indices",
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "containers")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    buildah = Buildah(options.folder.resolve())
    base = options.base or debian(buildah, options.folder)
    report = build(buildah, base, options.torch_index)
    try_out(buildah, options.folder.resolve(), report)
    (options.folder / "images.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
