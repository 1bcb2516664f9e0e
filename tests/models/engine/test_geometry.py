import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.engine.geometry import input_size

sides = st.integers(1, 20_000)


@given(height=sides, width=sides, long_side=st.integers(1, 4096), grid=st.sampled_from([1, 8, 32, 128]))
@example(height=1, width=5000, long_side=480, grid=32)
def test_a_photo_is_scaled_down_to_the_long_side_and_padded_to_the_grid(
    height: int, width: int, long_side: int, grid: int
) -> None:
    size = input_size(height, width, long_side=long_side, grid=grid)
    assert 1 <= size.height <= height
    assert 1 <= size.width <= width
    assert max(size.height, size.width) == min(long_side, max(height, width))
    for padded, side in ((size.padded_height, size.height), (size.padded_width, size.width)):
        assert padded % grid == 0
        assert side <= padded < side + grid
    assert size.bucket == (size.padded_height, size.padded_width)


@pytest.mark.parametrize(
    ("photo", "expected"), [((360, 480), (540, 720)), ((600, 800), (720, 960)), ((3000, 4000), (720, 960))]
)
def test_small_photos_are_enlarged_as_far_as_told_and_never_beyond_the_long_side(
    photo: tuple[int, int], expected: tuple[int, int]
) -> None:
    size = input_size(*photo, long_side=960, grid=32, enlarge=1.5)
    assert (size.height, size.width) == expected


@given(height=sides, width=sides, long_side=st.integers(1, 4096))
def test_the_aspect_is_kept_to_half_a_pixel(height: int, width: int, long_side: int) -> None:
    size = input_size(height, width, long_side=long_side, grid=32)
    scale = min(1, long_side / max(height, width))
    for scaled, side in ((size.height, height), (size.width, width)):
        assert scaled == 1 or abs(scaled - side * scale) <= 0.5 + 1e-9


@given(height=sides, width=sides, long_side=st.integers(1, 4096))
def test_turning_the_photo_turns_the_input(height: int, width: int, long_side: int) -> None:
    size = input_size(height, width, long_side=long_side, grid=32)
    turned = input_size(width, height, long_side=long_side, grid=32)
    assert (size.height, size.width, *size.bucket) == (turned.width, turned.height, *turned.bucket[::-1])


@pytest.mark.parametrize(
    ("photo", "expected"),
    [((360, 480), (360, 480, 384, 480)), ((1080, 1920), (270, 480, 288, 480)), ((1, 5000), (1, 480, 32, 480))],
)
def test_sizes_by_hand(photo: tuple[int, int], expected: tuple[int, int, int, int]) -> None:
    size = input_size(*photo, long_side=480, grid=32)
    assert (size.height, size.width, size.padded_height, size.padded_width) == expected


def test_a_gateway_without_torch_can_ask() -> None:
    code = "import sys; sys.modules['torch'] = None; import models.engine.geometry"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
