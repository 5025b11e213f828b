"""Which of several texts is the right one, judged by one token of each."""

import torch
from torch import Tensor, nn

from registry.errors import InputError


def last_tokens(input_ids: Tensor, mask: Tensor | None = None) -> Tensor:
    """The number of the last token of each text of ``(..., tokens)``; ``mask`` is zero at padding, passed over."""
    tokens = input_ids.shape[-1]
    if mask is None:
        return input_ids.new_full(input_ids.shape[:-1], tokens - 1)
    numbers = torch.arange(tokens, device=mask.device)
    return ((mask[..., -tokens:] != 0) * numbers).argmax(dim=-1)


class ChoiceHead(nn.Module):
    """One score for each text, from the features of the token that sums it up (Radford et al., 2018, section 3.3)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.summary = nn.Linear(width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, token_ids: Tensor) -> Tensor:
        """Score texts of shape ``(..., tokens, width)`` as ``(...)``, where ``token_ids``, ``(...)``, number tokens.

        Raises InputError when there are not as many numbers as texts, and on a CPU when no token has such a number.
        """
        if token_ids.shape != x.shape[:-2]:
            raise InputError(
                f"mc_token_ids must have one number for each text, shape {tuple(x.shape[:-2])}, "
                f"not {tuple(token_ids.shape)}."
            )
        try:
            chosen = x.gather(-2, token_ids.long()[..., None, None].expand_as(x[..., :1, :])).squeeze(-2)
        except (IndexError, RuntimeError) as problem:
            raise InputError(
                f"mc_token_ids must lie between 0 and {x.shape[-2] - 1}, but go from {token_ids.min()} to "
                f"{token_ids.max()}."
            ) from problem
        return self.summary(self.dropout(chosen)).squeeze(-1)
