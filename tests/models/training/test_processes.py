"""A run beside other processes: those that load its photos, its group's, and another run's."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from models.training.run_folder import RunError
from tests.models.training.runs import as_toml, make_recipe, start, state_of
from tests.service.gateway import PATIENCE


@pytest.fixture
def process(dataset_dir: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A long run in tmp_path / "run", a group of its own, somewhere in its first steps; one more loads its photos."""
    recipe, out = tmp_path / "long.toml", tmp_path / "run"
    recipe.write_text(as_toml(make_recipe(epochs=1000)), encoding="utf-8")
    options = ["--recipe", recipe, "--data", dataset_dir, "--out", out, "--workers", "1", "--validate-every", "1"]
    command = [sys.executable, "-c", "from cli.main import main; main()", "train", *map(str, options)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        end = time.monotonic() + PATIENCE
        while not (out / "state.pt").exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)  # Nobody notifies us.
        yield process
    finally:
        process.kill()
        process.communicate()


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children()
    return []


def end_of(process: subprocess.Popen[str]) -> str:
    """What it says at its end, which must be a failure that left nobody behind."""
    loaders = children(process)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert not psutil.wait_procs(loaders, timeout=PATIENCE)[1]
    return errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_saves_the_state(
    number: signal.Signals, process: subprocess.Popen[str], tmp_path: Path
) -> None:
    os.killpg(process.pid, number)
    errors = end_of(process)
    assert errors.endswith(f"Error: stopped; continue with --resume and --out {tmp_path / 'run'}\n"), errors
    assert state_of(tmp_path / "run")["step"] > 0


def test_a_second_signal_ends_it_at_once(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert "Error: stopped; " in end_of(process)


def test_a_process_that_loads_photos_and_ends_costs_no_step(process: subprocess.Popen[str], tmp_path: Path) -> None:
    # As the kernel does it where memory is too short. One that has no more to do is not missed.
    while process.poll() is None:
        for loader in children(process):
            with suppress(psutil.NoSuchProcess):
                loader.kill()
        time.sleep(0.05)  # The next epoch has one of its own.
    errors = end_of(process)
    assert "Error: a process that loads photos has ended, for want of memory" in errors
    assert state_of(tmp_path / "run")["step"] > 0


def test_another_process_in_its_folder_is_refused(
    process: subprocess.Popen[str], dataset_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="another process trains in"):
        start(make_recipe(epochs=1000), dataset_dir, tmp_path / "run", resume=True)
    assert process.poll() is None
