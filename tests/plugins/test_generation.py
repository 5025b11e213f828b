"""What GPT and GPT-2 write, token for token beside transformers; and how ``generate`` picks a way to write."""

import importlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from plugins.bert.config import BertConfig
from plugins.bert.modeling import BertForMaskedLM
from registry import generation
from registry.errors import InputError

SIZES: dict[str, Any] = {"vocab_size": 47, "n_positions": 32, "n_embd": 24, "n_layer": 3, "n_head": 4}
NAMES = {"GPT2LMHeadModel": "gpt2", "OpenAIGPTLMHeadModel": "gpt"}
PROMPTS = ([5, 17, 3, 40], [9], [31, 8, 8, 2, 21, 14, 6])
END = 11


def ours(name: str, **changes: Any) -> Any:
    config = importlib.import_module(f"plugins.{NAMES[name]}.config")
    cls = getattr(importlib.import_module(f"plugins.{NAMES[name]}.modeling"), name)
    torch.manual_seed(4)
    model = cls(getattr(config, name.replace("LMHeadModel", "Config"))(**{**SIZES, **changes})).eval()
    for parameter in model.parameters():  # far from uniform, and different at each place
        parameter.data += 0.4 * torch.randn_like(parameter)
    return model


def transformers_of(model: Any) -> Any:
    """The same model in transformers."""
    name = type(model).__name__
    config = getattr(transformers, name.replace("LMHeadModel", "Config"))(**SIZES, bos_token_id=END, eos_token_id=END)
    theirs = getattr(transformers, name)(config).eval()
    theirs.load_state_dict(model.state_dict())
    return theirs


@pytest.fixture(params=NAMES)
def model(request: pytest.FixtureRequest) -> Any:
    return ours(request.param)


def batch(side: str) -> tuple[Tensor, Tensor]:
    """The prompts, padded on the given side, and their mask."""
    ids, mask = torch.full((3, 7), END), torch.zeros(3, 7, dtype=torch.long)
    for row, prompt in enumerate(PROMPTS):
        place = slice(len(prompt)) if side == "right" else slice(7 - len(prompt), 7)
        ids[row, place], mask[row, place] = torch.tensor(prompt), 1
    return ids, mask


def positions(mask: Tensor) -> Tensor:
    return (mask.cumsum(-1) - 1).clamp(min=0)


# --- Beside transformers ----------------------------------------------------------------------------------------------

WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "greedy, penalized": {"repetition_penalty": 1.6},
    "greedy, several ends": {"eos_token_id": [END, 30, 2]},
    "4 beams": {"num_beams": 4},
    "4 beams, all of them": {"num_beams": 4, "num_return_sequences": 4},
    "3 beams, long texts preferred": {"num_beams": 3, "length_penalty": 2.0},
    "3 beams, penalized": {"num_beams": 3, "repetition_penalty": 1.6},
}


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("prompt", PROMPTS, ids=str)
def test_texts_are_those_of_transformers(model, options, prompt) -> None:
    ids = torch.tensor([prompt])
    options = {"max_new_tokens": 20, "eos_token_id": END, **options}
    beams = {"early_stopping": True} if options.get("num_beams", 1) > 1 else {}
    expected = transformers_of(model).generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=END, **options, **beams
    )
    assert torch.equal(model.generate(ids, **options), expected)


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_padded_texts_are_those_of_transformers_alone(model, options) -> None:
    options = {"max_new_tokens": 20, "eos_token_id": END, **options}
    copies = options.get("num_return_sequences", 1)
    left, mask = batch("left")
    right, right_mask = batch("right")
    together = model.generate(left, attention_mask=mask, **options)
    assert torch.equal(together[:, :7], left.repeat_interleave(copies, dim=0))
    assert torch.equal(together, model.generate(right, attention_mask=right_mask, **options))
    beams = {"early_stopping": True} if options.get("num_beams", 1) > 1 else {}
    theirs = transformers_of(model)
    for row, prompt in enumerate(PROMPTS):
        ids = torch.tensor([prompt])
        alone = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=END, **options, **beams
        )[:, len(prompt) :]
        new = together[row * copies : (row + 1) * copies, 7:]
        assert torch.equal(new[:, : alone.shape[1]], alone)
        assert (new[:, alone.shape[1] :] == END).all()


def test_a_random_walk_follows_the_probabilities_of_transformers(model) -> None:
    ids, draws = torch.tensor([PROMPTS[0]]), 3000
    options = {"temperature": 1.7, "top_k": 12, "top_p": 0.8, "repetition_penalty": 1.3}
    drawn = model.generate(
        ids, max_new_tokens=1, num_return_sequences=draws, generator=torch.Generator().manual_seed(0), **options
    )
    scores = transformers_of(model).generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, do_sample=True, pad_token_id=END, eos_token_id=None,
        return_dict_in_generate=True, output_scores=True, **options,
    ).scores[0][0]  # fmt: skip
    frequencies = drawn[:, -1].bincount(minlength=47) / draws
    assert (frequencies - scores.softmax(-1)).abs().max() < 4 * 0.5 / draws**0.5
    assert not frequencies[scores.isneginf()].any()


# --- The cache --------------------------------------------------------------------------------------------------------


def test_reading_again_each_time_gives_the_same_text(model) -> None:
    ids = torch.tensor([PROMPTS[0]])
    written = model.generate(ids, max_new_tokens=12)
    with torch.no_grad():
        for _ in range(12):
            ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(written, ids)


def test_feeding_the_past_back_gives_the_same_text(model) -> None:
    """pytorch-pretrained-bert's loop: what the model returns as its past is given to it again, with one more token."""
    ids = torch.tensor([PROMPTS[0]])
    text, past = ids, None
    with torch.no_grad():
        for _ in range(12):
            logits, past = model(ids, past_key_values=past)
            ids = logits[:, -1:].argmax(-1)
            text = torch.cat([text, ids], dim=1)
    assert torch.equal(model.generate(torch.tensor([PROMPTS[0]]), max_new_tokens=12), text)


