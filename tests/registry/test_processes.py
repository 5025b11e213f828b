"""Worker processes that start as copies of one that has imported what they need."""

import os
import signal
from multiprocessing.connection import Connection

import pytest

from registry.processes import use_environment, worker_context


def _answer(pipe: Connection, environment: dict[str, str]) -> None:
    use_environment(environment)
    pipe.send((dict(os.environ), os.getppid()))


def _asked() -> tuple[dict[str, str], int]:
    context = worker_context("chunk", "no_module_of_this_name")
    ours, theirs = context.Pipe()
    worker = context.Process(target=_answer, args=(theirs, dict(os.environ)))
    worker.start()
    found = ours.recv()
    worker.join()
    return found


def test_workers_have_the_present_environment_and_outlive_control_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_TODAY", "first")
    environment, server = _asked()
    assert environment["OF_TODAY"] == "first"
    if server != os.getpid():  # where workers are forks of a server
        os.kill(server, signal.SIGINT)
    monkeypatch.setenv("OF_TODAY", "second")
    monkeypatch.delenv("HOME", raising=False)
    environment, again = _asked()
    assert environment == dict(os.environ)
    assert again == server
