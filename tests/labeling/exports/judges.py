"""Other tools' own readers, in an environment of their own: `make judges` sets it up."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

PYTHON = Path(__file__).parents[3] / ".venv-judges/bin/python"


def judge(program: str, *arguments: object) -> Any:
    """What `program`, run among the judges with these arguments, prints as JSON on its last line."""
    if not PYTHON.exists():
        message = "the judges are not installed: make judges"
        assert os.environ.get("CI") != "true", message
        pytest.skip(message)
    done = subprocess.run(
        [PYTHON, "-W", "ignore", "-c", program, *map(str, arguments)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
