"""Models for commands: found by their task, and never with newly initialized weights."""

import warnings
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import click

from registry.errors import UnknownTaskError, UntrainedWarning
from registry.formatting import enumeration

if TYPE_CHECKING:
    from registry.loading.loaded import Pretrained

HELD_BY = {"masked-lm": ("masked-lm", "pretraining"), "causal-lm": ("causal-lm", "double-heads")}
"""For a task, the tasks of cards whose files have its weights."""

GENERATING = ("causal-lm", "seq2seq-lm")
"""Tasks of models that generate texts."""


def _usable(_ctx: click.Context, _parameter: click.Parameter, device: str | None) -> str | None:
    """The device, once torch has allocated a tensor there.  Raises BadParameter."""
    if device is not None:
        import torch

        try:
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as problem:
            said = str(problem).strip().partition("\n")[0]
            unknown = said.startswith("Expected one of")  # followed by two dozen names that torch reserves
            reason = "devices are named cpu, cuda, cuda:1, mps and so on." if unknown else said
            raise click.BadParameter(f"{device!r} cannot be used: {reason}") from problem
    return device


device_option = click.option("--device", metavar="NAME", callback=_usable, help="Device, such as cuda (default: cpu).")


def task_that_generates(name: str) -> str:
    """The task of the class that generates: that of a causal or an encoder-decoder's, or else the model's own.

    Raises:
        RegistryError: Whatever ``registry.load_config`` raises.
    """
    from registry.config.load import find_config
    from registry.loading.classes import class_for, task_of
    from registry.sources.files import Files

    files = Files.named(name)
    described = find_config(files)
    own = task_of(files.source.card, described)
    models = described.architecture.models
    usual = next((task for task in GENERATING if task in models), "causal-lm")
    if usual in models or own not in models:
        return usual
    cls = class_for(own, described.architecture, files)
    generates = hasattr(cls, "start") or all(hasattr(cls, name) for name in ("context_size", "new_cache", "score"))
    return own if generates else usual


def tasks_with_labels(name: str) -> list[str]:
    """The tasks of a model's architecture whose records promise a label of each input; those of any, if it has none.

    Raises:
        RegistryError: Whatever ``registry.load_config`` raises.
    """
    from registry.config.load import find_config
    from registry.records import OUTPUTS
    from registry.sources.files import Files

    models = find_config(Files.named(name)).architecture.models
    promised = {task: spec.outputs or OUTPUTS.get(task, {}) for task, spec in models.items()}
    found, usual = (
        [task for task, fields in outputs.items() if fields.get("logits") == ("batch", "labels")]
        for outputs in (promised, OUTPUTS)
    )
    return found or usual


def load_trained(name: str, task: str, device: str | None) -> "Pretrained":
    """Load a model for a task, with all of its weights; warns about those that were saved before they were trained.

    Raises:
        UnknownTaskError: The files have no weights for the task, so that its head would be random.
        RegistryError: Whatever ``registry.load`` raises.
    """
    from registry.loading.pretrained import load
    from registry.records import TASKS
    from registry.sources.resolve import resolve

    card = resolve(name).card
    if card is not None and card.task in TASKS and card.task not in HELD_BY.get(task, (task,)):
        raise _untrained(name, task, f"its card has the task {card.task!r}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*newly initialized", UntrainedWarning)  # they are an error here
        loaded = load(name, task, device=device)
    if loaded.report.new:
        raise _untrained(name, task, f"{loaded.report.new[0]} and others are missing, and would be random")
    return loaded


def load_for(name: str, tasks: Collection[str], device: str | None, *, hint: str) -> "tuple[Pretrained, str]":
    """Load a model whose files say what it is for, if that is one of ``tasks``; also returns which.

    ``hint`` is what to do about another one.

    Raises:
        UnknownTaskError: It is for another task; no weights are read then.
        RegistryError: Whatever ``registry.load`` raises.
    """
    from registry.config.load import find_config
    from registry.loading.classes import task_of
    from registry.loading.pretrained import load
    from registry.sources.files import Files

    files = Files.named(name)
    card = files.source.card
    task = card.task if card is not None else task_of(None, find_config(files))
    if task not in tasks:
        raise UnknownTaskError(
            f"{files.source} is a model for {task!r}; this command needs one for {enumeration(tasks, 'or')}.",
            hint=hint,
        )
    return load(name, device=device), task


def _untrained(name: str, task: str, why: str) -> UnknownTaskError:
    listing = " or ".join(f"`registry list --task {held}`" for held in HELD_BY.get(task, (task,)))
    return UnknownTaskError(
        f"the weights of {name!r} are not for {task!r}: {why}.", hint=f"{listing} lists suitable models."
    )


# --- Generating -------------------------------------------------------------------------------------------------------

SAMPLING = ("top_k", "top_p", "seed")
"""Options that only sampling has a use for."""

_OPTIONS = (
    click.option("-n", "--max-new-tokens", type=click.IntRange(1), default=100, show_default=True, help="Tokens."),
    click.option(
        "--temperature",
        type=click.FloatRange(0),
        help="Above 0: sample; higher is more random. 0: greedy (default: the model's generation_config.json, else 0).",
    ),
    click.option("--top-k", metavar="K", type=click.IntRange(1), help="Sample from the K most likely tokens."),
    click.option(
        "--top-p",
        metavar="P",
        type=click.FloatRange(0, 1, min_open=True),
        help="Nucleus sampling: smallest set with total probability P.",
    ),
    click.option(
        "--repetition-penalty",
        type=click.FloatRange(0, min_open=True),
        help="Above 1: make repeated tokens less likely.",
    ),
    click.option("--seed", type=int, help="Seed of the random generator."),
)


def generation_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of commands that generate text."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_sampling(*, beams: bool = False, **options: Any) -> None:
    """Raise UsageError for options that have no effect with the others."""
    temperature = options.get("temperature")
    given = [name for name in SAMPLING if options.get(name) is not None]
    if beams and (given or temperature):
        option = "--" + (given or ["temperature"])[0].replace("_", "-")
        raise click.UsageError(f"{option} has no effect in beam search: leave out {option} or --num-beams.")
    if given and not temperature:
        option = "--" + given[0].replace("_", "-")
        raise click.UsageError(f"{option} has no effect without sampling: add --temperature 0.8.")


def end_ids(loaded: "Pretrained") -> list[int] | None:
    """The ids that end a text: those of the model's files and of the tokenizer."""
    from registry.generation.prompts import configured_end

    files = getattr(loaded.model, "generation_config", {}).get("eos_token_id")
    token = loaded.tokenizer.vocab.get(loaded.tokenizer.eos_token or "")  # some vocabularies lack it
    found: list[Any] = [files, configured_end(loaded.model), token]
    ids = [one for each in found if each is not None for one in (each if isinstance(each, list | tuple) else [each])]
    return list(dict.fromkeys(ids)) or None
