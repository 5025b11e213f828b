"""The docstrings of the standard library, read from its source."""

import asyncio
import email.message
import inspect
import statistics
from collections.abc import Callable
from types import ModuleType


def test_they_are_those_which_python_itself_knows(example: Callable[[str], ModuleType]) -> None:
    found = {
        docstring.text: docstring for docstring in example("docstrings").docstrings("asyncio", "email", "statistics")
    }
    assert found[str(inspect.getdoc(email.message.Message.get_payload))].name == "get_payload"
    assert found[str(inspect.getdoc(asyncio.Task))].module == "asyncio.tasks"
    assert found[str(inspect.getdoc(statistics))].name == ""
    assert {docstring.module.partition(".")[0] for docstring in found.values()} == {"asyncio", "email", "statistics"}
