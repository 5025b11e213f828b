"""Train a model so that Ctrl-C, or a crash, costs little: started again, the training goes on where it was.

A checkpoint is a folder ``step-000120`` by ``registry.save``, which appears whole or not at all, and in it a
``training.pt`` with the state of the optimizer and of the random numbers, written last; without it the folder counts
for nothing.  What goes on from a checkpoint computes the very numbers that it would have computed without a break.
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
"""Time between two checkpoints."""
WARMUP = 20
"""Steps in which the learning rate rises."""


def train(
    start: Callable[[], Any],
    inputs_at: Callable[[int], Mapping[str, Any]],
    folder: Path,
    *,
    steps: int,
    learning_rate: float,
    tokenizer: Any = None,
    carry: str | None = None,
) -> Any:
    """Train what ``start()`` returns, or the newest checkpoint in ``folder``, up to ``steps``; save it as ``model``.

    ``inputs_at(step)`` gives the keywords of the model's ``forward``, labels included.  ``carry`` names what each step
    hands to the next: the ``mems`` of Transformer-XL.  Where ``folder`` holds a trained ``model``, it is returned at
    once.  Ctrl-C ends the program after the step that is being computed, and a checkpoint; a second one ends it there
    and then.
    """
    if (folder / "model").is_dir():
        return registry.load_model(folder / "model")
    training = Training(start, folder, steps, learning_rate, tokenizer, carry)
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
                print(f"Stopped after step {training.step} of {steps}; the same command goes on.", file=sys.stderr)
                raise SystemExit(128 + signal.SIGINT)
    registry.save(training.model, folder / "model", tokenizer=tokenizer)
    for checkpoint in folder.glob("step-*"):
        _remove(checkpoint)
    return training.model.eval()


class Training:
    """A model that is being trained, with all that decides how it goes on."""

    def __init__(
        self,
        start: Callable[[], Any],
        folder: Path,
        steps: int,
        learning_rate: float,
        tokenizer: Any = None,
        carry: str | None = None,
    ) -> None:
        self.folder, self.steps, self.learning_rate = folder, steps, learning_rate
        self.tokenizer, self.carry = tokenizer, carry
        self.step, self.carried = 0, None
        torch.manual_seed(0)
        checkpoint = newest(folder)
        self.model = (registry.load_model(checkpoint) if checkpoint else start()).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        if checkpoint:
            state = torch.load(checkpoint / STATE)
            for parameter in self.model.parameters():
                parameter.data = (
                    parameter.data.clone()
                )  # a file is not aligned as memory is, and last bits depend on it
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
        """Write a checkpoint, and then remove those before it."""
        state = {
            "step": self.step,
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "carried": self.carried,
        }
        folder = registry.save(self.model, self.folder / f"step-{self.step:06}", tokenizer=self.tokenizer)
        write_file(folder / STATE, lambda path: torch.save(state, path))
        for older in self.folder.glob("step-*"):
            if older.name < folder.name:
                _remove(older)


def newest(folder: Path) -> Path | None:
    """The last whole checkpoint in a folder."""
    return max((path.parent for path in folder.glob(f"step-*/{STATE}")), default=None)


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint, so that at no time half of it looks like a whole one."""
    (checkpoint / STATE).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)


@contextmanager
def interruptions() -> Iterator[Callable[[], bool]]:
    """Note Ctrl-C instead of obeying it, and tell whether it was pressed; a second one is obeyed."""
    pressed: list[int] = []

    def note(number: int, _frame: object) -> None:
        pressed.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)
