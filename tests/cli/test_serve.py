import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from tests.service.server_process import server_process


@pytest.mark.parametrize("command", [["serve"], ["serve", "--backend", "torchserve"], ["worker"]])
@pytest.mark.parametrize("how", ["flag", "environment"])
def test_a_folder_of_models_that_is_not_there_is_told_at_start(command: list[str], how: str, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    variable = "SEGSERVE_WORKER_MODEL_DIR" if command == ["worker"] else "SEGSERVE_MODEL_DIR"
    runner = CliRunner(env={variable: gone if how == "environment" else None})
    result = runner.invoke(main, [*command, "--port", "0", *(["--model-dir", gone] if how == "flag" else [])])
    assert result.exit_code == 1
    assert result.stderr == f"Error: there is no folder {gone} to take models from\n"


@pytest.mark.parametrize("backend", ["local", "torchserve"])
@pytest.mark.parametrize("how", ["flag", "environment"])
def test_a_broken_label_set_is_told_at_start(
    backend: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "railway.json").write_text("{}")
    # What the flag sets is taken back after the test.
    monkeypatch.setenv("SEGSERVE_LABEL_SET_DIR", str(tmp_path) if how == "environment" else "")
    flag = ["--label-set-dir", str(tmp_path)] if how == "flag" else []
    result = CliRunner().invoke(main, ["serve", "--backend", backend, "--port", "0", *flag])
    assert result.exit_code == 1
    assert f"Error: {tmp_path}/railway.json is not a label set: title: Field required" in result.stderr


SERVE_NOBODY = """
import os
from contextlib import suppress
from unittest.mock import patch
from cli.main import main
from tests.service.server_process import server_process
with patch("service.server.Server.run"), suppress(SystemExit):
    main()
import numba
print(os.environ["SEGSERVE_CACHE_DIR"], numba.config.CACHE_DIR)
"""


def test_all_that_is_compiled_is_kept_where_the_flag_says(tmp_path: Path) -> None:
    """By numba, and by the processes that it starts, whichever folder they work in."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment |= {"SEGSERVE_CACHE_DIR": str(tmp_path / "elsewhere"), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", SERVE_NOBODY, "serve", "--cache-dir", "kept"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(tmp_path / "kept"), str(tmp_path / "kept" / "numba")], done.stderr


def test_a_misspelt_variable_is_told(checkpoint_dir: Path, tmp_path: Path) -> None:
    """A slip in SEGSERVE_API_KEY_FILE would open the service to everybody."""
    command = ["-m", "cli", "serve", "--port", 0, "--model", "tiny", "--model-dir", checkpoint_dir]
    variables = {
        "SEGSERVE_API_KEY_FIEL": "keys",
        "SEGSERVE_MAX_PIXELS": "1000",
        "SEGSERVE_WORKER_PORT": "1",
        "SEGSERVE_API_KEY": "of segserve label",
    }
    with server_process(command, tmp_path / "log", **variables) as server:
        warnings = [line["message"] for line in server.log() if line["level"] == "WARNING"]
    assert [warning for warning in warnings if "no setting" in warning] == [
        "SEGSERVE_API_KEY_FIEL is no setting and changes nothing: `segserve serve --help` has them all"
    ]
