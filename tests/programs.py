"""Programs that pip cannot bring."""

import os
import shutil

import pytest


def program(name: str, hint: str) -> str:
    """Its path. Where it is not installed the test is skipped, but in CI it fails; hint: how to get it."""
    path = shutil.which(name)
    if path is None:
        missing = f"{name} is not installed: {hint}"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return path


def promtool() -> str:
    return program("promtool", "apt-get install prometheus")


def prometheus() -> str:
    return program("prometheus", "apt-get install prometheus")


def kubectl() -> str:
    return program("kubectl", "https://kubernetes.io/docs/tasks/tools/")
