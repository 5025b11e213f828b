"""A resumable training loop: after Ctrl-C or a crash, training continues from the last checkpoint.

Its directory has ``model``, the trained model; ``step-000120``, the last checkpoint, which appears atomically, with the
state of the optimizer and the random generator in ``training.pt``, written last; ``log.csv``, the losses, and
``curve.svg``, a picture of them; ``training.json``, the options, and the number of steps of the trained model.
A resumed run computes the same numbers as an uninterrupted one.  Asked for more steps, a later run continues.
"""

import json
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import torch

import registry
from log import Log, Pause, say, showing
from registry.files.atomic import content_writer
from registry.saving.folder import write_file

STATE = "training.pt"
RECORD = "training.json"
SECONDS = 60.0
"""Seconds between two checkpoints."""
WARMUP = 20
"""Steps of linear warmup."""
EVERY = 25
"""Steps between two validations."""

Inputs = Mapping[str, Any]
"""The keywords of ``forward`` for a batch, labels included."""


def train(
    start: Callable[[], Any],
    inputs_at: Callable[[int], Inputs],
    directory: Path,
    *,
    steps: int,
    learning_rate: float,
    tokenizer: Any = None,
    carry: str | None = None,
    held_out: Sequence[Inputs] = (),
    options: Mapping[str, object] | None = None,
) -> Any:
    """Train a model, or resume the newest checkpoint; save it as ``model`` in ``directory``.

    Ctrl-C ends the program after the current step and a checkpoint; a second Ctrl-C ends it at once.

    Args:
        start: Returns the model to train.
        inputs_at: Returns the inputs for a step.
        directory: The directory of the model, its checkpoints and its log.
        steps: The number of steps; where fewer were done before, training continues.
        learning_rate: The peak learning rate; after a warmup it falls to 0 at the last step.
        tokenizer: A tokenizer to save with the model.
        carry: A field of the output that is passed to the next step: the ``mems`` of Transformer-XL.
        held_out: Batches that are not trained on; their mean loss is logged.
        options: What decides which model this is; a directory of a model with others is refused.

    Returns:
        The trained model, in evaluation mode.
    """
    record = _read_record(directory)
    _refuse_other_options(directory, record, options or {})
    done = record.get("steps", 0) if (directory / "model").is_dir() else 0
    if done >= steps:
        say(f"{directory / 'model'} was trained for {done} steps and is not trained again; for more, raise --steps.")
        return registry.load_model(directory / "model")
    training = Training(start, directory, steps, learning_rate, tokenizer, carry)
    if done and training.step == 0:  # its checkpoint was removed
        training = Training(lambda: _trained(directory), directory, steps, learning_rate, tokenizer, carry)
        training.step = done
    _write_record(directory, options or {}, done)
    say(f"{'Continuing at' if training.step else 'Training from'} step {training.step} of {steps}; Ctrl-C interrupts.")
    log, saved = Log(directory, training.step), Pause(SECONDS)
    say(f"Losses go to {directory / Log.NAME}.")
    with interruptions() as interrupted, showing(training.step, steps) as shown:
        while training.step < steps:
            loss = training.advance(inputs_at(training.step))
            shown(loss)
            due = bool(held_out) and (training.step % EVERY == 0 or training.step == steps)
            log.add(training.step, loss, training.loss_on(held_out) if due else None)
            if interrupted() or saved.over():
                training.keep()
            if interrupted():
                break
    if training.step < steps:
        say(f"Stopped after step {training.step} of {steps}; the same command resumes.")
        raise SystemExit(128 + signal.SIGINT)
    training.keep()
    registry.save(training.model, directory / "model", tokenizer=tokenizer)
    _write_record(directory, options or {}, steps)
    say(f"Saved {directory / 'model'}.")
    say(f"The losses are drawn in {log.draw(directory.name)}.")
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

    def advance(self, inputs: Inputs) -> float:
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

    def loss_on(self, batches: Sequence[Inputs]) -> float:
        """The mean loss on batches, without dropout."""
        self.model.eval()
        with torch.no_grad():
            losses = [self.model(**inputs).loss.item() for inputs in batches]
        self.model.train()
        return sum(losses) / len(losses)

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


def _trained(directory: Path) -> Any:
    """The model that was trained before, with memory of its own, since saving will replace its files."""
    model = registry.load_model(directory / "model")
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model


def newest(directory: Path) -> Path | None:
    """The newest complete checkpoint in a directory; None if there is none."""
    return max((path.parent for path in directory.glob(f"step-*/{STATE}")), default=None)


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint, its state first, so that a partly removed one is never loaded."""
    (checkpoint / STATE).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)


# --- The record -------------------------------------------------------------------------------------------------------


def _read_record(directory: Path) -> dict[str, Any]:
    path = directory / RECORD
    record: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
    return record


def _write_record(directory: Path, options: Mapping[str, object], steps: int) -> None:
    record = {"options": {name: str(value) for name, value in options.items()}, "steps": steps}
    write_file(directory / RECORD, content_writer(json.dumps(record, indent=2) + "\n"))


def _refuse_other_options(directory: Path, record: Mapping[str, Any], options: Mapping[str, object]) -> None:
    """Raise UsageError where the directory is of a model with other options."""
    for name, value in options.items():
        before = record.get("options", {}).get(name, str(value))
        if before != str(value):
            raise click.UsageError(
                f"{directory} is of a model with --{name} {before}, not {value}. Remove it, or choose another."
            )


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


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
