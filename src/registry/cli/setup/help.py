"""``registry help [COMMAND]``."""

import click

from registry.cli.output import echo


def _complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of commands, or of those inside of the commands before, that begin with the incomplete word."""
    here: click.Command | None = context.find_root().command
    for name in context.params.get("commands") or ():
        here = here.get_command(context, name) if isinstance(here, click.Group) else None
    names = here.list_commands(context) if isinstance(here, click.Group) else []
    return [name for name in names if name.startswith(incomplete)]


@click.command()
@click.argument("commands", nargs=-1, metavar="[COMMAND]...", shell_complete=_complete)
@click.pass_context
def command(context: click.Context, commands: tuple[str, ...]) -> None:
    """Describe a command, or list all."""
    here = context.find_root()
    for name in commands:
        group = here.command
        assert isinstance(group, click.Group)
        _, found, _ = group.resolve_command(here, [name])
        assert found is not None
        here = click.Context(found, info_name=name, parent=here)
        if name != commands[-1] and not isinstance(found, click.Group):
            raise click.UsageError(f"{name} has no commands of its own.")
    echo(here.get_help())
