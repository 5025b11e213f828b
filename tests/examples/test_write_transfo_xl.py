"""A small run of write_transfo_xl.py, whole and with an interruption."""

import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import registry

SMALL = ("--steps", 6, "--batch-size", 2, "--length", 8, "--layers", 1, "--width", 32)


@pytest.fixture(autouse=True)
def _few(example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    few = example("docstrings").docstrings("ipaddress", "statistics")
    monkeypatch.setattr(example("write_transfo_xl"), "docstrings", lambda: few)


def test_it_trains_saves_loads_and_writes(run: Callable[..., str], tmp_path: Path) -> None:
    printed = run("write_transfo_xl", tmp_path / "out", *SMALL)
    assert "by frequency alone" in printed
    assert "return the" in printed
    saved = registry.load(tmp_path / "out" / "model")
    assert type(saved.model).__name__ == "TransfoXLLMHeadModel"
    assert len(saved.tokenizer) == saved.config.vocab_size


def test_the_memory_goes_on_as_well(
    run: Callable[..., str], example: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run("write_transfo_xl", tmp_path / "whole", *SMALL)
    training = example("training")
    advance = training.Training.advance

    def interrupted(self: Any, inputs: Any) -> Any:
        if self.step == 3:
            signal.raise_signal(signal.SIGINT)
        return advance(self, inputs)

    monkeypatch.setattr(training.Training, "advance", interrupted)
    run("write_transfo_xl", tmp_path / "parts", *SMALL, exit_code=130)
    monkeypatch.setattr(training.Training, "advance", advance)
    assert run("write_transfo_xl", tmp_path / "parts", *SMALL) == whole
    ours, theirs = (registry.load_model(tmp_path / name / "model").state_dict() for name in ("parts", "whole"))
    assert all(ours[name].equal(tensor) for name, tensor in theirs.items())
