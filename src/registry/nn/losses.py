"""Loss functions."""

from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

IGNORED = -100
"""The label of what is ignored; every other negative number means the same."""


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy.

    Args:
        logits: ``(..., classes)``.
        labels: Class numbers, ``(...)``; negative ones are ignored.

    Returns:
        One number, zero without any label, not NaN: a batch in which no word happens to be masked must not destroy the
        model.
    """
    labels = labels.flatten().long()
    known = labels >= 0
    total = F.cross_entropy(
        logits.flatten(0, -2), labels.masked_fill(~known, IGNORED), ignore_index=IGNORED, reduction="sum"
    )
    return total / known.sum().clamp(min=1)


def next_token_loss(logits: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean cross entropy of the logits at each token and the token after it.

    Args:
        logits: ``(..., tokens, vocabulary)``.
        labels: Ids of the tokens themselves, ``(..., tokens)``; negative ones are not predicted.
        mask: ``(..., tokens)``, zero at padding, which is neither predicted nor predicts; a longer mask ends with these
            tokens.

    Returns:
        One number.
    """
    return classification_loss(logits, next_tokens(labels, mask))  # shifts labels, since logits are far larger


def next_tokens(labels: Tensor, mask: Tensor | None = None) -> Tensor:
    """The token after each token.

    Args:
        labels: Ids, ``(..., tokens)``.
        mask: ``(..., tokens)``, zero at padding, which neither follows nor is followed; a longer mask ends with these
            tokens.

    Returns:
        Ids, ``(..., tokens)``, -100 where no token follows.
    """
    following = F.pad(labels[..., 1:], (0, 1), value=IGNORED)
    if mask is None:
        return following
    tokens = mask[..., -labels.shape[-1] :] != 0
    return following.masked_fill(~(tokens & F.pad(tokens[..., 1:], (0, 1))), IGNORED)


def regression_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of as many numbers, whatever their shapes."""
    return F.mse_loss(predictions.flatten(), targets.flatten().to(predictions.dtype))
