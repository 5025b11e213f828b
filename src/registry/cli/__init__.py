"""The command line: ``registry list``, ``registry info NAME`` and so on, one module per command."""

import atexit
import errno
import os
import signal
import sys
import warnings
from importlib import import_module
from typing import Any

import click

import registry
from registry._version import __version__
from registry.cli.exit_codes import ExitCode, exit_code
from registry.cli.output import complain, say, warn
from registry.cli.verbosity import is_debugging, take_everywhere
from registry.errors import RegistryError, did_you_mean
from registry.formatting import printable
from registry.garbage import gc_spared

HEADINGS = {
    "find": "Find",
    "run": "Run",
    "manage": "Manage files",
    "weights": "Inspect and convert",
    "setup": "Plugins and setup",
}
"""The packages of commands, each with its heading in ``registry --help``."""

COMMANDS = {
    "list": "find",
    "search": "find",
    "info": "find",
    "config": "find",
    "resolve": "find",
    "catalog": "find",
    "tokenize": "run",
    "embed": "run",
    "predict": "run",
    "classify": "run",
    "fill-mask": "run",
    "generate": "run",
    "chat": "run",
    "evaluate": "run",
    "bulk": "run",
    "attention": "run",
    "page": "run",
    "pull": "manage",
    "rm": "manage",
    "verify": "manage",
    "lock": "manage",
    "cache": "manage",
    "inspect": "weights",
    "diff": "weights",
    "convert": "weights",
    "plan": "weights",
    "plugins": "setup",
    "new": "setup",
    "env": "setup",
    "completion": "setup",
    "help": "setup",
}
"""The commands, each with the package that it is in.

A command is the function ``command`` in the module of its name (``fill_mask``), imported when it is called.
"""

ELSEWHERE = {
    "answer": "predict",
    "compare": "diff",
    "delete": "rm",
    "describe": "info",
    "doctor": "env",
    "download": "pull",
    "encode": "tokenize",
    "fetch": "pull",
    "find": "search",
    "ls": "list",
    "models": "list",
    "perplexity": "evaluate",
    "remove": "rm",
    "run": "generate",
    "show": "info",
    "tag": "predict",
    "version": "--version",
}
"""Commands of other tools, and those that do the same here."""


class Commands(click.Group):
    """The group of all commands; a command is imported when it is called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The names of all commands, in the order of the help page."""
        return [*COMMANDS]

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        with gc_spared():
            module = import_module(f"{__name__}.{COMMANDS[cmd_name]}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return take_everywhere(command)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the options before the command; ``--help COMMAND`` is the help of the command."""
        named = next((arg for arg in args if not arg.startswith("-")), None)
        if named in COMMANDS and args[0] in ctx.help_option_names:
            args = [*args[1 : args.index(named) + 1], "--help"]
        return super().parse_args(ctx, args)

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line; a standard stream that the caller closed (``>&-``) is an empty one."""
        for stream, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(sys, stream) is None:
                setattr(sys, stream, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115  # until the end
        return super().main(*args, **options)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names.

        Raises:
            UsageError: There is no such command; the message has suggestions.
        """
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            here = ELSEWHERE.get(name)
            ctx.fail(f"No such command {name!r}.{did_you_mean(name, COMMANDS) if here is None else f' Use {here!r}.'}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by heading, each with the first sentence of its help."""
        for package, heading in HEADINGS.items():
            names = [name for name, its_package in COMMANDS.items() if its_package == package]
            commands = {name: self.get_command(ctx, name) for name in names}
            with formatter.section(heading):
                formatter.write_dl([(name, found.get_short_help_str(70)) for name, found in commands.items() if found])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; errors are printed to stderr in a few lines, or with ``--debug`` raised."""
        if (module := _hiding_module()) is not None:
            warn(f"{module} in this directory hides the package registry from `import registry`: rename it.")
        try:
            with warnings.catch_warnings():
                if not is_debugging(ctx):
                    warnings.showwarning = _show_warning
                    warnings.filterwarnings("ignore", "Failed to initialize NumPy")  # torch's; no command needs numpy
                return self._invoke_quietly(ctx)
        except KeyboardInterrupt:
            if is_debugging(ctx):
                raise
            ctx.exit(ExitCode.INTERRUPTED)
        finally:  # registered last and called first: before the slow exit handlers of torch
            atexit.unregister(_ignore_interrupts)
            atexit.register(_ignore_interrupts)

    def _invoke_quietly(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort):
            raise  # click handles these
        except click.ClickException as error:
            vars(error)["message"] = printable(error.message)
            raise
        except Exception as error:
            if is_debugging(ctx) or (isinstance(error, OSError) and error.errno == errno.EPIPE):
                raise  # where the reader closed the pipe, click ends quietly
            complain(error)
            if isinstance(error, RegistryError):
                ctx.exit(exit_code(error))
            if not isinstance(error, OSError):
                say("This is a bug in registry or in a plugin; `registry --debug ...` shows the traceback.")
            ctx.exit(ExitCode.ERROR)


def _hiding_module() -> str | None:
    """A module of the user that Python imports as ``registry`` from this directory, in place of the package."""
    for name in ("registry.py", os.path.join("registry", "__init__.py")):  # noqa: PTH118  # Path costs its import
        if os.path.exists(name) and not os.path.samefile(name, registry.__file__):  # noqa: PTH110, PTH121
            return name
    return None


def _ignore_interrupts() -> None:
    """Ignore Ctrl-C while the interpreter shuts down, instead of printing a traceback from there."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _show_warning(message: Warning | str, *_where: Any, **_source: Any) -> None:
    warn(str(message).partition(" To silence this: ")[0])  # by Python; -q does it here


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`registry help COMMAND` describes a command; -v and -q may stand before or after it. "
    "`registry completion SHELL` prints a completion script for bash, zsh or fish.",
)
@click.version_option(__version__, "-V", "--version", prog_name="registry")
def main() -> None:
    """Find, inspect and run pretrained models."""


take_everywhere(main)
