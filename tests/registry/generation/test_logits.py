"""What is done to scores, compared with transformers' processors of logits."""

import pytest
import torch
from torch import Tensor
from transformers import (
    MinPLogitsWarper,
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from registry.errors import InputError
from registry.generation.logits import (
    forbid_repeated_ngrams,
    forbid_words,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    keep_typical,
    penalize_repetition,
)

NO_IDS = torch.empty(5, 0, dtype=torch.long)
NO_PADDING = torch.zeros(5, dtype=torch.long)


@pytest.fixture(params=["spread out", "rounded, so that many are equal", "nearly certain"])
def scores(request: pytest.FixtureRequest) -> Tensor:
    spread = torch.randn(5, 40, generator=torch.Generator().manual_seed(0)) * 3
    return {"s": spread, "r": spread.round(), "n": spread * 30}[request.param[0]]


@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.3])
def test_repetition_is_penalized_as_in_transformers(scores: Tensor, penalty: float) -> None:
    written = torch.randint(40, (5, 30), generator=torch.Generator().manual_seed(1))
    theirs = RepetitionPenaltyLogitsProcessor(penalty)(written, scores)
    assert torch.equal(penalize_repetition(written, scores, penalty), theirs)


@pytest.mark.parametrize("k", [1, 2, 39, 40, 1000])
def test_the_highest_scores_are_those_of_transformers(scores: Tensor, k: int) -> None:
    assert torch.equal(keep_top_k(NO_IDS, scores, k), TopKLogitsWarper(k)(None, scores))


@pytest.mark.parametrize("p", [1e-9, 0.1, 0.5, 0.9, 0.999])
def test_the_nucleus_is_that_of_transformers(scores: Tensor, p: float) -> None:
    assert torch.equal(keep_top_p(NO_IDS, scores, p), TopPLogitsWarper(p)(None, scores))


def test_the_nucleus_is_the_smallest_set_of_that_probability() -> None:
    scores = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log()
    kept = [keep_top_p(NO_IDS, scores, p).isfinite().nonzero()[:, 1].tolist() for p in (0.35, 0.45, 0.75, 0.95)]
    assert kept == [[1], [1, 3], [1, 2, 3], [0, 1, 2, 3]]


def test_without_a_limit_nothing_changes(scores: Tensor) -> None:
    for same in (keep_top_k(NO_IDS, scores, 40), keep_top_p(NO_IDS, scores, 1.0)):
        assert torch.equal(same, scores)


def test_scores_that_are_given_are_not_written_to(scores: Tensor) -> None:
    before = scores.clone()
    penalize_repetition(torch.zeros(5, 1, dtype=torch.long), scores, 2.0)
    keep_top_k(NO_IDS, scores, 3)
    keep_top_p(NO_IDS, scores, 0.3)
    assert torch.equal(scores, before)


@pytest.mark.parametrize("p", [1e-9, 0.05, 0.3, 1.0])
def test_tokens_of_some_probability_are_those_of_transformers(scores: Tensor, p: float) -> None:
    assert torch.equal(keep_min_p(NO_IDS, scores, p), MinPLogitsWarper(p)(NO_IDS, scores))


@pytest.mark.parametrize("p", [1e-9, 0.2, 0.6, 0.95])
def test_typical_tokens_are_those_of_transformers(scores: Tensor, p: float) -> None:
    for logits in (scores, scores.masked_fill(scores < 0, float("-inf"))):
        assert torch.equal(keep_typical(NO_IDS, logits, p), TypicalLogitsWarper(p)(NO_IDS, logits))


@pytest.mark.parametrize("size", [1, 2, 3, 31])
def test_forbidden_sequences_are_those_of_transformers(size: int) -> None:
    for seed in range(20):
        draw = torch.Generator().manual_seed(seed)
        ids, scores = torch.randint(4, (5, 12), generator=draw), torch.randn(5, 4, generator=draw)
        expected = NoRepeatNGramLogitsProcessor(size)(ids, scores.clone())
        assert torch.equal(forbid_repeated_ngrams(ids, scores, size, NO_PADDING), expected)


def test_sequences_do_not_begin_in_padding() -> None:
    ids, scores = torch.tensor([[2, 2, 2, 1], [0, 2, 2, 2]]), torch.zeros(2, 4)
    found = forbid_repeated_ngrams(ids, scores, 2, torch.tensor([2, 0]))  # the text of the first row is: 2, 1
    assert found.isinf().nonzero().tolist() == [[1, 2]]


WORDS = [[3], [1, 2], [2, 2, 0], [1] * 13]


def test_forbidden_words_are_those_of_transformers() -> None:
    for seed in range(20):
        draw = torch.Generator().manual_seed(seed)
        ids, scores = torch.randint(4, (5, 12), generator=draw), torch.randn(5, 4, generator=draw)
        expected = NoBadWordsLogitsProcessor(WORDS)(ids, scores)
        assert torch.equal(forbid_words(ids, scores, WORDS), expected)


def test_words_beyond_the_vocabulary_are_refused() -> None:
    with pytest.raises(InputError, match="40 is not an id of a vocabulary of 40 tokens"):
        forbid_words(NO_IDS, torch.zeros(5, 40), [[1], [2, 40]])
