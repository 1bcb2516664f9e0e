"""A street scene drawn in code: a photo that anyone may have, for tests and benchmarks."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw


def street(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return a drawn street scene, height x width x 3, uint8, RGB: the same one for the same seed."""
    rng = np.random.default_rng(seed)
    horizon = height * 0.45
    sky = np.linspace((120, 170, 230), (215, 228, 240), height)
    image = Image.fromarray(np.broadcast_to(sky[:, np.newaxis].astype(np.uint8), (height, width, 3)).copy())
    draw = ImageDraw.Draw(image)
    _draw_buildings(draw, rng, width, height, horizon)
    _draw_ground(draw, width, height, horizon)
    for x in rng.uniform(0.02, 0.98, 4) * width:
        _draw_tree(draw, rng, x, horizon, height)
    _draw_car(draw, rng.uniform(0.35, 0.6) * width, height * 0.68, height * 0.16)
    pole = rng.uniform(0.8, 0.95) * width
    draw.rectangle((pole, height * 0.15, pole + max(1, width * 0.006), height * 0.75), fill=(70, 72, 75))
    noise = rng.normal(0, 4, (height, width, 1)) + rng.normal(0, 2, (height, width, 3))
    return np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)


def _draw_buildings(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int, horizon: float
) -> None:
    left = 0.0
    while left < width:
        right = left + max(2, rng.uniform(0.08, 0.2) * width)
        top = rng.uniform(0.05, 0.3) * height
        wall = tuple(int(v) for v in rng.uniform((110, 80, 70), (190, 160, 140)))
        draw.rectangle((left, top, right, horizon * 1.1), fill=wall)
        pane = max(2, height * 0.04)
        for y in np.arange(top + pane, horizon - pane, 2 * pane):
            for x in np.arange(left + pane, right - pane, 2 * pane):
                draw.rectangle((x, y, x + pane * 0.8, y + pane), fill=(50, 60, 80))
        left = right


def _draw_ground(draw: ImageDraw.ImageDraw, width: int, height: int, horizon: float) -> None:
    draw.rectangle((0, horizon, width, height), fill=(165, 160, 155))
    road = [(width * 0.45, horizon), (width * 0.55, horizon), (width * 1.05, height), (width * -0.05, height)]
    draw.polygon(road, fill=(82, 82, 86))
    for near in np.linspace(0.1, 1, 6):
        y, half = horizon + near * (height - horizon) * 0.9, max(1, near * width * 0.012)
        dash = near * height * 0.05
        draw.rectangle((width / 2 - half, y, width / 2 + half, y + dash), fill=(235, 235, 225))


def _draw_tree(draw: ImageDraw.ImageDraw, rng: np.random.Generator, x: float, horizon: float, height: int) -> None:
    crown, foot = height * rng.uniform(0.06, 0.12), horizon * 1.2
    draw.rectangle((x - crown * 0.1, foot - 2.5 * crown, x + crown * 0.1, foot), fill=(90, 65, 45))
    draw.ellipse((x - crown, foot - 4 * crown, x + crown, foot - 1.5 * crown), fill=(60, int(rng.uniform(90, 130)), 50))


def _draw_car(draw: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
    draw.rectangle((x - size, y - size * 0.5, x + size, y), fill=(170, 30, 35))
    draw.rectangle((x - size * 0.6, y - size * 0.95, x + size * 0.6, y - size * 0.5), fill=(55, 65, 80))
    for wheel in (x - size * 0.6, x + size * 0.6):
        draw.ellipse((wheel - size * 0.2, y - size * 0.2, wheel + size * 0.2, y + size * 0.2), fill=(25, 25, 25))
