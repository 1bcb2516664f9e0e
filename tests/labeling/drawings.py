"""Small drawn photos as JPEGs."""

from pathlib import Path

from loadtests.street import street
from tests.photos import jpeg

SIZES = ((96, 128), (64, 96), (80, 80))


def draw(number: int) -> bytes:
    """The same photo for the same number, in one of three sizes."""
    return jpeg(street(*SIZES[number % len(SIZES)], seed=number), quality=90)


def draw_folder(folder: Path, count: int) -> Path:
    """NNNNN.jpg, `count` of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number:05}.jpg").write_bytes(draw(number))
    return folder
