"""Llama's numbers, beside those of transformers' ``LlamaForCausalLM``, and how it goes on from a past."""

import copy
import pickle
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from torch.testing import assert_close

from registry.errors import InputError
from registry.nn.cache import StaticKeyValueCache
from registry_llama.config import LlamaConfig
from registry_llama.modeling import LlamaForCausalLM, LlamaModel

SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 20,
    "initializer_range": 0.15,  # large, so that a wrong sum shows
    "bos_token_id": None,
    "eos_token_id": None,
}
LLAMA_3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "as Llama 2": {},
    "as many heads": {"num_key_value_heads": 4},
    "one head that answers": {"num_key_value_heads": 1},
    "heads of another width": {"head_dim": 10},
    "tied": {"tie_word_embeddings": True},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "another base": {"rope_theta": 500_000.0, "rms_norm_eps": 1e-5},
    "linear": {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    "linear, in words of 2023": {"rope_scaling": {"type": "linear", "factor": 2.5}},
    "as Llama 3.1": {"rope_scaling": LLAMA_3, "head_dim": 16},
    "another activation": {"hidden_act": "gelu_pytorch_tanh"},
}
BATCH, TOKENS = 3, 9
LENGTHS = (9, 5, 7)

each_variant = pytest.mark.parametrize("variant", VARIANTS)


def our(variant: str = "as Llama 2", cls: Any = LlamaForCausalLM, **changes: Any) -> Any:
    torch.manual_seed(0)
    model = cls(LlamaConfig(**{**SIZES, **VARIANTS[variant], **changes})).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms, too, must matter
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def their(ours: Any, variant: str = "as Llama 2", **changes: Any) -> Any:
    """The class of transformers, with our weights: every name must find its place."""
    config = transformers.LlamaConfig(
        **{**SIZES, **VARIANTS[variant], **changes}, pad_token_id=None, attn_implementation="eager"
    )
    theirs = getattr(transformers, type(ours).__name__)(config).eval()
    theirs.load_state_dict(ours.state_dict())
    return theirs


def ids() -> Tensor:
    return torch.randint(1, SIZES["vocab_size"], (BATCH, TOKENS), generator=torch.Generator().manual_seed(1))


