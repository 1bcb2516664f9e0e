"""What became of photos, added up."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """Photos with labels, and those without by error code."""

    ok: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    pixels: int = 0
    """Of those with labels."""
    seconds: float = 0.0
    """Of all, each from the start of its download; they overlap."""

    def add(self, code: str | None, pixels: int = 0, seconds: float = 0.0) -> None:
        """One photo. code: None where it has labels."""
        if code is None:
            self.ok += 1
        else:
            self.errors[code] += 1
        self.pixels += pixels
        self.seconds += seconds

    def __iadd__(self, other: "Counts") -> "Counts":
        self.ok += other.ok
        self.errors += other.errors
        self.pixels += other.pixels
        self.seconds += other.seconds
        return self

    def __isub__(self, other: "Counts") -> "Counts":
        self.ok -= other.ok
        self.errors -= other.errors
        self.pixels -= other.pixels
        self.seconds -= other.seconds
        return self

    @property
    def done(self) -> int:
        return self.ok + self.errors.total()


def by_cause(errors: Mapping[str, int]) -> str:
    """ "not-found 12, damaged-image 3": the most frequent first."""
    ranked: Iterable[tuple[str, int]] = sorted(errors.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{code} {count}" for code, count in ranked)
