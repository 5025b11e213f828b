"""Models for the commands that use one: found by what they were trained for, and never with random parts."""

from typing import TYPE_CHECKING

import click

from registry.errors import UnknownModelError, UnknownTaskError

if TYPE_CHECKING:
    from registry.loading.pretrained import Pretrained

HELD_BY = {"masked-lm": ("masked-lm", "pretraining"), "causal-lm": ("causal-lm", "double-heads")}
"""A task, and the tasks of the cards whose files hold the weights for it."""


def _usable(_ctx: click.Context, _parameter: click.Parameter, device: str | None) -> str | None:
    """The device, once torch has shown that it can compute there.  Raises BadParameter."""
    if device is not None:
        import torch

        try:
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as problem:
            raise click.BadParameter(str(problem).strip().partition("\n")[0]) from problem
    return device


device_option = click.option(
    "--device", metavar="NAME", callback=_usable, help="Where to compute, such as cuda; else the CPU."
)


def load_trained(name: str, task: str, device: str | None) -> "Pretrained":
    """Load a model for a task whose weights its files hold.

    Raises what ``registry.load`` raises, and UnknownTaskError rather than return a model with a random head.
    """
    from registry.loading.pretrained import load
    from registry.records import TASKS
    from registry.sources.resolve import resolve

    card = resolve(name).card
    if card is not None and card.task in TASKS and card.task not in HELD_BY[task]:
        raise _untrained(name, task, f"its card says that they are for {card.task!r}")
    loaded = load(name, task, device=device)
    if loaded.report.new:
        raise _untrained(name, task, f"they lack {loaded.report.new[0]} and the like, which would be random")
    return loaded


def best_known(task: str) -> str:
    """The first model that was trained for a task, in the order of the plugins; one on this computer comes first.

    Raises UnknownModelError when no plugin declares one.
    """
    from registry.catalog import search
    from registry.sources.files import is_local

    names = [card for card in search() if card.task in HELD_BY[task]]
    if not names:
        raise UnknownModelError(
            f"no installed plugin declares a model for {task!r}.", hint="Name one, or the folder that holds it."
        )
    return next((card for card in names if is_local(card)), names[0]).name


def _untrained(name: str, task: str, why: str) -> UnknownTaskError:
    listing = " or ".join(f"`registry list --task {held}`" for held in HELD_BY[task])
    return UnknownTaskError(
        f"the weights of {name!r} are not for {task!r}: {why}.", hint=f"{listing} lists models that are."
    )
