import sys
from importlib.metadata import version

import pytest
from click.testing import CliRunner

from cli.main import COMMANDS, main
from tests.cli.blocked import segserve

WITHOUT_EXTRAS = ("torch", "safetensors", "tqdm", "matplotlib")


def test_help_lists_every_command_without_torch() -> None:
    answer = segserve("--help", blocked=WITHOUT_EXTRAS)
    assert answer.returncode == 0, answer.stderr
    for name, text in COMMANDS.items():
        assert f"  {name} " in answer.stdout
        assert text.split()[0] in answer.stdout


def test_help_is_the_same_in_process() -> None:
    assert CliRunner().invoke(main, ["--help"]).stdout.replace("main", "segserve", 1) == (
        segserve("--help", blocked=WITHOUT_EXTRAS).stdout
    )


def test_help_imports_no_command() -> None:
    assert segserve("--help", blocked=tuple(f"cli.{name}" for name in COMMANDS)).returncode == 0


def test_version() -> None:
    answer = segserve("--version", blocked=WITHOUT_EXTRAS)
    assert answer.stdout == f"segserve, version {version('segserve')}\n"


@pytest.mark.parametrize("name", ["segment", "models", "evaluate", "train"])
def test_a_command_without_its_packages_says_what_to_install(name: str) -> None:
    answer = segserve(name, "--help", blocked=WITHOUT_EXTRAS)
    assert answer.returncode == 1
    assert "pip install 'segserve[engine,train]'" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_of_its_own(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert f"Usage: main {name}" in result.stdout


def test_the_summary_is_the_commands_own_first_sentence() -> None:
    result = CliRunner().invoke(main, ["train", "--help"])
    assert COMMANDS["train"] in result.stdout


def test_batch_jobs_have_an_extra_of_their_own() -> None:
    answer = segserve("label", "--help", blocked=("pyarrow",))
    assert answer.returncode == 1
    assert "needs the package 'pyarrow': pip install 'segserve[batch]'" in answer.stderr


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cli.evaluate", raising=False)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    result = CliRunner().invoke(main, ["evaluate", "--help"])
    assert result.exit_code == 1
    assert "`segserve evaluate` needs the package 'tqdm'" in result.stderr


def test_an_unknown_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["paint"])
    assert result.exit_code == 2
    assert "No such command 'paint'" in result.stderr
