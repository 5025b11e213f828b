"""State dicts inside of what training programs save: next to the optimizer's state, the epoch, the arguments.

Needs no torch: what stands for a tensor is given, a tensor itself or the header of one.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from registry.errors import WeightsMismatchError
from registry.formatting import first_of

KindT = TypeVar("KindT")

CONTAINERS = (
    "state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params",
    "model_state", "model_weights", "checkpoint",
)  # fmt: skip
"""Keys under which training programs keep a state dict: Lightning, the tutorials of torch, fairseq, DeepSpeed, ..."""

DEEPEST = 8
"""Containers in each other; a file can nest them without an end."""

REWRITE = "In the program that wrote it, write the weights alone: `torch.save(model.state_dict(), path)`."

TENSORS_ALONE = (
    "state_dict={name: value for name, value in torch.load(path, weights_only=True).items() "
    "if isinstance(value, torch.Tensor)}"
)


def state_dict(found: Any, kind: "type[KindT]", origin: str) -> "dict[str, KindT]":
    """The tensors of a state dict, which may be in what a training program saves.

    Args:
        found: The object in a file.
        kind: The class that stands for a tensor.
        origin: The name of the file, for errors.

    Returns:
        A plain dict.

    Raises:
        WeightsMismatchError: The object is something else, or holds two state dicts.
    """
    found = opened(found, kind, origin)
    if not isinstance(found, dict):
        raise WeightsMismatchError(f"{origin} holds {_noun(found)}, not a dict of tensors.", hint=REWRITE)
    tensors = dict(dict.items(found))  # a file can give its dict another method `items`
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, kind):
            key = repr(name[:80]) if isinstance(name, str) else f"a {type(name).__name__}"  # which may be enormous
            hint = f"A state dict is found at the top, or under {' or '.join(map(repr, CONTAINERS))}. {REWRITE}"
            if _is_state_dict(tensor, kind):
                hint = f"If that is the one, give it: state_dict=torch.load(path, weights_only=True)[{key}]."
            elif any(isinstance(other, kind) for other in tensors.values()) and not isinstance(tensor, Mapping):
                hint = f"If the tensors next to it are the weights, give them alone: {TENSORS_ALONE}. {REWRITE}"
            raise WeightsMismatchError(
                f"{origin} holds {_noun(tensor)} under {key}, where tensors under names are needed.", hint=hint
            )
    return tensors


def opened(found: Any, kind: type[object], origin: str) -> Any:
    """The state dict in a container; anything else, a state dict itself included, is returned as it is.

    Raises:
        WeightsMismatchError: Two state dicts with the same names are in the container.
    """
    for _ in range(DEEPEST):
        if not isinstance(found, Mapping):
            return found
        items = dict(_items(found))
        inner = {key: value for key, value in items.items() if _is_state_dict(value, kind)}
        known = [key for key in CONTAINERS if key in inner] or [
            key for key in CONTAINERS if isinstance(items.get(key), Mapping)
        ]
        if not known:
            return found
        chosen = items[known[0]]
        if len([key for key, value in inner.items() if value.keys() & chosen.keys()]) > 1:
            raise _several(list(inner), origin)
        found = chosen
    return found


def _items(found: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    return list(dict.items(found) if isinstance(found, dict) else found.items())


def _is_state_dict(value: Any, kind: type[object]) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(name, str) and isinstance(item, kind) for name, item in _items(value))


def _several(keys: list[Any], origin: str) -> WeightsMismatchError:
    named = first_of([repr(key)[:80] for key in keys])
    first = repr(keys[0])[:80]
    return WeightsMismatchError(
        f"{origin} holds several state dicts: {named}. Nothing says which is meant.",
        hint=f"Give the one that is: state_dict=torch.load(path, weights_only=True)[{first}].",
    )


def _noun(found: object) -> str:
    name = "dict" if isinstance(found, dict) else type(found).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
