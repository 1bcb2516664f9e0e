"""What a PromQL expression asks for, read without a server: enough of the language for the queries that ship."""

import re
from dataclasses import dataclass

_STRING = re.compile(r'"[^"]*"')
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([\w\s,]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)(?!\w|:|\s*\()\s*(?:\{([^}]*)\})?")
_DURATION = re.compile(r"\[[^\]]*\]")
_OPERATORS = {"and", "or", "unless", "bool", "offset"}


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric and the labels by which its series are chosen."""

    metric: str
    labels: frozenset[str]


def selectors(expression: str) -> set[Selector]:
    bare = _DURATION.sub("", _GROUPING.sub("", _STRING.sub("", expression)))
    return {
        Selector(metric, frozenset(re.findall(r"\w+", matchers)))
        for metric, matchers in _SELECTOR.findall(bare)
        if metric not in _OPERATORS
    }


def grouped_by(expression: str) -> set[str]:
    """The labels by which series are added up, or matched with one another."""
    return set(re.findall(r"\w+", " ".join(_GROUPING.findall(_STRING.sub("", expression)))))
