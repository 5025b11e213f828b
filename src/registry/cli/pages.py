"""Files that a browser shows: where they are written, and ``--open``."""

from pathlib import Path

import click

from registry.cli.output import say

open_option = click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")


def in_a_directory(_context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """The path of a file to write, if one is given.

    Raises:
        BadParameter: Its directory does not exist.
    """
    if path is not None and not path.parent.is_dir():
        hint = f"'{'/'.join(parameter.opts)}'" if isinstance(parameter, click.Option) else "'OUT'"
        raise click.BadParameter(f"there is no directory {str(path.parent)!r}.", param_hint=hint)
    return path


def announce(page: Path, what: str, *, opens: bool) -> None:
    """Say what was written, and open it if asked to.

    Args:
        page: The file.
        what: What it is, as the object of a sentence: ``"12 models"``.
        opens: Whether a browser is to show it.
    """
    say(f"Wrote {what}; open {page}.")
    if opens:
        open_page(page)


def open_page(page: Path) -> None:
    """Show a file in a browser; says so where none can be started."""
    import webbrowser  # other commands need none

    if not webbrowser.open(page.absolute().as_uri()):
        say("No browser could be started.")
