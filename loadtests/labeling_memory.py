"""Memory of `segserve label` over 200,000 rows beside 2,000: the same, for nothing in it grows with the manifest."""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from PIL import Image

from loadtests.street import street

SECONDS_BETWEEN_LOOKS = 0.05
WARM_UP_ROWS = 64


def peak_memory(manifest: Path, out: Path, workers: int, model: str) -> tuple[int, float]:
    """The largest proportional memory of the command and all its processes, in bytes; and seconds."""
    command = [sys.executable, "-c", "from cli.main import main; main()", "label", str(manifest), "--out", str(out)]
    environment = os.environ | {"MALLOC_ARENA_MAX": "2"}
    started = time.perf_counter()
    process = psutil.Popen([*command, "--model", model, "--workers", str(workers)], env=environment)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _memory(process))
        time.sleep(SECONDS_BETWEEN_LOOKS)
    if process.returncode:
        raise SystemExit(process.returncode)
    return peak, time.perf_counter() - started


def _memory(process: psutil.Process) -> int:
    total = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            # Pages that processes share count once.
            total += one.memory_full_info().pss
    except psutil.NoSuchProcess:
        pass
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs=2, default=(2_000, 200_000))
    parser.add_argument("--size", default="24x32", help="HxW of the photo: memory is the question, not speed")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", default="eseg-lite-s")
    asked = parser.parse_args()
    height, width = map(int, asked.size.split("x"))
    peaks = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        Image.fromarray(street(height, width)).save(folder / "photo.jpg")
        # The first run on a machine compiles, which takes more memory than anything after it.
        for rows in (WARM_UP_ROWS, *asked.rows):
            manifest = folder / f"{rows}.csv"
            with manifest.open("w") as file:
                file.write("image_id,uri\n")
                file.writelines(
                    f"drive-{number // 1000:04}/frame-{number:09}.jpg,photo.jpg\n" for number in range(rows)
                )
            peak, seconds = peak_memory(manifest, folder / f"out-{rows}", asked.workers, asked.model)
            if rows == WARM_UP_ROWS:
                continue
            peaks.append(peak)
            print(json.dumps({"rows": rows, "peak_mib": round(peak / 2**20, 1), "seconds": round(seconds, 1)}))  # noqa: T201 (the report)
    ratio = peaks[1] / peaks[0]
    print(json.dumps({"ratio": round(ratio, 3)}))  # noqa: T201 (the report)
    if ratio > 1.05:
        raise SystemExit("memory grows with the manifest")


if __name__ == "__main__":
    main()
