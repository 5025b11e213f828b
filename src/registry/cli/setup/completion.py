"""``registry completion SHELL``."""

import click

from registry.cli.output import echo, json_option, print_json

SHELLS = ("bash", "zsh", "fish")


FIRST_CALL = "$zsh_eval_context[-1] == loadautofunc"
EVERY_CALL = "$funcstack[1] == _registry"
"""Whether zsh runs the script to complete something.  By click's condition, only the first Tab of a shell does."""

WHERE = """\b
Save it once, and start a new shell.  For bash, which needs the package bash-completion:
  mkdir -p ~/.local/share/bash-completion/completions
  registry completion bash > ~/.local/share/bash-completion/completions/registry

For zsh, with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc:
  mkdir -p ~/.zfunc
  registry completion zsh > ~/.zfunc/_registry

For fish:
  mkdir -p ~/.config/fish/completions
  registry completion fish > ~/.config/fish/completions/registry.fish"""


@click.command(epilog=WHERE)
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
@click.pass_context
def command(ctx: click.Context, shell: str, as_json: bool) -> None:
    """Print a shell completion script.

    Commands, options, names of models, tasks and paths are then completed with the Tab key.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(ctx.find_root().command, {}, "registry", "_REGISTRY_COMPLETE").source()
    script = script.replace(FIRST_CALL, EVERY_CALL)
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        echo(script)
