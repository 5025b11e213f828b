"""How much commands print: ``-v``, ``-q`` and ``--debug``, before the name of a command or after it."""

import os
from typing import Any

import click

from registry.download.progress import SHOWN

VERBOSE, NORMAL, QUIET = 1, 0, -1

_LEVEL, _DEBUG = "registry.verbosity", "registry.debug"
"""Keys of ``click.Context.meta``, which all contexts of one call share."""


def verbosity() -> int:
    """``VERBOSE``, ``NORMAL`` or ``QUIET``, as the user asked."""
    context = click.get_current_context(silent=True)
    return NORMAL if context is None else int(context.meta.get(_LEVEL, NORMAL))


def is_debugging(context: click.Context) -> bool:
    """Whether tracebacks are wanted."""
    return bool(context.meta.get(_DEBUG))


def take_everywhere(command: click.Command) -> click.Command:
    """Let a command, and those inside of it, take the options of this module."""
    if not any(option.name == "verbose" for option in command.params):
        command.params += [_option("-v", "--verbose"), _option("-q", "--quiet"), _option("--debug", hidden=True)]
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            take_everywhere(inner)
    return command


def _option(*names: str, hidden: bool = False) -> click.Option:
    key = names[-1].removeprefix("--")
    return click.Option(
        [*names],
        is_flag=True,
        expose_value=False,
        hidden=hidden,
        callback=_CALLBACKS[key],
        help=_HELP[key],
        envvar="REGISTRY_DEBUG" if key == "debug" else None,
    )


def _be_verbose(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and verbosity() != VERBOSE:
        context.meta[_LEVEL] = VERBOSE
        _print_log(context)


def _be_quiet(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and verbosity() == NORMAL:
        context.meta[_LEVEL] = QUIET
        before = os.environ.get(SHOWN)
        os.environ[SHOWN] = "0"  # the bars of downloads are drawn elsewhere, and in other threads
        context.call_on_close(lambda: _restore(before))


def _debug(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        context.meta[_DEBUG] = True


_CALLBACKS: dict[str, Any] = {"verbose": _be_verbose, "quiet": _be_quiet, "debug": _debug}
_HELP = {
    "verbose": "Print details: URLs, causes of errors, retries.",
    "quiet": "Print results and errors only: no messages, warnings or progress bars.",
    "debug": "Show tracebacks of errors.",
}


def _restore(before: str | None) -> None:
    if before is None:
        os.environ.pop(SHOWN, None)
    else:
        os.environ[SHOWN] = before


def _print_log(context: click.Context) -> None:
    """Print what the library logs, such as retries of downloads, until the call ends."""
    import logging  # most calls need none

    from registry.cli.output import say

    class Printer(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(record.getMessage())

    log, printer = logging.getLogger("registry"), Printer()
    before = log.level
    log.addHandler(printer)
    log.setLevel(logging.INFO)

    def stop() -> None:
        log.removeHandler(printer)
        log.setLevel(before)

    context.call_on_close(stop)
