"""``registry completion SHELL``."""

import click

from registry.cli.output import json_option, print_json

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
@click.pass_context
def command(ctx: click.Context, shell: str, as_json: bool) -> None:
    r"""Print what makes a shell complete commands and names.

    \b
    bash:  registry completion bash > ~/.local/share/bash-completion/completions/registry
    zsh:   registry completion zsh > ~/.zfunc/_registry        (a folder on your fpath)
    fish:  registry completion fish > ~/.config/fish/completions/registry.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(ctx.find_root().command, {}, "registry", "_REGISTRY_COMPLETE").source()
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)
