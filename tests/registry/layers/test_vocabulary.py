"""The scores of tokens, beside their formula."""

import pytest
import torch
from torch.testing import assert_close

from registry.layers.vocabulary import FEW, score_tokens


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [1, 2, FEW, FEW + 1])
def test_every_token_is_scored_by_its_embedding(rows: int, dtype: torch.dtype) -> None:
    x, embeddings = torch.randn(rows, 6, dtype=dtype), torch.randn(40, 6, dtype=dtype)
    assert_close(score_tokens(x, embeddings), torch.einsum("rw,tw->rt", x, embeddings))


def test_gradients_reach_both() -> None:
    rows = 3
    x, embeddings = torch.randn(rows, 6, requires_grad=True), torch.randn(40, 6, requires_grad=True)
    score_tokens(x, embeddings).sum().backward()
    assert_close(x.grad, embeddings.detach().sum(0).expand(rows, -1))
    assert_close(embeddings.grad, x.detach().sum(0).expand(40, -1))
