"""The command `segserve`: a group whose commands are the modules of this package, imported when they are called."""

from importlib import import_module
from importlib.metadata import version

import click
from click.shell_completion import CompletionItem

COMMANDS = {
    "archive": "Write a model archive (.mar) that any TorchServe with segserve beside it can serve.",
    "bench": "Measure speed, each figure beside what it is compared with.",
    "compile": "Compile a model ahead of its first start.",
    "completion": "Print the script that makes a shell complete segserve's commands and options.",
    "evaluate": "Score a model on a labelled dataset.",
    "label": "Label photos by the thousand or the million, and lose none.",
    "models": "List the models with their sizes, costs and weights.",
    "quantise": "Make a model's int8 network, where it loses nothing.",
    "segment": "Label photos on this machine, without a server.",
    "serve": "Serve POST /segment over HTTP.",
    "train": "Train a model by a recipe.",
    "worker": "Run TorchServe with the models of a folder, for gateways elsewhere.",
}


_EXTRAS = {"label": "batch", "quantise": "quantise", "worker": "torchserve"}


class LazyGroup(click.Group):
    """Imports a command's module only to run it or to show its help: `segserve --help` needs no torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's signature)
        if cmd_name not in COMMANDS:
            return None
        try:
            command: click.Command = import_module(f"cli.{cmd_name}").command
        except ModuleNotFoundError as error:
            extras = _EXTRAS.get(cmd_name, "engine,train")
            raise click.ClickException(
                f"`segserve {cmd_name}` needs the package '{error.name}': pip install 'segserve[{extras}]'"
            ) from error
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        commands = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        # The group's own completion would import every command to read its help.
        return commands + super(click.Group, self).shell_complete(ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (click's signature)
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("segserve"), prog_name="segserve")
def main() -> None:
    """Street photographs to per-pixel labels."""
