from pathlib import Path

import pytest

from worker.configuration import environment


def test_folders_are_meant_from_where_the_worker_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGSERVE_CACHE_DIR", "cache")
    monkeypatch.setenv("SEGSERVE_LABEL_SET_DIR", "/sets")
    of_torchserve = environment(tmp_path / "run", None, None)
    assert of_torchserve["SEGSERVE_CACHE_DIR"] == str(tmp_path / "cache")
    assert of_torchserve["SEGSERVE_LABEL_SET_DIR"] == "/sets"


def test_folders_that_are_not_named_stay_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGSERVE_CACHE_DIR", raising=False)
    monkeypatch.setenv("SEGSERVE_LABEL_SET_DIR", "")
    of_torchserve = environment(tmp_path / "run", None, None)
    assert "SEGSERVE_CACHE_DIR" not in of_torchserve
    assert of_torchserve["SEGSERVE_LABEL_SET_DIR"] == ""
