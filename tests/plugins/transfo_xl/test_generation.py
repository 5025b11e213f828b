"""Generation by Transformer-XL: with its memory, through the decoding that all causal models share."""

import pytest
import torch
from torch import Tensor

from registry.errors import InputError


def by_hand(model, ids: Tensor, new: int) -> Tensor:
    """Greedy decoding by the forward of the model alone; without memory, the text is read again for each token."""
    mems, unread = None, ids
    with torch.no_grad():
        for _ in range(new):
            output = model(unread, mems=mems) if model.mem_len else model(ids)
            mems, unread = output.mems, output.logits[:, -1:].argmax(-1)
            ids = torch.cat([ids, unread], dim=1)
    return ids


WITHOUT_MEMORY = (
    {"mem_len": 0},
    {"mem_len": 0, "same_length": False},
    {"mem_len": 0, "clamp_len": 0, "pre_lnorm": True},
)


@pytest.mark.parametrize("kind", [{}, {"same_length": False}, {"div_val": 1}, *WITHOUT_MEMORY], ids=str)
def test_greedy_texts_are_those_of_the_forward_by_hand(make, ids, kind) -> None:
    model = make(**kind)
    prompt = ids[:, :12]  # longer than a segment
    assert torch.equal(model.generate(prompt, max_new_tokens=20), by_hand(model, prompt, 20))


def test_greedy_texts_are_those_of_the_reference(make, theirs, ids) -> None:
    model = make()
    other, text, mems, unread = theirs(model), ids[:, :5], None, ids[:, :5]
    with torch.no_grad():
        for _ in range(20):
            scores, mems = other(unread, mems=mems)
            unread = scores[:, -1:].argmax(-1)
            text = torch.cat([text, unread], dim=1)
    assert torch.equal(model.generate(ids[:, :5], max_new_tokens=20), text)


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"repetition_penalty": 1.5}], ids=str)
@pytest.mark.parametrize("kind", [{}, {"same_length": False}, *WITHOUT_MEMORY[:2]], ids=str)
def test_padded_prompts_are_continued_as_they_would_be_alone(make, ids, kind, options) -> None:
    model = make(**kind)
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[1, 4:] = 0
    together = model.generate(ids[:, :9], attention_mask=mask, max_new_tokens=12, **options)
    for row, prompt in enumerate((ids[:1, :9], ids[1:, :4])):
        alone = model.generate(prompt, max_new_tokens=12, **options)
        assert torch.equal(together[row, 9:], alone[0, prompt.shape[1] :])


def test_beams_find_what_scoring_all_texts_finds(make, ids) -> None:
    model = make(vocab_size=6, cutoffs=[2, 4])
    prompt = ids[:1, :4] % 6
    words = torch.cartesian_prod(*[torch.arange(6)] * 3)
    texts = torch.cat([prompt.expand(len(words), -1), words], dim=1)
    totals = -model(texts, labels=texts).losses[:, 3:-1].sum(-1)
    assert torch.equal(model.generate(prompt, max_new_tokens=3, num_beams=5)[0], texts[totals.argmax()])


def test_a_random_walk_follows_the_probabilities(make, ids) -> None:
    model, draws = make(), 4000
    options = {"temperature": 1.3, "generator": torch.Generator().manual_seed(0)}
    drawn = model.generate(ids[:1, :9], max_new_tokens=1, num_return_sequences=draws, **options)
    expected = (model(ids[:1, :9]).logits[0, -1] / 1.3).softmax(-1)
    assert (drawn[:, -1].bincount(minlength=50) / draws - expected).abs().max() < 4 * 0.5 / draws**0.5
    top = model.generate(ids[:1, :9], max_new_tokens=1, num_return_sequences=200, temperature=1.0, top_k=4)
    assert set(top[:, -1].tolist()) <= set(expected.topk(4).indices.tolist())


def test_a_model_that_does_not_remember_its_last_tokens_says_so(make, ids) -> None:
    model = make(ext_len=2)
    with pytest.raises(InputError, match="cannot generate from its cache"):
        model.generate(ids, max_new_tokens=2)
    model.reset_length(8, 0, 10)
    assert model.generate(ids, max_new_tokens=2).shape == (2, 32)


@pytest.mark.parametrize("kind", WITHOUT_MEMORY, ids=str)
def test_without_memory_every_score_is_that_of_the_text_read_at_once(make, ids, kind) -> None:
    model = make(**kind)
    cache = model.new_cache(2, 30)
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    with torch.no_grad():
        expected = model(ids, attention_mask=mask).logits
        for start, stop in ((0, 9), (9, 10), (10, 11), (11, 17), (17, 30)):
            found = model.score(ids[:, start:stop], cache, attention_mask=mask[:, :stop])
            torch.testing.assert_close(found, expected[:, stop - 1], atol=1e-5, rtol=0)
        cache.clear()
        again = model.score(ids[:, :9], cache, attention_mask=mask[:, :9])
    torch.testing.assert_close(again, expected[:, 8], atol=1e-5, rtol=0)
