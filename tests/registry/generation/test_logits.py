"""What is done to scores, compared with transformers' processors of logits."""

import pytest
import torch
from torch import Tensor
from transformers import RepetitionPenaltyLogitsProcessor, TopKLogitsWarper, TopPLogitsWarper

from registry.generation.logits import keep_top_k, keep_top_p, penalize_repetition


@pytest.fixture(params=["spread out", "rounded, so that many are equal", "nearly certain"])
def scores(request: pytest.FixtureRequest) -> Tensor:
    spread = torch.randn(5, 40, generator=torch.Generator().manual_seed(0)) * 3
    return {"s": spread, "r": spread.round(), "n": spread * 30}[request.param[0]]


@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.3])
def test_repetition_is_penalized_as_in_transformers(scores: Tensor, penalty: float) -> None:
    written = torch.randint(40, (5, 30), generator=torch.Generator().manual_seed(1))
    theirs = RepetitionPenaltyLogitsProcessor(penalty)(written, scores)
    assert torch.equal(penalize_repetition(scores, written, penalty), theirs)


@pytest.mark.parametrize("k", [1, 2, 39, 40, 1000])
def test_the_highest_scores_are_those_of_transformers(scores: Tensor, k: int) -> None:
    assert torch.equal(keep_top_k(scores, k), TopKLogitsWarper(k)(None, scores))


@pytest.mark.parametrize("p", [1e-9, 0.1, 0.5, 0.9, 0.999])
def test_the_nucleus_is_that_of_transformers(scores: Tensor, p: float) -> None:
    assert torch.equal(keep_top_p(scores, p), TopPLogitsWarper(p)(None, scores))


def test_the_nucleus_is_the_smallest_set_of_that_probability() -> None:
    scores = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log()
    kept = [keep_top_p(scores, p).isfinite().nonzero()[:, 1].tolist() for p in (0.35, 0.45, 0.75, 0.95)]
    assert kept == [[1], [1, 3], [1, 2, 3], [0, 1, 2, 3]]


def test_without_a_limit_nothing_changes(scores: Tensor) -> None:
    for same in (keep_top_k(scores, None), keep_top_p(scores, None), keep_top_p(scores, 1.0)):
        assert torch.equal(same, scores)


def test_scores_that_are_given_are_not_written_to(scores: Tensor) -> None:
    before = scores.clone()
    penalize_repetition(scores, torch.zeros(5, 1, dtype=torch.long), 2.0)
    keep_top_k(scores, 3)
    keep_top_p(scores, 0.3)
    assert torch.equal(scores, before)
