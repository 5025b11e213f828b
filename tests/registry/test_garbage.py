"""The garbage collector is paused where it has nothing to collect, and is as it was afterwards."""

import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from registry.garbage import gc_paused, gc_spared


@pytest.fixture(autouse=True)
def _nothing_frozen() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.parametrize("paused", [gc_paused, gc_spared])
def test_collections_pause_and_go_on(paused: Callable[[], AbstractContextManager[None]]) -> None:
    with paused():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_is_made_while_modules_are_imported_is_old() -> None:
    with gc_spared():
        made: list[object] = [[]]
    assert any(kept is made for kept in gc.get_objects(generation=2))
    assert gc.get_freeze_count() == 0


def test_what_an_application_has_frozen_stays_frozen() -> None:
    frozen: list[object] = [[]]
    gc.freeze()
    with gc_spared():
        made: list[object] = [[]]
    found = gc.get_objects()  # all but what is frozen
    assert not any(kept is frozen for kept in found)
    assert any(kept is made for kept in found)
    assert not any(kept is made for kept in gc.get_objects(generation=2))


LEFT = """
import sys
from registry.garbage import skip_last_collections
class Left:
    def __del__(self):
        print("collected")
one = Left()
one.itself = one
if sys.argv[1] == "skip":
    skip_last_collections()
"""


@pytest.mark.parametrize(("last", "printed"), [("collect", "collected\n"), ("skip", "")])
def test_what_is_left_when_a_program_ends_is_not_collected(last: str, printed: str) -> None:
    ended = subprocess.run([sys.executable, "-c", LEFT, last], capture_output=True, text=True, check=True)
    assert ended.stdout == printed
