"""The size at which a network sees a photo: a pure function of checkpoint and photo, never of its batch-mates.

Imports no torch, so that a gateway without one can price a photo before it is decoded.
"""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class InputSize:
    """Pixels, height before width. The photo scaled (`height`, `width`) lies top left in the padded input."""

    height: int
    width: int
    padded_height: int
    padded_width: int

    @property
    def bucket(self) -> tuple[int, int]:
        """Photos of equal buckets can share a batch."""
        return self.padded_height, self.padded_width


def input_size(height: int, width: int, *, long_side: int, grid: int, enlarge: float = 1.0) -> InputSize:
    """Scale the long side to `long_side`, up by at most `enlarge`; then pad right and bottom to multiples of `grid`.

    A side never falls below one pixel: a 1 x 5000 photo at long_side 480 becomes 1 x 480.
    """
    scale = min(Fraction(enlarge), Fraction(long_side, max(height, width)))
    scaled_height, scaled_width = max(1, round(height * scale)), max(1, round(width * scale))
    return InputSize(scaled_height, scaled_width, -(-scaled_height // grid) * grid, -(-scaled_width // grid) * grid)
