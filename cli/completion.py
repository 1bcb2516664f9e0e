"""segserve completion: tab completion for a shell."""

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete segserve's commands and options.

    \b
    bash:  eval "$(segserve completion bash)"      in ~/.bashrc
    zsh:   eval "$(segserve completion zsh)"       in ~/.zshrc
    fish:  segserve completion fish | source       in ~/.config/fish/config.fish
    """
    completion = get_completion_class(shell)
    assert completion is not None
    click.echo(completion(ctx.find_root().command, {}, "segserve", "_SEGSERVE_COMPLETE").source())
