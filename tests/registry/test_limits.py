"""The limits of time and memory under which every reader is tried do stop what goes beyond them."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

Limits = Callable[..., Any]
Run = Callable[..., tuple[int, str]]

TAKERS = {
    "bytes": "bytearray(300 * 2**20)",
    "many objects": "[bytes(1000) for _ in range(300_000)]",
    "torch": "torch.zeros(300 * 2**20, dtype=torch.uint8)",
    "torch, never touched": "torch.empty(300 * 2**20, dtype=torch.uint8)",
    "numpy": "np.ones(300 * 2**20, np.uint8)",
    "numpy, never touched": "np.zeros(300 * 2**20, np.uint8)",
}
STARTED = """
import sys
import numpy as np
import torch
sys.path.insert(0, {folder!r})
from conftest import within_limits
"""
TAKEN_THRICE = """
for _ in range(3):
    try:
        with within_limits():
            {taker}
    except BaseException as error:
        print(error)
    with within_limits():
        bytearray(100 * 2**20)
"""


@pytest.fixture
def run(warm: Any) -> Callable[..., tuple[int, str]]:
    """Runs it in a process of its own: what hundreds of tests left free is more than could be noticed here."""

    def run(code: str, **values: object) -> tuple[int, str]:
        found: tuple[int, str] = warm.run(
            "-c", (STARTED + code).format(folder=str(Path(__file__).parents[1]), **values), modules=("pytest",)
        )
        return found

    return run


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells the peak of memory")
@pytest.mark.parametrize("kind", TAKERS)
def test_memory_beyond_the_limit_is_noticed_each_time_even_when_it_is_given_back(run: Run, kind: str) -> None:
    code, printed = run(TAKEN_THRICE, taker=TAKERS[kind])
    assert code == 0, printed
    assert printed.count("MB of memory, where 200 are the most.") == 3, printed


IN_FREED_MEMORY = """
freed = [bytes(1000) for _ in range(400_000)]
between = freed[::400]
del freed
with within_limits():
    [bytes({size}) for _ in range(300_000_000 // {size})]
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells the peak of memory")
@pytest.mark.parametrize("size", [100, 1000])
def test_memory_is_noticed_that_finds_room_where_others_were(run: Run, size: int) -> None:
    _, printed = run(IN_FREED_MEMORY, size=size)
    assert re.search("Failed: It took .* MB of memory", printed), printed


def endless() -> None:
    while True:
        try:
            sum(range(1000))
        except Exception:
            return


def test_an_endless_loop_is_ended_even_in_code_that_takes_every_error_for_damage(limits: Limits) -> None:
    with pytest.raises(pytest.fail.Exception, match="longer than"), limits(seconds=0.1):
        endless()


def test_errors_pass_through(limits: Limits) -> None:
    with pytest.raises(KeyError), limits():
        raise KeyError


def test_work_within_the_limits_is_left_alone(limits: Limits) -> None:
    with limits():
        assert torch.ones(1000).sum() == 1000
