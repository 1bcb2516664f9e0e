"""A run beside other processes: those that load its photos, its group's, and another run's."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from models.training.run_folder import RunError
from tests.models.training.runs import as_toml, make_recipe, start, state_of


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_saves_the_state(number: signal.Signals, dataset_dir: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "long.toml", tmp_path / "run"
    recipe.write_text(as_toml(make_recipe(epochs=1000)), encoding="utf-8")
    options = ["--recipe", recipe, "--data", dataset_dir, "--out", out, "--workers", "1", "--validate-every", "1000"]
    command = [sys.executable, "-c", "from cli.main import main; main()", "train", *map(str, options)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        end = time.monotonic() + 120
        while not (out.exists() and psutil.Process(process.pid).children()):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)  # A process that starts notifies nobody.
        with pytest.raises(RunError, match="another process trains in"):
            start(make_recipe(), dataset_dir, out)
        time.sleep(1)  # Now somewhere in its first steps.
        os.killpg(process.pid, number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert errors.endswith(f"Error: stopped; continue with --resume and --out {out}\n"), errors
    assert "Traceback" not in errors
    assert state_of(out)["step"] > 0
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
