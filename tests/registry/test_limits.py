"""The limits of time and memory under which every reader is tried do stop what goes beyond them."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

Limits = Callable[..., Any]

MEGABYTE = 2**20
TAKERS: dict[str, Callable[[], object]] = {
    "bytes": lambda: bytearray(300 * MEGABYTE),
    "many objects": lambda: [bytes(1000) for _ in range(300_000)],
    "torch": lambda: torch.zeros(300 * MEGABYTE, dtype=torch.uint8),
    "torch, never touched": lambda: torch.empty(300 * MEGABYTE, dtype=torch.uint8),
    "numpy": lambda: np.ones(300 * MEGABYTE, np.uint8),
    "numpy, never touched": lambda: np.zeros(300 * MEGABYTE, np.uint8),
}


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells the peak of memory")
@pytest.mark.parametrize("kind", TAKERS)
def test_memory_beyond_the_limit_is_noticed_each_time_even_when_it_is_given_back(limits: Limits, kind: str) -> None:
    for _ in range(3):
        with pytest.raises(pytest.fail.Exception, match="MB of memory"), limits():
            TAKERS[kind]()
        with limits():
            bytearray(100 * MEGABYTE)


IN_FREED_MEMORY = """
import sys
import torch
sys.path.insert(0, {folder!r})
from conftest import within_limits
freed = [bytes(1000) for _ in range(400_000)]
between = freed[::400]
del freed
with within_limits():
    [bytes({size}) for _ in range(300_000_000 // {size})]
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells the peak of memory")
@pytest.mark.parametrize("size", [100, 1000])
def test_memory_is_noticed_that_finds_room_where_others_were(size: int) -> None:
    """In a process of its own: what hundreds of tests left free is more than could be noticed here."""
    code = IN_FREED_MEMORY.format(folder=str(Path(__file__).parents[1]), size=size)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert re.search("Failed: It took .* MB of memory", run.stderr), run.stderr


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
