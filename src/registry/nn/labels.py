"""Labels as heads take them: their shape, type and range, checked before a loss is computed.

torch's own errors name neither the label nor its position ("Target 2 is out of bounds"), and some labels of a wrong
shape give a number.  Values are looked at on a CPU only: a GPU would have to be waited for, and has an assertion of its
own.
"""

from collections.abc import Sequence

from torch import Tensor

from registry.errors import InputError
from registry.nn.inputs import can_branch_on

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
        The labels, in that shape.

    Raises:
        InputError: The shape or the type is another one or, on a CPU, a label is no class.
    """
    labels = in_shape(labels, shape, name, "a class number")
    _refuse_fractions(labels, name)
    if can_branch_on(labels) and labels.numel() and labels.max() >= classes:
        raise InputError(
            f"{_first(labels, labels >= classes, name)} is no class: there are {classes}, numbered from 0 to "
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
        The labels, ``(texts,)``.

    Raises:
        InputError: The shape or the type is another one.
    """
    labels = in_shape(labels, (texts,), name, "a position")
    _refuse_fractions(labels, name)
    return labels


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
    labels = in_shape(labels, shape, name, "0 or 1 for each class")
    if can_branch_on(labels) and labels.numel() and (labels.min() < 0 or labels.max() > 1):
        raise InputError(
            f"{_first(labels, (labels < 0) | (labels > 1), name, ('row', 'class'))} is neither 0 nor 1, nor between.",
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


def _refuse_fractions(labels: Tensor, name: str) -> None:
    if labels.is_floating_point() or labels.is_complex():
        raise InputError(f"{name} must be whole numbers, not of the type {labels.dtype}.", hint="labels.long() are.")


def _first(labels: Tensor, wrong: Tensor, name: str, axes: Sequence[str] = ()) -> str:
    """The first wrong label, with its position."""
    at = wrong.nonzero()[0].tolist()
    axes = axes or AXES.get(len(at), [f"axis {number}, index" for number in range(len(at))])
    where = ", ".join(f"{axis} {index}" for axis, index in zip(axes, at, strict=True))
    return f"The label {labels[tuple(at)].item():g} in {name} ({where})"
