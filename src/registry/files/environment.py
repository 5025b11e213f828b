"""Variables of the environment, read at the moment they are needed.

Secrets and paths often come from files, and bring the line end of the file along: white space around a value is never
part of it, and an empty value is none.
"""

import os

from registry.errors import ConfigError, did_you_mean

_TRUE = ("1", "on", "yes", "true")
_FALSE = ("0", "off", "no", "false")


def variable(*names: str) -> str | None:
    """The value of the first of these variables that has one, without white space around it."""
    return next(filter(None, (os.environ.get(name, "").strip() for name in names)), None)


def flag(name: str) -> bool:
    """Whether a variable says yes (1, on, yes, true) rather than no (0, off, no, false), in any case; no if unset.

    Raises:
        ConfigError: It says something else; the message names the variable.
    """
    value = variable(name)
    word = (value or "0").lower()
    if word not in (*_TRUE, *_FALSE):
        raise ConfigError(
            f"the variable {name} is {value!r}, which is neither yes nor no.{did_you_mean(word, (*_TRUE, *_FALSE))}",
            hint=f"For yes, set it to {', '.join(_TRUE)}; for no, to {', '.join(_FALSE)}, or leave it unset.",
        )
    return word in _TRUE