def padded(side: str) -> dict[str, Tensor]:
    """Rows of ``LENGTHS`` tokens, with padding on one side."""
    columns = torch.arange(TOKENS)
    lengths = torch.tensor(LENGTHS)[:, None]
    mask = columns < lengths if side == "right" else columns >= TOKENS - lengths
    return {"input_ids": ids(), "attention_mask": mask.long(), "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}


# --- The numbers of transformers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_weights", [False, True])
@each_variant
def test_every_number_is_that_of_transformers(variant: str, with_weights: bool) -> None:
    ours = our(variant)
    options = {"output_hidden_states": True, "output_attentions": with_weights, "labels": ids()}
    found, expected = ours(ids(), **options), their(ours, variant)(ids(), **options)
    fields = ("loss", "logits", "hidden_states", *(["attentions"] if with_weights else []))
    for field in fields:
        assert_close(getattr(found, field), getattr(expected, field), atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", ["left", "right"])
@each_variant
def test_every_number_at_tokens_is_that_of_transformers_beside_padding(variant: str, side: str) -> None:
    ours, inputs = our(variant), padded(side)
    tokens = inputs["attention_mask"].bool()
    found, expected = ours(**inputs), their(ours, variant)(**inputs)
    assert_close(found.logits[tokens], expected.logits[tokens], atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(side: str) -> None:
    ours, inputs = our(), padded(side)
    del inputs["position_ids"]
    found = ours(**inputs)
    for row, mask, logits in zip(ids(), inputs["attention_mask"].bool(), found.logits, strict=True):
        assert_close(logits[mask], ours(row[mask]).logits, atol=1e-5, rtol=0)
        assert (logits[~mask] == 0).all()


@pytest.mark.parametrize("prompt", [1, 4])
@each_variant
def test_greedy_tokens_are_those_of_transformers(variant: str, prompt: int) -> None:
    ours = our(variant)
    written = ours.generate(ids()[:, :prompt], max_new_tokens=12)
    expected = their(ours, variant).generate(
        ids()[:, :prompt],
        attention_mask=torch.ones(BATCH, prompt),
        max_new_tokens=12,
        do_sample=False,
        pad_token_id=0,
    )
    assert written.equal(expected)


def test_names_are_the_published_ones() -> None:
    for variant in VARIANTS:
        ours = our(variant)
        assert set(their(ours, variant).state_dict()) == set(ours.state_dict())
    assert set(our(cls=LlamaModel).state_dict()) == set(their(our(cls=LlamaModel)).state_dict())


@pytest.mark.parametrize("length", [16, 17, 400])
def test_angles_stay_those_of_transformers_far_into_a_text(length: int) -> None:
    for variant in ("as Llama 2", "linear", "as Llama 3.1"):
        ours = our(variant, max_position_embeddings=512)
        row = torch.randint(0, 61, (1, length), generator=torch.Generator().manual_seed(2))
        expected = their(ours, variant, max_position_embeddings=512)(row).logits
        assert_close(ours(row).logits, expected, atol=1e-5, rtol=0)


def test_half_precision_is_near_that_of_transformers() -> None:
    ours = our().to(torch.bfloat16)
    theirs = their(our()).to(torch.bfloat16)
    assert_close(ours(ids()).logits, theirs(ids()).logits, atol=0.05, rtol=0.05)


# --- What stands before -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [(9,), (1, 8), (5, 1, 3), (1,) * 9])
@each_variant
def test_a_cache_changes_nothing(variant: str, cut: tuple[int, ...]) -> None:
    ours = our(variant)
    whole = ours(ids()).logits
    cache = ours.new_cache(BATCH, TOKENS)
    for past in (None, cache):
        with torch.inference_mode():
            pieces = []
            for piece in ids().split(cut, dim=1):
                output = ours(piece, past_key_values=past)
                past = output.past_key_values
                pieces.append(output.logits)
        assert_close(torch.cat(pieces, dim=1), whole, atol=1e-5, rtol=0)


def test_only_heads_of_keys_and_values_are_cached() -> None:
    ours = our()
    keys, values = ours(ids()).past_key_values[0]
    assert keys.shape == values.shape == (BATCH, 2, TOKENS, 6)
    cache = ours.new_cache(BATCH, 32)
    assert isinstance(cache, StaticKeyValueCache)
    with torch.inference_mode():
        ours(ids(), past_key_values=cache)
    assert (len(cache), cache.capacity, cache[0][0].shape) == (3, 32, (BATCH, 2, TOKENS, 6))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("beams", [1, 3])
def test_each_prompt_is_continued_as_it_would_be_alone(side: str, beams: int) -> None:
    ours, inputs = our(), padded(side)
    del inputs["position_ids"]
    together = ours.generate(**inputs, max_new_tokens=6, num_beams=beams)[:, TOKENS:]
    for row, mask, written in zip(ids(), inputs["attention_mask"].bool(), together, strict=True):
        alone = ours.generate(row[mask][None], max_new_tokens=6, num_beams=beams)[0, -6:]
        assert written.equal(alone)


def test_a_text_ends_where_the_configuration_says() -> None:
    free = our().generate(ids()[:1, :4], max_new_tokens=8)[0, 4:]
    last = int(free[3])
    ended = our(eos_token_id=[last, 60]).generate(ids()[:1, :4], max_new_tokens=8)[0, 4:]
    assert ended.tolist() == free.tolist()[: free.tolist().index(last) + 1]


def test_gradients_flow_through_a_past() -> None:
    ours = our()
    first = ours(ids()[:, :4])
    ours(ids()[:, 4:], past_key_values=first.past_key_values).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in ours.parameters())


# --- Inputs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(9,), (3, 9), (3, 1, 9)])
def test_ids_may_have_any_leading_axes(shape: tuple[int, ...]) -> None:
    ours = our()
    rows = ids()[: 1 if len(shape) == 1 else None].view(shape)
    assert_close(ours(rows).logits.flatten(), ours(rows.view(-1, 9)).logits.flatten())


def test_positions_may_be_given() -> None:
    ours = our("as Llama 3.1")
    positions = torch.arange(5, 14)
    theirs = their(ours, "as Llama 3.1")
    for given in (positions, positions.expand(BATCH, -1)):
        expected = theirs(ids(), position_ids=positions.expand(BATCH, -1)).logits
        assert_close(ours(ids(), position_ids=given).logits, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("inputs", "fault"),
    [
        (
            {"input_ids": torch.zeros(1, 21, dtype=torch.long)},
            "21 tokens is too long: this model has 20 positions",
        ),
        ({"input_ids": torch.tensor([[0, 61]])}, "input_ids must lie between 0 and 60"),
        ({"input_ids": torch.zeros(1, 0, dtype=torch.long)}, "at least one token"),
        ({"input_ids": torch.zeros(2, 3, dtype=torch.long), "attention_mask": torch.ones(2, 4)}, "attention_mask"),
        (
            {"input_ids": torch.zeros(2, 3, dtype=torch.long), "position_ids": torch.zeros(2, 4, dtype=torch.long)},
            "position_ids must have the shape of input_ids",
        ),
    ],
)
def test_what_does_not_fit_is_refused(inputs: dict[str, Tensor], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        our()(**inputs)


# --- The model as a thing ---------------------------------------------------------------------------------------------


def test_new_weights_are_drawn_as_transformers_draws_them() -> None:
    torch.manual_seed(0)
    changes = {"hidden_size": 64, "intermediate_size": 128, "vocab_size": 400, "initializer_range": 0.02}
    for tied in (False, True):
        model = LlamaForCausalLM(
            LlamaConfig(**{**SIZES, **changes, "tie_word_embeddings": tied, "attention_bias": True})
        )
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                assert (parameter == 0).all(), name
            elif "norm" in name:
                assert (parameter == 1).all(), name
            else:
                assert abs(parameter.std() / 0.02 - 1) < 0.1, name
        assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied


@pytest.mark.parametrize("variant", ["as Llama 2", "tied", "as Llama 3.1"])
def test_a_model_is_copied_and_pickled_whole(variant: str) -> None:
    ours = our(variant)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert_close(twin(ids()).logits, ours(ids()).logits, atol=0, rtol=0)
        assert twin.layout == ours.layout
        assert twin.config == ours.config


def test_dropout_is_only_for_training() -> None:
    ours = our(attention_dropout=0.5)
    quiet = ours(ids()).logits
    assert_close(ours(ids()).logits, quiet, atol=0, rtol=0)
    assert not ours.train()(ids()).logits.equal(quiet)


# --- Embeddings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["as Llama 2", "tied"])
def test_the_vocabulary_can_be_resized(variant: str) -> None:
    model = our(variant)
    ids = torch.tensor([[3, 7, 9]])
    expected = model(ids).logits
    model.resize_token_embeddings(70)
    scores = model.get_output_embeddings()
    assert (model.config.vocab_size, model.model.config.vocab_size, scores.out_features) == (70, 70, 70)
    assert (scores.weight is model.get_input_embeddings().weight) == (variant == "tied")
    assert_close(model(ids).logits[..., :61], expected)
    assert_close(model(torch.tensor([[69]])).logits, their(model, variant, vocab_size=70)(torch.tensor([[69]])).logits)


def test_embeddings_in_place_of_ids_give_the_same_numbers() -> None:
    model, ids = our(), torch.tensor([[3, 7, 9]])
    assert_close(model(inputs_embeds=model.get_input_embeddings()(ids)).logits, model(ids).logits)
    assert model(ids, use_cache=False).past_key_values is None
    with pytest.raises(InputError, match="both are given"):
        model(ids, inputs_embeds=model.get_input_embeddings()(ids))
