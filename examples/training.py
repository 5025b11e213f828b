"""A resumable training loop: after Ctrl-C or a crash, training continues from the last checkpoint.

A checkpoint is a directory ``step-000120``, which appears atomically, and in it ``training.pt`` with the
state of the optimizer and the random generator, written last; a directory without it is ignored.  A resumed run
computes the same numbers as an uninterrupted one.
"""

import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

import registry
from registry.saving.folder import write_file

STATE = "training.pt"
SECONDS = 60.0
"""Seconds between two checkpoints."""
WARMUP = 20
"""Steps of linear warmup."""


def train(
    start: Callable[[], Any],
    inputs_at: Callable[[int], Mapping[str, Any]],
    directory: Path,
    *,
    steps: int,
    learning_rate: float,
    tokenizer: Any = None,
    carry: str | None = None,
) -> Any:
    """Train a model, or resume the newest checkpoint; save it as ``model`` in ``directory``.

    Ctrl-C ends the program after the current step and a checkpoint; a second Ctrl-C ends it at once.

    Args:
        start: Returns the model to train.
        inputs_at: Returns the keywords of ``forward`` for a step, labels included.
        directory: The directory of checkpoints; if it has a trained ``model``, that is returned.
        steps: The number of steps.
        learning_rate: The peak learning rate.
        tokenizer: A tokenizer to save with the model.
        carry: A field of the output that is passed to the next step: the ``mems`` of Transformer-XL.

    Returns:
        The trained model, in evaluation mode.
    """
    if (directory / "model").is_dir():
        return registry.load_model(directory / "model")
    training = Training(start, directory, steps, learning_rate, tokenizer, carry)
    saved = time.monotonic()
    with interruptions() as interrupted, tqdm(total=steps, initial=training.step, unit="step", disable=None) as bar:
        while training.step < steps:
            loss = training.advance(inputs_at(training.step))
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()
            if interrupted() or time.monotonic() - saved > SECONDS:
                training.keep()
                saved = time.monotonic()
            if interrupted():
                bar.close()
                print(f"Stopped after step {training.step} of {steps}; the same command resumes.", file=sys.stderr)
                raise SystemExit(128 + signal.SIGINT)
    registry.save(training.model, directory / "model", tokenizer=tokenizer)
    for checkpoint in directory.glob("step-*"):
        _remove(checkpoint)
    return training.model.eval()


class Training:
    """A model in training, with its complete training state."""

    def __init__(
        self,
        start: Callable[[], Any],
        directory: Path,
        steps: int,
        learning_rate: float,
        tokenizer: Any = None,
        carry: str | None = None,
    ) -> None:
        self.directory, self.steps, self.learning_rate = directory, steps, learning_rate
        self.tokenizer, self.carry = tokenizer, carry
        self.step, self.carried = 0, None
        torch.manual_seed(0)
        checkpoint = newest(directory)
        self.model = (registry.load_model(checkpoint) if checkpoint else start()).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        if checkpoint:
            state = torch.load(checkpoint / STATE)
            for parameter in self.model.parameters():
                parameter.data = (
                    parameter.data.clone()
                )  # mapped tensors are aligned differently, which changes last bits
            self.optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["random"])
            self.step, self.carried = state["step"], state["carried"]

    def advance(self, inputs: Mapping[str, Any]) -> float:
        """Take one step; returns the loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * min((self.step + 1) / WARMUP, 1 - self.step / self.steps)
        output = self.model(**inputs, **({self.carry: self.carried} if self.carry else {}))
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self.carried = list(getattr(output, self.carry)) if self.carry else None
        return output.loss.item()

    def keep(self) -> None:
        """Write a checkpoint, then remove older ones."""
        state = {
            "step": self.step,
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "carried": self.carried,
        }
        checkpoint = registry.save(self.model, self.directory / f"step-{self.step:06}", tokenizer=self.tokenizer)
        write_file(checkpoint / STATE, lambda path: torch.save(state, path))
        for older in self.directory.glob("step-*"):
            if older.name < checkpoint.name:
                _remove(older)


def newest(directory: Path) -> Path | None:
    """The newest complete checkpoint in a directory; None if there is none."""
    return max((path.parent for path in directory.glob(f"step-*/{STATE}")), default=None)


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint, its state first, so that a partly removed one is never loaded."""
    (checkpoint / STATE).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)


@contextmanager
def interruptions() -> Iterator[Callable[[], bool]]:
    """Record Ctrl-C instead of raising KeyboardInterrupt; a second one raises it.

    Yields:
        A function that returns whether Ctrl-C was pressed.
    """
    pressed: list[int] = []

    def note(number: int, _frame: object) -> None:
        pressed.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)
