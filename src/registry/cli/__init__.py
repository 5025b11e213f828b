"""The command line: ``registry list``, ``registry info NAME`` and so on, one module for each command.

Exit codes: 0 done, 1 error, 2 wrong usage, 3 not found, 4 a file is damaged, dangerous or not what was promised.
"""

import warnings
from importlib import import_module
from typing import Any

import click

from registry import __version__
from registry.errors import (
    CorruptWeightsError,
    IntegrityError,
    MissingFileError,
    RegistryError,
    UnknownLayerError,
    UnknownModelError,
    UnknownPluginError,
    UnknownTaskError,
    UnsafeWeightsError,
    WeightsLimitError,
)

COMMANDS = ("convert", "diff", "evaluate", "info", "inspect", "list", "plugins", "resolve")
"""Each is the ``command`` of the module of its name, which is imported when it is called."""

NOT_FOUND = (UnknownModelError, UnknownTaskError, UnknownLayerError, UnknownPluginError, MissingFileError)
DAMAGED = (IntegrityError, CorruptWeightsError, UnsafeWeightsError, WeightsLimitError)


class Commands(click.Group):
    """Commands that are imported when they are called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All names, in the order of the alphabet."""
        return sorted(COMMANDS)  # list(...) would be the command of that name, once it is imported

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"{__name__}.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; its refusals and warnings become lines on stderr, unless ``--debug`` asks for tracebacks."""
        if ctx.params["debug"]:
            return super().invoke(ctx)
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except RegistryError as error:
                click.echo(f"{type(error).__name__}: {error}", err=True)
                ctx.exit(exit_code(error))


def exit_code(error: RegistryError) -> int:
    """The code with which a command that met this error ends."""
    return 3 if isinstance(error, NOT_FOUND) else 4 if isinstance(error, DAMAGED) else 1


def _show_warning(message: Warning | str, *_where: Any, **_source: Any) -> None:
    click.echo(f"warning: {message}", err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="registry")
@click.option("--debug", is_flag=True, envvar="REGISTRY_DEBUG", help="Show the traceback of an error.")
def main(debug: bool) -> None:  # it is read by Commands.invoke
    """Find and describe pretrained models."""
