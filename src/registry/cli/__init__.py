"""The command line: ``registry list``, ``registry info NAME`` and so on, one module for each command.

Exit codes: 0 done, 1 error, 2 wrong usage, 3 not found, 4 a file is damaged, dangerous or not what was promised,
130 interrupted from the keyboard.
"""

import atexit
import errno
import signal
import warnings
from importlib import import_module
from typing import Any

import click

from registry._version import __version__
from registry.cli.output import complain, say, warn
from registry.errors import (
    ArchiveLimitError,
    CacheCorruptError,
    CorruptArchiveError,
    CorruptWeightsError,
    IntegrityError,
    MissingFileError,
    RegistryError,
    UnknownLayerError,
    UnknownModelError,
    UnknownPluginError,
    UnknownTaskError,
    UnsafeArchiveError,
    UnsafeWeightsError,
    WeightsLimitError,
    did_you_mean,
)

COMMANDS = {
    "list": "Find",
    "info": "Find",
    "resolve": "Find",
    "catalog": "Find",
    "embed": "Use",
    "fill-mask": "Use",
    "generate": "Use",
    "evaluate": "Use",
    "attention": "Use",
    "pull": "Keep",
    "verify": "Keep",
    "lock": "Keep",
    "cache": "Keep",
    "inspect": "Look into",
    "diff": "Look into",
    "convert": "Look into",
    "plugins": "Set up",
    "new": "Set up",
    "env": "Set up",
    "completion": "Set up",
}
"""Each with the heading under which ``registry --help`` lists it.

A command is the ``command`` of the module of its name (``fill_mask``), which is imported when it is called.
"""

NOT_FOUND = (UnknownModelError, UnknownTaskError, UnknownLayerError, UnknownPluginError, MissingFileError)
DAMAGED = (
    *(IntegrityError, CacheCorruptError, CorruptWeightsError, UnsafeWeightsError, WeightsLimitError),
    *(CorruptArchiveError, UnsafeArchiveError, ArchiveLimitError),
)
INTERRUPTED = 130


class Commands(click.Group):
    """Commands that are imported when they are called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All names, in the order of the help page."""
        return [*COMMANDS]

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"{__name__}.{cmd_name.replace('-', '_')}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names.  Raises UsageError, with suggestions."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}.{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands under their headings, each with the first sentence of its help."""
        for heading in dict.fromkeys(COMMANDS.values()):
            names = [name for name, its_heading in COMMANDS.items() if its_heading == heading]
            commands = {name: self.get_command(ctx, name) for name in names}
            with formatter.section(heading):
                formatter.write_dl([(name, found.get_short_help_str(70)) for name, found in commands.items() if found])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what goes wrong becomes lines on stderr, unless ``--debug`` asks for tracebacks."""
        try:
            if ctx.params["debug"]:
                return super().invoke(ctx)
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                warnings.filterwarnings("ignore", "Failed to initialize NumPy")  # torch's; nothing here needs it
                return self._invoke_quietly(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        finally:  # registered last, it is called first: before torch tidies up, which takes a while
            atexit.unregister(_ignore_interrupts)
            atexit.register(_ignore_interrupts)

    def _invoke_quietly(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RegistryError as error:
            complain(error)
            ctx.exit(exit_code(error))
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise  # click knows what to do
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # nobody reads on, which click ends quietly
            complain(error)
            if not isinstance(error, OSError):
                say("This is a mistake in the registry or in a plugin: `registry --debug ...` shows where.")
            ctx.exit(1)


def exit_code(error: RegistryError) -> int:
    """The code with which a command that met this error ends."""
    return 3 if isinstance(error, NOT_FOUND) else 4 if isinstance(error, DAMAGED) else 1


def _ignore_interrupts() -> None:
    """Let a process whose command has ended come to its end, instead of showing where it was interrupted in it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _show_warning(message: Warning | str, *_where: Any, **_source: Any) -> None:
    warn(str(message))


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`registry COMMAND --help` says more. With --json, a command prints JSON for other programs. "
    "`registry completion SHELL` lets bash, zsh or fish complete commands and names.",
)
@click.version_option(__version__, "-V", "--version", prog_name="registry")
@click.option("--debug", is_flag=True, envvar="REGISTRY_DEBUG", help="Show the traceback of an error.")
def main(debug: bool) -> None:  # it is read by Commands.invoke
    """Pretrained models by name: find them, look into them, use them."""
