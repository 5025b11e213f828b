"""Models for commands: found by their task, and never with newly initialized weights."""

import warnings
from typing import TYPE_CHECKING

import click

from registry.errors import UnknownModelError, UnknownTaskError, UntrainedWarning

if TYPE_CHECKING:
    from registry.loading.pretrained import Pretrained

HELD_BY = {"masked-lm": ("masked-lm", "pretraining"), "causal-lm": ("causal-lm", "double-heads")}
"""For a task, the tasks of cards whose files have its weights."""


def _usable(_ctx: click.Context, _parameter: click.Parameter, device: str | None) -> str | None:
    """The device, once torch has allocated a tensor there.  Raises BadParameter."""
    if device is not None:
        import torch

        try:
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as problem:
            raise click.BadParameter(str(problem).strip().partition("\n")[0]) from problem
    return device


device_option = click.option("--device", metavar="NAME", callback=_usable, help="Device, such as cuda (default: cpu).")


def load_trained(name: str, task: str, device: str | None) -> "Pretrained":
    """Load a model for a task, with all of its weights; warns of those that were saved before they were trained.

    Raises:
        UnknownTaskError: The files have no weights for the task, so that its head would be random.
        RegistryError: Whatever ``registry.load`` raises.
    """
    from registry.loading.pretrained import load
    from registry.records import TASKS
    from registry.sources.resolve import resolve

    card = resolve(name).card
    if card is not None and card.task in TASKS and card.task not in HELD_BY[task]:
        raise _untrained(name, task, f"its card has the task {card.task!r}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*newly initialized", UntrainedWarning)  # they are an error here
        loaded = load(name, task, device=device)
    if loaded.report.new:
        raise _untrained(name, task, f"{loaded.report.new[0]} and others are missing, and would be random")
    return loaded


def best_known(task: str) -> str:
    """The name of the first known model for a task, preferring downloaded ones.

    Raises:
        UnknownModelError: No plugin declares one.
    """
    from registry.catalog import search
    from registry.sources.card import is_local

    names = [card for card in search() if card.task in HELD_BY[task]]
    if not names:
        raise UnknownModelError(
            f"no installed plugin declares a model for {task!r}.",
            hint="Name one, or the directory with its files.",
        )
    return next((card for card in names if is_local(card)), names[0]).name


def _untrained(name: str, task: str, why: str) -> UnknownTaskError:
    listing = " or ".join(f"`registry list --task {held}`" for held in HELD_BY[task])
    return UnknownTaskError(
        f"the weights of {name!r} are not for {task!r}: {why}.", hint=f"{listing} lists suitable models."
    )
