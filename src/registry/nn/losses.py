"""What training makes small."""

from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

IGNORED = -100
"""The class number of what has no label; every other negative number means the same."""


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of ``logits``, ``(..., classes)``, at the class numbers ``labels``, ``(...)``.

    Negative labels are ignored.  Without any other the loss is zero, not NaN: a batch in which no word happens to be
    masked must not destroy the model.
    """
    labels = labels.flatten().long()
    known = labels >= 0
    total = F.cross_entropy(
        logits.flatten(0, -2), labels.masked_fill(~known, IGNORED), ignore_index=IGNORED, reduction="sum"
    )
    return total / known.sum().clamp(min=1)


def next_token_loss(logits: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean cross entropy of ``logits``, ``(..., tokens, vocabulary)``, each at the token that follows its own.

    ``labels``, ``(..., tokens)``, are the ids of the tokens themselves; negative ones are not predicted.  Where
    ``mask`` is zero, padding is neither predicted nor does it predict; a longer mask has the labels' tokens at its end.
    """
    return classification_loss(logits, next_tokens(labels, mask))  # moved instead of the logits, which are far larger


def next_tokens(labels: Tensor, mask: Tensor | None = None) -> Tensor:
    """What follows each token, ``(..., tokens)``, for ids of that shape; -100 behind the last, and where ``mask`` says.

    Where ``mask`` is zero, padding neither follows nor is followed; a longer mask has the labels' tokens at its end.
    """
    following = F.pad(labels[..., 1:], (0, 1), value=IGNORED)
    if mask is None:
        return following
    tokens = mask[..., -labels.shape[-1] :] != 0
    return following.masked_fill(~(tokens & F.pad(tokens[..., 1:], (0, 1))), IGNORED)


def regression_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean squared difference of as many numbers, whatever their shapes."""
    return F.mse_loss(predictions.flatten(), targets.flatten().to(predictions.dtype))