def test_a_sliding_context_is_read_again_from_its_younger_half(model) -> None:
    ids = torch.tensor([PROMPTS[0]])
    written = model.generate(ids, max_new_tokens=60, when_full="slide")
    seen = ids
    with torch.no_grad():
        for column in range(4, 64):
            if seen.shape[1] > 32:
                seen = seen[:, -16:]
            token = model(seen).logits[:, -1:].argmax(-1)
            assert written[0, column] == token
            seen = torch.cat([seen, token], dim=1)


def test_padded_texts_slide_as_they_would_alone(model) -> None:
    ids, mask = batch("right")
    for options in ({}, {"num_beams": 3, "eos_token_id": END}):
        together = model.generate(ids, attention_mask=mask, max_new_tokens=60, when_full="slide", **options)
        for row, prompt in zip(together[:, 7:], PROMPTS, strict=True):
            alone = model.generate(torch.tensor([prompt]), max_new_tokens=60, when_full="slide", **options)
            assert row.tolist()[: alone.shape[1] - len(prompt)] == alone[0, len(prompt) :].tolist()


def test_bfloat16_writes_too(model) -> None:
    ids, mask = batch("left")
    for options in ({}, {"temperature": 0.8}, {"num_beams": 2}):
        assert model.bfloat16().generate(ids, attention_mask=mask, max_new_tokens=4, **options).shape == (3, 11)


# --- Picking ----------------------------------------------------------------------------------------------------------


def test_generate_picks_one_of_three_ways() -> None:
    model, ids = ours("GPT2LMHeadModel"), torch.tensor([PROMPTS[0]])
    drawn = [torch.Generator().manual_seed(1) for _ in range(2)]
    assert isinstance(model, generation.CausalModel)
    assert torch.equal(model.generate(ids, max_new_tokens=5), generation.greedy(model, ids, max_new_tokens=5))
    assert torch.equal(
        model.generate(ids, max_new_tokens=5, temperature=2.0, generator=drawn[0]),
        generation.sample(model, ids, max_new_tokens=5, temperature=2.0, generator=drawn[1]),
    )
    assert torch.equal(
        model.generate(ids, max_new_tokens=5, num_beams=3, length_penalty=0.5),
        generation.beam_search(model, ids, max_new_tokens=5, num_beams=3, length_penalty=0.5),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 5}, "top_k=5 has no effect at temperature 0"),
        ({"top_p": 0.5}, "top_p=0.5 has no effect at temperature 0"),
        pytest.param({"generator": torch.Generator()}, "generator=.* has no effect at temperature 0", id="a generator"),
        ({"num_return_sequences": 2}, "num_return_sequences=2 has no effect at temperature 0"),
        ({"length_penalty": 2.0}, "length_penalty=2.0 has no effect without beams"),
        ({"length_penalty": 2.0, "temperature": 1.0}, "length_penalty=2.0 has no effect without beams"),
        ({"num_beams": 2, "temperature": 1.0}, "temperature=1.0 has no effect in beam search"),
        ({"num_beams": 2, "top_k": 5}, "top_k=5 has no effect in beam search"),
        ({"num_beams": 2, "on_token": print}, "on_token=.* has no effect in beam search"),
        ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences must be .* at most 2, not 3"),
        ({"num_beams": 0}, "num_beams must be a whole number above 0, not 0"),
        ({"temperature": -1.0}, "temperature must be a number above 0, not -1.0"),
        ({"max_new_tokens": 40}, "context of 32"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_options_that_make_no_sense_together_are_refused(options, message) -> None:
    with pytest.raises(InputError, match=message):
        ours("GPT2LMHeadModel").generate(torch.tensor([PROMPTS[0]]), **{"max_new_tokens": 3, **options})


def test_ids_beyond_the_vocabulary_are_named(model) -> None:
    with pytest.raises(InputError, match="input_ids must lie between 0 and 46, but go from 5 to 47"):
        model.generate(torch.tensor([[5, 47]]), max_new_tokens=1)


def test_a_model_that_predicts_no_next_token_says_so() -> None:
    bert = BertForMaskedLM(BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1))
    with pytest.raises(InputError, match="BertForMaskedLM does not predict next tokens"):
        bert.generate(torch.tensor([[1]]), max_new_tokens=1)


def test_dropout_is_off_and_training_continues_as_before() -> None:
    model, ids = ours("GPT2LMHeadModel", resid_pdrop=0.9, embd_pdrop=0.9), torch.tensor([PROMPTS[0]])
    expected = model.generate(ids, max_new_tokens=8)
    model.train()
    model.transformer.ln_f.eval()
    modes = [module.training for module in model.modules()]
    assert torch.equal(model.generate(ids, max_new_tokens=8), expected)
    with pytest.raises(InputError):
        model.generate(ids, max_new_tokens=0)
    assert [module.training for module in model.modules()] == modes
    model(expected, labels=expected).loss.backward()


def test_texts_end_where_a_configuration_says_but_for_what_is_asked() -> None:
    model, ids = ours("GPT2LMHeadModel"), torch.tensor([PROMPTS[0]])
    text = model.generate(ids, max_new_tokens=8)
    end = int(text[0, 6])
    model.config = SimpleNamespace(n_head=model.config.n_head, eos_token_id=end)
    stop = text[0].tolist().index(end, 4) + 1
    assert torch.equal(model.generate(ids, max_new_tokens=8), text[:, :stop])
    assert torch.equal(model.generate(ids, max_new_tokens=8, eos_token_id=()), text)
