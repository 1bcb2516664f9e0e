"""Drawn photos of the batch jobs' tests."""

from tests.labeling.conftest import photos

__all__ = ["photos"]
