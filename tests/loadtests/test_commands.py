"""The load tests as they are run: short, against the real service on the fake device."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SECONDS = 3
"""Of each load: a quarter warms up, and in the rest a busy machine must not miss every answer."""


def _run(module: str, out: Path, *arguments: str) -> tuple[str, Any]:
    """What it prints, and the JSON that it leaves."""
    command = [sys.executable, "-m", module, "--out", str(out), "--seconds", str(SECONDS), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((out / f"{module.rpartition('.')[2]}.json").read_text())


def test_repeats_of_a_scenario_add_up_and_each_goal_stands_beside_its_line(tmp_path: Path) -> None:
    _, first = _run("loadtests.scheduling", tmp_path, "--only", "closed")
    printed, both = _run("loadtests.scheduling", tmp_path, "--only", "closed")
    assert list(both["repeats"]) == ["closed"]
    assert both["repeats"]["closed"][0] == first["repeats"]["closed"][0]
    assert len(both["repeats"]["closed"]) == 2
    # The fake device takes 14 ms for a photo alone.
    for name in ("bare_1", "closed_1"):
        assert both["medians"][name]["summary"]["latency"]["p50_ms"] > 14
    assert "the same without the gateway" in printed
    assert "goodput at 200 %" not in printed


def test_the_table_of_servers_has_a_row_for_each_that_is_asked_for(tmp_path: Path) -> None:
    printed, report = _run("loadtests.servers", tmp_path, "--only", "segserve")
    assert list(report["repeats"]) == ["segserve"]
    assert report["failures"] == {}
    assert report["medians"]["segserve"]["closed_8"]["summary"]["throughput"] > 0
    _, _, *rows = [line.split("|")[1].strip() for line in printed.splitlines()]
    assert rows == ["segserve"]
    assert (tmp_path / "servers.png").stat().st_size > 10_000


def test_a_server_that_nobody_knows_is_refused_with_the_names_of_those_that_are(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtests.servers", "--out", str(tmp_path / "out"), "--only", "Tomcat"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "LitServe" in done.stderr
    assert not (tmp_path / "out").exists()
