"""Embeddings of every architecture: given in place of ids, looked up, replaced, resized, tied, saved and loaded."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from attrs import evolve
from torch import Tensor, nn
from torch.testing import assert_close

import registry
from plugins.bert import finetuning, modeling
from plugins.gpt import modeling as gpt
from plugins.gpt2 import finetuning as gpt2_finetuning
from plugins.gpt2 import modeling as gpt2
from plugins.transfo_xl import modeling as transfo_xl
from registry.errors import ConfigError, InputError, UnsupportedError
from registry.loading.slots import shared_names, slots_of
from registry.zoo import BertConfig, GPT2Config, OpenAIGPTConfig, TransfoXLConfig

VOCABULARY = 21
OF_GPT: dict[str, Any] = {"vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 12}
CONFIGS = {
    "Bert": lambda **fields: BertConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, **fields
    ),
    "OpenAIGPT": lambda **fields: OpenAIGPTConfig(**OF_GPT, **fields),
    "GPT2": lambda **fields: GPT2Config(**OF_GPT, **fields),
    "TransfoXL": lambda **fields: TransfoXLConfig(
        vocab_size=VOCABULARY, cutoffs=(9,), d_model=16, d_embed=16, n_head=2, d_head=8, d_inner=8, n_layer=1, **fields
    ),
}
MODULES = (modeling, finetuning, gpt, gpt2, gpt2_finetuning, transfo_xl)
CLASSES = {
    name: cls
    for module in MODULES
    for name, cls in vars(module).items()
    if name.startswith(("Bert", "OpenAIGPT", "GPT2", "TransfoXL")) and name.endswith(("Model", "Classification", "LM"))
    if hasattr(cls, "config_class") and not name.endswith("PreTrainedModel")
}
CLASSES |= {name: vars(finetuning)[name] for name in ("BertForMultipleChoice", "BertForQuestionAnswering")}
CLASSES |= {name: vars(modeling)[name] for name in ("BertForPreTraining", "BertForNextSentencePrediction")}
RESIZED = {name: cls for name, cls in CLASSES.items() if not name.startswith("TransfoXL")}
SCORES = tuple(name for name in RESIZED if "LM" in name or "PreTraining" in name or "DoubleHeads" in name)
IDS = torch.tensor([[3, 7, 9, 2, 5], [4, 6, 8, 1, 2]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def make(name: str, **fields: Any) -> Any:
    torch.manual_seed(0)
    config = next(config for prefix, config in CONFIGS.items() if name.startswith(prefix))
    return CLASSES[name](config(**fields)).eval()


def ids_of(name: str) -> dict[str, Tensor]:
    """A padded batch; for classes with choices, one with an axis for them."""
    inputs = {"input_ids": IDS, "attention_mask": MASK}
    choices = "MultipleChoice" in name or "DoubleHeads" in name
    return {key: x[:, None] for key, x in inputs.items()} if choices else inputs


def tensors(output: Any) -> dict[str, Tensor]:
    return {name: value for name, value in output.items() if isinstance(value, Tensor)}


each_class = pytest.mark.parametrize("name", CLASSES)
each_resized = pytest.mark.parametrize("name", RESIZED)
each_that_scores = pytest.mark.parametrize("name", SCORES)


def test_every_class_is_tried() -> None:
    declared = {name for name in dir(registry.zoo) if name.startswith(("Bert", "OpenAIGPT", "GPT2", "TransfoXL"))}
    models = {name for name in declared if hasattr(getattr(registry.zoo, name), "config_class")}
    assert models == set(CLASSES)
    assert len(SCORES) == 6


# --- In place of ids --------------------------------------------------------------------------------------------------


@each_class
def test_embeddings_in_place_of_ids_give_the_same_numbers(name: str) -> None:
    model, inputs = make(name), ids_of(name)
    expected = model(**inputs)
    embedded = model.get_input_embeddings()(inputs.pop("input_ids")).detach().requires_grad_()
    found = model(inputs_embeds=embedded, **inputs)
    assert_close(tensors(found), tensors(expected))
    sum(value.float().square().sum() for value in tensors(found).values()).backward()
    assert embedded.grad is not None
    assert embedded.grad[MASK.view(embedded.shape[:-1]) == 1].abs().sum() > 0


@each_class
def test_ids_or_embeddings_are_given_and_not_both(name: str) -> None:
    model, inputs = make(name), ids_of(name)
    with pytest.raises(InputError, match="neither is given"):
        model()
    with pytest.raises(InputError, match="both are given"):
        model(inputs_embeds=model.get_input_embeddings()(inputs["input_ids"]), **inputs)


@each_resized
def test_embeddings_of_another_width_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"inputs_embeds must have the shape \(\.\.\., tokens, 16\)"):
        make(name)(inputs_embeds=torch.zeros(*ids_of(name)["input_ids"].shape, 1))


# --- Looked up and replaced -------------------------------------------------------------------------------------------


@each_resized
def test_another_embedding_is_used_and_what_is_tied_follows(name: str) -> None:
    model = make(name)
    other = nn.Embedding(VOCABULARY, 16)
    model.set_input_embeddings(other)
    assert model.get_input_embeddings() is other
    assert any(parameter is other.weight for parameter in model.parameters())
    scores = model.get_output_embeddings()
    assert (scores is not None) == (name in SCORES)
    if scores is not None:
        assert scores.weight is other.weight


@each_that_scores
def test_the_layer_that_scores_tokens_can_be_replaced(name: str) -> None:
    model, other = make(name), nn.Linear(16, VOCABULARY, bias=False)
    model.set_output_embeddings(other)
    assert model.get_output_embeddings() is other


def test_a_model_without_scores_of_tokens_has_no_layer_for_them() -> None:
    assert make("BertModel").get_output_embeddings() is None
    with pytest.raises(UnsupportedError, match="BertModel has no layer that scores tokens"):
        make("BertModel").set_output_embeddings(nn.Linear(16, VOCABULARY))


@each_class
def test_broken_ties_are_made_again(name: str) -> None:
    model = make(name)
    shared = {key: id(p) for key, p in model.named_parameters(remove_duplicate=False)}
    for module in model.modules():
        for key, parameter in module._parameters.items():
            if parameter is not None:
                setattr(module, key, nn.Parameter(parameter.detach().clone()))
    model.tie_weights()
    again = {key: id(p) for key, p in model.named_parameters(remove_duplicate=False)}
    groups = [{key for key in ids if ids[key] == one} for ids in (shared, again) for one in ids.values()]
    half = len(groups) // 2
    assert sorted(map(sorted, groups[:half])) == sorted(map(sorted, groups[half:]))


# --- Resized ----------------------------------------------------------------------------------------------------------


@each_resized
@pytest.mark.parametrize("rows", [VOCABULARY + 11, VOCABULARY - 4])
def test_a_resized_vocabulary_is_saved_and_loaded(name: str, rows: int, tmp_path: Path) -> None:
    model, inputs = make(name), ids_of(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    expected = tensors(model(**inputs))
    table = model.resize_token_embeddings(rows)
    assert table is model.get_input_embeddings()
    assert (table.num_embeddings, len(table.weight)) == (rows, rows)
    assert model.config.total_tokens_embeddings == rows
    for key, value in model.state_dict().items():
        kept = min(rows, VOCABULARY) if value.shape != before[key].shape else None
        assert_close(value[:kept], before[key][:kept])
    found = tensors(model(**inputs))
    for key, value in expected.items():
        kept = min(rows, VOCABULARY) if value.shape[-1] == VOCABULARY else None
        assert_close(found[key][..., :kept], value[..., :kept])
    model(**{**inputs, "input_ids": torch.full_like(inputs["input_ids"], rows - 1)})
    registry.save(model, tmp_path / "m")
    again = type(model).from_pretrained(tmp_path / "m")
    assert_close(tensors(again(**inputs)), found)
    theirs = transformers.AutoConfig.from_pretrained(tmp_path / "m")
    assert theirs.vocab_size == rows


@each_that_scores
def test_ties_and_sizes_of_heads_follow_the_vocabulary(name: str) -> None:
    model = make(name)
    model.resize_token_embeddings(VOCABULARY + 3)
    scores = model.get_output_embeddings()
    assert scores.out_features == len(scores.weight) == VOCABULARY + 3
    assert scores.weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel", "OpenAIGPTForSequenceClassification"])
def test_what_was_resized_here_loads_in_transformers_with_the_same_numbers(name: str, tmp_path: Path) -> None:
    model = make(name)
    model.resize_token_embeddings(VOCABULARY + 2, pad_to_multiple_of=8)
    assert model.config.vocab_size == 24
    registry.save(model, tmp_path)
    theirs, info = getattr(transformers, name).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] | info["unexpected_keys"]
    ids = torch.tensor([[3, VOCABULARY + 1]])
    assert_close(theirs.eval()(ids).logits, model(ids).logits, atol=1e-5, rtol=1e-5)


class BiasedLMHeadModel(gpt2.GPT2LMHeadModel):
    """With the bias of BART, a buffer of one row."""

    layout = evolve(gpt2.GPT2LMHeadModel.layout, vocabulary=(*gpt2.GPT2LMHeadModel.layout.vocabulary, "bias"))

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.register_buffer("bias", torch.linspace(1.0, 1.1, config.vocab_size)[None])


@pytest.mark.parametrize("rows", [VOCABULARY + 11, VOCABULARY - 4])
@pytest.mark.parametrize("mean_resizing", [True, False])
def test_a_bias_of_one_row_follows_the_vocabulary_and_stays_a_buffer(rows: int, mean_resizing: bool) -> None:
    model = BiasedLMHeadModel(GPT2Config(**OF_GPT))
    before = model.bias
    model.resize_token_embeddings(rows, mean_resizing=mean_resizing)
    assert model.bias.shape == (1, rows)
    assert_close(model.bias[:, :VOCABULARY], before[:, :rows])
    assert ((model.bias > 0.5) & (model.bias < 1.5)).all()  # new ones are like the old ones
    assert "bias" in dict(model.named_buffers())


def test_new_rows_have_the_mean_and_the_spread_of_the_old_ones() -> None:
    model = make("BertForMaskedLM")
    means, spreads = torch.linspace(-3, 3, 16), torch.linspace(0.1, 2, 16)
    with torch.no_grad():
        table = model.get_input_embeddings().weight
        table.copy_(torch.randn_like(table) * spreads + means)
        old = table.clone()
        model.cls["predictions"].bias.fill_(5.0)
    model.resize_token_embeddings(20_000)
    new = model.get_input_embeddings().weight[VOCABULARY:]
    assert_close(new.mean(0), old.mean(0), atol=0.1, rtol=0)
    assert_close(new.std(0), old.std(0, correction=0), atol=0.1, rtol=0)
    assert_close(model.cls["predictions"].bias, torch.full((20_000,), 5.0))


def test_new_rows_may_be_drawn_as_the_model_initializes_them() -> None:
    model = make("GPT2LMHeadModel", initializer_range=0.5)
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(7.0)
    model.resize_token_embeddings(20_000, mean_resizing=False)
    new = model.get_input_embeddings().weight[VOCABULARY:]
    assert (model.get_input_embeddings().weight[:VOCABULARY] == 7.0).all()
    assert abs(new.mean()) < 0.01
    assert abs(new.std() - 0.5) < 0.01


def test_type_device_and_frozen_parameters_stay_as_they_were() -> None:
    model = make("GPT2LMHeadModel").to(torch.bfloat16).requires_grad_(False)
    model.resize_token_embeddings(VOCABULARY + 3)
    weight = model.get_input_embeddings().weight
    assert (weight.dtype, weight.requires_grad) == (torch.bfloat16, False)


def test_a_resize_that_cannot_be_changes_nothing() -> None:
    model = make("BertModel", pad_token_id=VOCABULARY - 1)
    before = model.get_input_embeddings().weight
    with pytest.raises(ConfigError, match="pad_token_id"):
        model.resize_token_embeddings(VOCABULARY - 1)
    with pytest.raises(ConfigError, match="vocab_size"):
        model.resize_token_embeddings(-3)
    assert model.get_input_embeddings().weight is before
    assert model.resize_token_embeddings() is model.get_input_embeddings()
    assert model.get_input_embeddings().weight is before
    with pytest.raises(UnsupportedError, match=r"word_embeddings\.weight is a Parameter on meta"):
        make("BertModel").to("meta").resize_token_embeddings(30)


def test_a_model_that_shares_its_configuration_keeps_it() -> None:
    config = CONFIGS["GPT2"]()
    one, other = gpt2.GPT2LMHeadModel(config), gpt2.GPT2LMHeadModel(config)
    one.resize_token_embeddings(VOCABULARY + 1)
    assert (one.config.vocab_size, one.transformer.config.vocab_size) == (VOCABULARY + 1,) * 2
    assert other.config.vocab_size == VOCABULARY


def test_special_tokens_behind_the_vocabulary_are_part_of_it_afterwards() -> None:
    model = make("OpenAIGPTLMHeadModel", n_special=2)
    model.resize_token_embeddings(VOCABULARY + 5)
    assert (model.config.vocab_size, model.config.n_special) == (VOCABULARY + 5, 0)


@pytest.mark.parametrize("name", [name for name in CLASSES if name.startswith("TransfoXL")])
def test_an_adaptive_softmax_is_not_resized(name: str) -> None:
    model = make(name)
    assert type(model.get_input_embeddings()).__name__ == "AdaptiveEmbedding"
    assert model.get_output_embeddings() is None
    with pytest.raises(UnsupportedError, match="adaptive embedding and softmax"):
        model.resize_token_embeddings(VOCABULARY + 1)


@pytest.mark.parametrize(
    "name", ["BertForPreTraining", "OpenAIGPTDoubleHeadsModel", "GPT2LMHeadModel", "TransfoXLLMHeadModel"]
)
def test_ties_stay_when_a_model_goes_to_the_meta_device_and_comes_back(name: str) -> None:
    model = make(name)
    tied = sorted(map(sorted, shared_names(slots_of(model))))
    assert tied
    for moved in (model.to("meta"), model.to_empty(device="cpu"), model.half()):
        assert sorted(map(sorted, shared_names(slots_of(moved)))) == tied


# --- Sizes ------------------------------------------------------------------------------------------------------------


def test_a_model_knows_its_device_its_type_and_its_size() -> None:
    model = make("BertForMaskedLM")
    assert (model.device, model.dtype) == (torch.device("cpu"), torch.float32)
    assert (model.to(torch.float64).dtype, make("BertModel").to("meta").device.type) == (torch.float64, "meta")
    theirs: Any = transformers.BertForMaskedLM(
        transformers.BertConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    )
    model.bert.requires_grad_(False)
    theirs.bert.requires_grad_(False)
    for options in ({}, {"only_trainable": True}, {"exclude_embeddings": True}):
        assert model.num_parameters(**options) == theirs.num_parameters(**options)  # type: ignore[arg-type]
