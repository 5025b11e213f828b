"""Processes that are killed."""

import os
import signal
import traceback
from collections.abc import Callable


def forked(work: Callable[[], object]) -> int:
    """The id of a child that does the work, and ends."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # it would go up into what the parent does
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def end(child: int) -> None:
    """Kill a child."""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
