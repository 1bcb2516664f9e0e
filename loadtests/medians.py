"""Repeats of a measurement, made one."""

from collections.abc import Sequence
from statistics import median
from typing import Any


def medians(repeats: Sequence[Any]) -> Any:
    """The same nested structure of dicts and lists, with the median in place of each number.

    What is not a number is taken from the first repeat; a number that some repeats lack is the median of the others.
    """
    known = [value for value in repeats if value is not None]
    if not known:
        return None
    first = known[0]
    if isinstance(first, dict):
        keys = dict.fromkeys(key for value in known for key in value)
        return {key: medians([value.get(key) for value in known]) for key in keys}
    if isinstance(first, list):
        return [medians(values) for values in zip(*known, strict=False)]
    if isinstance(first, bool) or not isinstance(first, int | float):
        return first
    return median(known)
