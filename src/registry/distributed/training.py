"""The state of training by name: the tensors of a model and its optimizer, options, and random numbers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict, set_optimizer_state_dict

from registry.errors import SaveError
from registry.sharding.agreement import random_state
from registry.sharding.gathering import HeldTensor, parts_of

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

MODEL, STATE, RANDOM = "model.", "state.", "random."
"""How names of the model's tensors, of the optimizer's, and of states of random numbers begin."""

FLAT = StateDictOptions(flatten_optimizer_state_dict=True)
"""The state of an optimizer by the names of parameters, not by their numbers."""


def tensors_of(
    model: "nn.Module", optimizer: "Optimizer | None"
) -> tuple[dict[str, HeldTensor], dict[str, Any] | None]:
    """The tensors of a model and its optimizer by name, and the optimizer's options.

    A new optimizer gets its state by this.

    Raises:
        SaveError: An option is not a value that JSON has.
    """
    of_model = parts_of(model)
    first: dict[int, str] = {}
    for name, part in of_model.items():
        first.setdefault(id(part.tensor), name)
    parts = {MODEL + name: of_model[name] for name in first.values()}  # of a tie, one
    if optimizer is None:
        return parts, None
    options: dict[str, Any] = {}
    for key, value in get_optimizer_state_dict(model, optimizer, options=FLAT).items():
        if not isinstance(value, Tensor):
            options[key] = plain(value)
            continue
        owner = of_model.get(key.removeprefix(STATE).rpartition(".")[0])
        alike = owner is not None and owner.tensor.dim() == value.dim()
        parts[key] = HeldTensor(value, owner.fused if owner is not None and alike else None)
    return parts, options


def set_optimizer(
    model: "nn.Module", optimizer: "Optimizer", state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> None:
    """Give an optimizer its state, in the form of ``tensors_of``."""
    saved: Any = {**state, **{key: revived(value) for key, value in options.items()}}
    set_optimizer_state_dict(model, optimizer, saved, options=FLAT)


# --- Values in JSON ---------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value as JSON has it: tuples, and mappings whose keys are not texts, are marked.

    Raises:
        SaveError: It holds something else than numbers and texts.
    """
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: plain(item) for key, item in value.items()}
        return {"pairs": [[plain(key), plain(item)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [plain(item) for item in value]}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise SaveError(f"A {type(value).__name__} in the state of optimizer or schedule is not a number, text or list.")


def revived(value: Any) -> Any:
    """What ``plain`` was given."""
    if isinstance(value, list):
        return [revived(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if set(value) == {"tuple"}:
        return tuple(revived(item) for item in value["tuple"])
    if set(value) == {"pairs"}:
        return {revived(key): revived(item) for key, item in value["pairs"]}
    return {key: revived(item) for key, item in value.items()}


# --- Random numbers ---------------------------------------------------------------------------------------------------


def place_of(model: Any) -> tuple[int, int]:
    """The number of this process among those that read data of their own, and how many these are."""
    processes = getattr(model, "processes", None)
    if processes is None:
        ready = dist.is_available() and dist.is_initialized()
        return (dist.get_rank(), dist.get_world_size()) if ready else (0, 1)
    mesh = processes.sharded
    return (0, 1) if mesh is None else (mesh.get_local_rank(), mesh.size())


def random_states(model: Any) -> dict[str, Tensor]:
    """The states of this process's random numbers, by name."""
    return {f"{RANDOM}{place_of(model)[0]}.{kind}": random_state(kind) for kind in _kinds()}


def random_to_read(model: Any, saved: int) -> dict[str, Tensor]:
    """Where the states are read into with which this process continues.

    They are those of the process of its number; where fewer processes saved them, counting begins again.

    Args:
        model: The model.
        saved: How many processes saved states.
    """
    number = place_of(model)[0] % max(1, saved)
    return {f"{RANDOM}{number}.{kind}": random_state(kind).clone() for kind in _kinds()}


def set_random_states(states: Mapping[str, Tensor]) -> None:
    """Continue with these states."""
    for name, state in states.items():
        (torch.cuda.set_rng_state if name.endswith(".cuda") else torch.set_rng_state)(state)


def _kinds() -> list[str]:
    return ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
