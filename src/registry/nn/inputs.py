"""Arguments of ``forward``: checks, embedding lookup, and the errors of both."""

import torch
from torch import Tensor, nn

from registry.errors import InputError


def is_traced() -> bool:
    """Whether operations are recorded or transformed, not only run: export, compilation, tracing, ``torch.func``.

    What depends on the values of tensors would then become a constant of the program, or is impossible.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return True
    return torch._C._functorch.maybe_current_level() is not None


def can_branch_on(tensor: Tensor) -> bool:
    """Whether control flow may depend on the values of a tensor: eager mode, on a CPU.

    A GPU would have to be waited for; tensors of other classes may have no values (fake ones), or a part (sharded).
    """
    return tensor.is_cpu and type(tensor) is Tensor and not is_traced()


def embed_ids(table: nn.Embedding, ids: Tensor, name: str) -> Tensor:
    """The rows of an embedding at ``ids``.

    Args:
        table: The embedding, ``(rows, width)``.
        ids: ``(...)``.
        name: What the error calls the ids.

    Returns:
        ``(..., width)``.

    Raises:
        InputError: An id is outside of the table, on a CPU.  A GPU stops with an assertion of its own: to check there
            would mean to wait for it.

    """
    try:
        return table(ids)
    except IndexError as problem:
        raise unknown_ids(ids, len(table.weight), name) from problem


def unknown_ids(ids: Tensor, rows: int, name: str) -> InputError:
    """The error for ids, called ``name``, of which one is outside of a table of so many rows."""
    return InputError(
        f"{name} must lie between 0 and {rows - 1}, but go from {ids.min()} to {ids.max()}.",
        hint="Was the text prepared with the tokenizer of another model?" if name == "input_ids" else None,
    )


def check_length(tokens: int, positions: nn.Embedding) -> None:
    """Raise InputError unless there are positions for a sequence of so many tokens."""
    longest = len(positions.weight)
    if tokens > longest:
        raise InputError(
            f"A sequence of {tokens} tokens is too long: this model has {longest} positions.",
            hint=f"Cut it with tokenizer(text, truncation=True, max_length={longest}), or use stride= for windows.",
        )


def check_shape(tensor: Tensor | None, input_ids: Tensor, name: str) -> None:
    """Raise InputError unless ``tensor``, called ``name``, is None or has one number for each of ``input_ids``."""
    if tensor is not None and tensor.shape != input_ids.shape:
        raise InputError(
            f"{name} must have the shape of input_ids, {tuple(input_ids.shape)}, not {tuple(tensor.shape)}."
        )
