"""``registry completion SHELL``."""

import click

from registry.cli.output import json_option, print_json

SHELLS = ("bash", "zsh", "fish")


WHERE = """\b
Shells read it from here:
  bash  ~/.local/share/bash-completion/completions/registry
  zsh   ~/.zfunc/_registry, where ~/.zfunc is on the fpath
  fish  ~/.config/fish/completions/registry.fish"""


@click.command(epilog=WHERE)
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
@click.pass_context
def command(ctx: click.Context, shell: str, as_json: bool) -> None:
    """Print what makes a shell complete commands and names.

    Save it once, with `>`, in the file that the shell reads when it completes `registry`.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(ctx.find_root().command, {}, "registry", "_REGISTRY_COMPLETE").source()
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)
