import os
import shutil
import subprocess

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from cli.main import COMMANDS, main
from tests.cli.blocked import segserve


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_completes_segserve(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_SEGSERVE_COMPLETE={shell}_complete" in result.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_can_read_it(shell: str) -> None:
    if not shutil.which(shell) and "CI" not in os.environ:
        pytest.skip(f"{shell} is not installed")
    script = CliRunner().invoke(main, ["completion", shell]).stdout
    subprocess.run([shell, "-n"], input=script, text=True, check=True, timeout=20)


def test_another_shell_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["completion", "tcsh"])
    assert result.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in result.stderr


def complete(words: str) -> list[str]:
    """What the shell is offered for a line whose last word is unfinished."""
    answer = segserve(
        blocked=("torch",),
        _SEGSERVE_COMPLETE="bash_complete",
        COMP_WORDS=words,
        COMP_CWORD=str(words.count(" ")),
    )
    assert answer.stderr == ""
    return [line.partition(",")[2] for line in answer.stdout.splitlines()]


def test_commands_are_completed_without_importing_them() -> None:
    assert complete("segserve ") == list(COMMANDS)
    assert complete("segserve mo") == ["models"]


def test_commands_are_offered_with_what_they_do() -> None:
    completion = ShellComplete(main, {}, "segserve", "_SEGSERVE_COMPLETE")
    offered = completion.get_completions([], "e")
    assert [(item.value, item.help) for item in offered] == [("evaluate", COMMANDS["evaluate"])]


def test_options_of_the_group_are_completed() -> None:
    assert complete("segserve --v") == ["--version"]


def test_arguments_are_completed() -> None:
    assert complete("segserve completion ") == ["bash", "zsh", "fish"]
