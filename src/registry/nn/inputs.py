"""Arguments of ``forward``, labels among them: checks, embedding lookup, and the errors of both."""

from collections.abc import Mapping, Sequence

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


def carries_hook(*modules: nn.Module) -> bool:
    """Whether one of the modules, or one inside of them, carries a hook of its forward or backward pass.

    A hook that is registered for all modules of the process counts, too.
    """
    if nn.modules.module._has_any_global_hook():  # type: ignore[no-untyped-call]
        return True
    inside = list(modules)
    for one in inside:  # which grows; ``modules()`` takes three times as long
        if one._forward_hooks or one._forward_pre_hooks or one._backward_hooks or one._backward_pre_hooks:
            return True
        if one._modules:
            inside += [module for module in one._modules.values() if module is not None]
    return False


def is_observed(*modules: nn.Module) -> bool:
    """Whether somebody looks at what single modules compute, and so must find the axes of the batch.

    By a hook, or by what stands in place of the parameters, as ``torch.func.functional_call`` and the gradients of
    single examples of ``torch.nn.utils`` have it.
    """
    first = (next(module.parameters(), None) for module in modules)
    return carries_hook(*modules) or any(one is not None and not isinstance(one, nn.Parameter) for one in first)


def embed_ids(table: nn.Embedding, ids: Tensor, name: str, tokens: Tensor | None = None) -> Tensor:
    """The rows of an embedding at ``ids``.

    Args:
        table: The embedding, ``(rows, width)``.
        ids: ``(...)``.
        name: What the error calls the ids.
        tokens: Of the shape of the batch, of whose sequences all may share the ids.  They are repeated for each where
            the table is observed: gradients of single examples (opacus, ``torch.nn.utils``) need a row for each.

    Returns:
        ``(..., width)``.

    Raises:
        InputError: An id is outside of the table, on a CPU.  A GPU stops with an assertion of its own: to check there
            would mean to wait for it.  Or the ids are not whole numbers, or do not fit the batch.
    """
    if tokens is not None and ids.shape != tokens.shape:
        check_fits(ids, tokens, name)
        if is_observed(table):
            ids = ids.expand_as(tokens)
    check_type(ids, name)
    try:
        return table(ids)
    except IndexError as problem:
        raise unknown_ids(ids, rows_in(table), name) from problem


def rows_in(table: nn.Module) -> int:
    """The rows of an embedding, also of one of which this process has a part."""
    return getattr(table, "num_embeddings", None) or len(table.weight)  # type: ignore[arg-type]


