"""Texts of commands: arguments, the lines of a file, or stdin, the same way everywhere.

``-`` means stdin; so does no text at all where stdin is not a terminal: ``echo "A text" | registry embed NAME``.
"""

import codecs
import sys
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

import click

from registry.errors import InputError

Command = TypeVar("Command", bound=Callable[..., Any])

STDIN = "-"


def text_argument(parameter: str = "text") -> Callable[[Command], Command]:
    """An argument that is one text: all of stdin for ``-``, without the line end at its end."""
    return click.argument(parameter, required=False, callback=_one)


def texts_argument(command: Command) -> Command:
    """An argument of several texts, and the option ``--file`` for the lines of a file: ``texts`` and ``source``."""
    option = click.option("-f", "--file", type=click.File("rb"), help="Take the lines of a file; '-' is stdin.")
    return click.argument("texts", nargs=-1, metavar="[TEXT]...")(option(command))


def all_texts(texts: tuple[str, ...], file: BinaryIO | None) -> list[str]:
    """The texts of ``texts_argument``.

    Raises:
        UsageError: There is none.
        InputError: A line is not UTF-8.
    """
    found = [line for text in texts for line in (_stdin_lines() if text == STDIN else [text])]
    if file is not None:
        found += lines_of(file)
    elif not texts and not sys.stdin.isatty():
        found = _stdin_lines()
    if not found:
        raise click.UsageError("there is no text: pass texts, a file of lines with --file, or lines on stdin.")
    return found


def lines_of(file: BinaryIO) -> list[str]:
    """The lines of a file in UTF-8, without line ends and a byte order mark.

    Raises:
        InputError: A line is not UTF-8.
    """
    lines = file.read().removeprefix(codecs.BOM_UTF8).split(b"\n")
    if not lines[-1]:
        lines.pop()
    texts = []
    for number, line in enumerate(lines, 1):
        try:
            texts.append(line.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError as problem:
            raise InputError(f"line {number:,} of the file is not UTF-8: {problem.reason}.") from problem
    return texts


def _stdin_lines() -> list[str]:
    return lines_of(sys.stdin.buffer)


def _one(context: click.Context, parameter: click.Parameter, text: str | None) -> str:
    if context.resilient_parsing:  # of a shell that completes
        return ""
    if text is not None and text != STDIN:
        return text
    if text is None and sys.stdin.isatty():
        raise click.MissingParameter(param_hint=f"'{(parameter.name or '').upper()}'", param_type="argument")
    found = "\n".join(_stdin_lines())
    if text is None and not found:
        raise click.MissingParameter(
            "Pass a text, or write it to stdin.",
            param_hint=f"'{(parameter.name or '').upper()}'",
            param_type="argument",
        )
    return found
