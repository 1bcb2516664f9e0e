from pathlib import Path

import numpy as np
from PIL import Image

from models.training.curve import plot_curve


def test_the_curve_is_a_picture_of_the_log(tmp_path: Path) -> None:
    rows = [{"epoch": e, "loss": 2 / e, "miou": 0.1 * e} for e in (1.0, 2.0, 3.0)]
    plot_curve(rows, tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    # The two lines.
    assert {(214, 39, 40), (31, 119, 180)} <= set(map(tuple, np.unique(pixels, axis=0).tolist()))