def tokens_of(input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
    """A tensor with the shape and on the device of the tokens: their ids, or one feature of their embeddings.

    Args:
        input_ids: ``(...)``.
        inputs_embeds: ``(..., width)``.

    Returns:
        ``(...)``.

    Raises:
        InputError: Both are given, or neither is.
    """
    for name, tensor in (("input_ids", input_ids), ("inputs_embeds", inputs_embeds)):
        if tensor is not None and not isinstance(tensor, Tensor):
            made = 'tokenizer(texts, return_tensors="pt") makes tensors, torch.tensor(ids) one of a list.'
            unpacked = "Its columns are the arguments: model(**batch)."
            raise InputError(
                f"{name} must be a tensor, not a {type(tensor).__name__}.",
                hint=unpacked if isinstance(tensor, Mapping) else made,
            )
    if (input_ids is None) == (inputs_embeds is None):
        both = "neither is" if input_ids is None else "both are"
        raise InputError(f"A model takes input_ids, or inputs_embeds in their place, and {both} given.")
    return inputs_embeds[..., 0] if input_ids is None else input_ids  # type: ignore[index]  # one of them is there


def embed_tokens(table: nn.Embedding, input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
    """The rows of an embedding at ids, or what is given in their place.

    Args:
        table: The embedding, ``(rows, width)``.
        input_ids: ``(...)``.
        inputs_embeds: ``(..., width)``, used as it is.

    Returns:
        ``(..., width)``.

    Raises:
        InputError: An id is outside of the table, on a CPU, or the embeddings are of another width.
    """
    if inputs_embeds is None:
        return embed_ids(table, input_ids, "input_ids")  # type: ignore[arg-type]  # one of them is there
    width = getattr(table, "embedding_dim", inputs_embeds.shape[-1])
    if inputs_embeds.shape[-1] != width:
        raise InputError(f"inputs_embeds must have the shape (..., tokens, {width}), not {tuple(inputs_embeds.shape)}.")
    return inputs_embeds


def unknown_ids(ids: Tensor, rows: int, name: str) -> InputError:
    """The error for ids, called ``name``, of which one is outside of a table of so many rows."""
    return InputError(
        f"{name} must lie between 0 and {rows - 1}, but go from {ids.min()} to {ids.max()}.",
        hint="Was the text prepared with the tokenizer of another model?" if name == "input_ids" else None,
    )


IDS = (torch.long, torch.int)
"""Types with which torch looks up rows."""


def check_type(ids: Tensor, name: str) -> None:
    """Raise InputError unless ids, called ``name``, are of a type with which rows are looked up."""
    if ids.dtype not in IDS:
        raise InputError(f"{name} must be of the type torch.long, not {ids.dtype}.", hint=f"{name}.long() is.")


def check_fits(tensor: Tensor, tokens: Tensor, name: str) -> None:
    """Raise InputError unless ``tensor``, called ``name``, has a number for each token, or for each position."""
    if is_traced():  # sizes may be tensors
        return
    last = tokens.shape[tokens.dim() - tensor.dim() :]
    fits = 0 < tensor.dim() <= tokens.dim() and all(
        size in (1, one) for size, one in zip(tensor.shape, last, strict=True)
    )
    if not fits:
        raise InputError(
            f"{name} must have the shape of input_ids, {tuple(tokens.shape)}, or {tuple(tokens.shape[-1:])}, not "
            f"{tuple(tensor.shape)}."
        )


def check_length(tokens: int, longest: int) -> None:
    """Raise InputError where a sequence of so many tokens is longer than the longest."""
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


def check_mask(mask: Tensor | None) -> None:
    """Raise InputError for a mask of numbers to be added to scores (-10000 at padding), on a CPU.

    Here as everywhere a mask of two axes is 1 at tokens and 0 at padding; the other kind would mean the reverse.
    """
    if mask is None or not mask.is_floating_point() or not can_branch_on(mask) or bool((mask >= 0).all()):
        return
    raise InputError(
        f"attention_mask must be 1 at tokens and 0 at padding, and has {mask.min().item():g}.",
        hint="A mask to be added to scores is 0 at tokens, and below it at padding: attention_mask == 0 is meant.",
    )


# --- Labels -----------------------------------------------------------------------------------------------------------
#
# torch's own errors name neither the label nor its position ("Target 2 is out of bounds"), and some labels of a wrong
# shape give a number.  Values are looked at on a CPU only: a GPU would have to be waited for, and has an assertion.

AXES = {1: ("row",), 2: ("row", "token"), 3: ("row", "choice", "token")}
"""Names of the axes of labels, by their number."""


def class_numbers(labels: Tensor, shape: Sequence[int], classes: int, name: str = "labels") -> Tensor:
    """Labels that are numbers of classes or of tokens, checked.

    Args:
        labels: Whole numbers of the given shape; a last axis of size 1 may follow.  Negative ones are ignored.
        shape: The shape that they must have.
        classes: The number of classes.
        name: The argument that holds them, for errors.

    Returns:
        The labels, in that shape, as 64-bit integers.

    Raises:
        InputError: The shape or the type is another one or, on a CPU, a label is not a class.
    """
    labels = _whole(in_shape(labels, shape, name, "a class number"), name)
    if can_branch_on(labels) and labels.numel() and labels.max() >= classes:
        raise InputError(
            f"{_first(labels, labels >= classes, name)} is not a class: there are {classes}, numbered from 0 to "
            f"{classes - 1}.",
            hint="A negative label is ignored. The number of classes of a new head is set by num_labels= where the "
            "model is loaded; labels that are tokens must come from the model's own tokenizer.",
        )
    return labels


def positions(labels: Tensor, texts: int, name: str) -> Tensor:
    """Labels that are positions of tokens, one for each text, checked; they may lie outside of the text.

    Args:
        labels: Whole numbers, ``(texts,)`` or ``(texts, 1)``.
        texts: The number of texts.
        name: The argument that holds them, for errors.

    Returns:
        The labels, ``(texts,)``, as 64-bit integers.

    Raises:
        InputError: The shape or the type is another one.
    """
    return _whole(in_shape(labels, (texts,), name, "a position"), name)


def fractions(labels: Tensor, shape: Sequence[int], name: str = "labels") -> Tensor:
    """Labels that say of each class whether it applies, numbers from 0 to 1, checked.

    Args:
        labels: Of the given shape, ``(texts, classes)``; of one class, ``(texts,)`` does as well.
        shape: The shape that they must have.
        name: The argument that holds them, for errors.

    Returns:
        The labels, in that shape.

    Raises:
        InputError: The shape is another one or, on a CPU, a number is below 0 or above 1.
    """
    labels = in_shape(labels, shape, name, "0 or 1")
    if can_branch_on(labels) and labels.numel() and (labels.min() < 0 or labels.max() > 1):
        raise InputError(
            f"{_first(labels, (labels < 0) | (labels > 1), name, ('row', 'class'))} is not between 0 and 1.",
            hint="A problem with several labels for a text needs 0 or 1 for each class.",
        )
    return labels


def in_shape(labels: Tensor, shape: Sequence[int], name: str, meaning: str) -> Tensor:
    """Labels in a shape; theirs may have an axis of size 1 too many or too few at the end.

    Raises:
        InputError: It is another shape.
    """
    wanted, found = tuple(shape), tuple(labels.shape)
    if found == wanted:
        return labels
    if found == (*wanted, 1) or (*found, 1) == wanted:
        return labels.reshape(wanted)
    raise InputError(f"{name} must have the shape {wanted}, {meaning} for each, not {found}.", hint=_remedy(labels))


def _remedy(labels: Tensor) -> str | None:
    if labels.dim() == 1 and labels.is_floating_point():
        return "Class numbers are whole numbers (labels.long()); floating-point labels mean 0 or 1 for each class."
    if labels.dim() == 2:
        return (
            'Several labels for a text need problem_type="multi_label_classification" in the configuration, or '
            "labels of a floating-point type."
        )
    return None


def _whole(labels: Tensor, name: str) -> Tensor:
    """Labels of a type that is wide enough for all numbers and signs."""
    if labels.is_floating_point() or labels.is_complex():
        raise InputError(f"{name} must be whole numbers, not of type {labels.dtype}.", hint="labels.long() are.")
    return labels.long()


def _first(labels: Tensor, wrong: Tensor, name: str, axes: Sequence[str] = ()) -> str:
    """The first wrong label, with its position."""
    at = wrong.nonzero()[0].tolist()
    axes = axes or AXES.get(len(at), [f"axis {number}, index" for number in range(len(at))])
    where = ", ".join(f"{axis} {index}" for axis, index in zip(axes, at, strict=True))
    return f"The label {labels[tuple(at)].item():g} in {name} ({where})"
