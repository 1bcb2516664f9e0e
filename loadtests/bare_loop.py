"""Decode, engine and encode in a loop that keeps every core busy: no HTTP, no queue, nothing shared.

python -m loadtests.bare_loop --size 1024x2048 --seconds 6        # prints photos a second
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import torch

from images import decode, encode_label_map
from loadtests.photos import street_photo
from models import labelsets
from models.engine.engine import Engine
from models.engine.loading import find, load_engine


def photos_a_second(model: str, height: int, width: int, seconds: float) -> float:
    """One thread a core, each taking photo after photo all the way from JPEG to label PNG."""
    checkpoint = find(model)
    palette = labelsets.load(checkpoint.card.label_set).palette
    body = street_photo(height, width).body
    cores = torch.get_num_threads()
    # An engine runs one batch at a time, in as many threads as torch had when it was loaded.
    torch.set_num_threads(1)
    engines = [load_engine(checkpoint) for _ in range(cores)]

    def until(engine: Engine, end: float) -> int:
        torch.set_num_threads(1)
        done = 0
        while time.perf_counter() < end:
            [segmentation] = engine.run([decode(body, max_pixels=height * width)])
            encode_label_map(segmentation.labels, palette)
            done += 1
        return done

    with ThreadPoolExecutor(cores) as threads:
        list(threads.map(until, engines, repeat(time.perf_counter() + seconds / 3)))
        started = time.perf_counter()
        done = sum(threads.map(until, engines, repeat(started + seconds)))
        return done / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bare_loop", description=__doc__)
    parser.add_argument("--model", default="eseg-lite-s")
    parser.add_argument("--size", default="1024x2048", metavar="HxW")
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    print(photos_a_second(options.model, height, width, options.seconds))  # noqa: T201 (the result)


if __name__ == "__main__":
    main()
