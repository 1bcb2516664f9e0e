import click
import pytest
from click.testing import CliRunner

from cli.options import model_dir_option, model_option, user_errors
from service.settings import Settings


@click.command()
@model_option
@model_dir_option
def show(model: str, model_dir: str | None) -> None:
    click.echo(f"{model} {model_dir}")


def test_the_model_is_the_settings_default() -> None:
    result = CliRunner(env={"SEGSERVE_MODEL": None, "SEGSERVE_MODEL_DIR": None}).invoke(show)
    assert result.stdout == f"{Settings.model_fields['model'].default} None\n"


def test_the_environment_decides_and_a_flag_overrules_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    runner = CliRunner(env={"SEGSERVE_MODEL": "alley@2", "SEGSERVE_MODEL_DIR": str(one)})
    assert runner.invoke(show).stdout == f"alley@2 {one}\n"
    assert runner.invoke(show, ["--model", "lane", "--model-dir", str(other)]).stdout == f"lane {other}\n"


def test_help_tells_variable_and_default() -> None:
    text = CliRunner().invoke(show, ["--help"]).stdout
    assert "SEGSERVE_MODEL_DIR" in text
    assert "SEGSERVE_MODEL;" in text
    assert "default: eseg-lite-s" in text.replace("\n", "").replace("  ", "")


def test_a_folder_that_is_not_there_is_a_usage_error() -> None:
    result = CliRunner().invoke(show, ["--model-dir", "nowhere"])
    assert result.exit_code == 2
    assert "Directory 'nowhere' does not exist" in result.stderr


def test_only_the_causes_named_become_sentences() -> None:
    with pytest.raises(click.ClickException, match="the disk is full"), user_errors(OSError, KeyError):
        raise OSError("the disk is full")
    with pytest.raises(ValueError, match="a bug"), user_errors(OSError):
        raise ValueError("a bug")
