"""What a program written for pytorch-pretrained-bert or transformers is told: the line to write here."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import registry
from registry.errors import ConfigError, InputError, UnknownOptionError
from registry.nn.outputs import ClassificationOutput
from registry.zoo import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2DoubleHeadsModel,
    GPT2LMHeadModel,
    TransfoXLConfig,
    TransfoXLLMHeadModel,
)

BERT = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
GPT2 = GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2, n_positions=8)
XL = TransfoXLConfig(vocab_size=20, cutoffs=[5], d_model=8, d_embed=8, n_head=2, d_head=4, d_inner=8, n_layer=1)
IDS = torch.ones(2, 3, dtype=torch.long)


@pytest.mark.parametrize(
    ("model", "given", "line"),
    [
        (BertModel(BERT), 2, "model(input_ids, token_type_ids=...)"),
        (BertModel(BERT), 3, "model(input_ids, token_type_ids=..., attention_mask=...)"),
        (BertForSequenceClassification(BERT), 4, "token_type_ids=..., attention_mask=..., labels=...)"),
        (BertForQuestionAnswering(BERT), 5, "attention_mask=..., start_positions=..., end_positions=...)"),
        (GPT2LMHeadModel(GPT2), 2, "model(input_ids, position_ids=...)"),
        (GPT2DoubleHeadsModel(GPT2), 4, "model(input_ids, mc_token_ids=..., labels=..., mc_labels=...)"),
        (TransfoXLLMHeadModel(XL), 3, "model(input_ids, target=..., mems=...)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else str(value),
)
def test_arguments_without_names_are_answered_with_those_that_were_meant(model: Any, given: int, line: str) -> None:
    with pytest.raises(
        InputError, match=rf"takes one argument without a name, input_ids, and was given {given}"
    ) as told:
        model(*[IDS] * given)
    assert line in str(told.value.hint)


@pytest.mark.parametrize(
    ("model", "keyword", "word"),
    [
        (BertForMaskedLM(BERT), "masked_lm_labels", "labels="),
        (BertModel(BERT), "output_all_encoded_layers", "output_hidden_states=True"),
        (BertModel(BERT), "head_mask", "leave it out"),
        (GPT2LMHeadModel(GPT2), "lm_labels", "labels="),
        (GPT2LMHeadModel(GPT2), "past", "past_key_values="),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_arguments_of_other_names_too(model: Any, keyword: str, word: str) -> None:
    with pytest.raises(UnknownOptionError, match=f"does not take the argument '{keyword}'") as told:
        model(IDS, **{keyword: IDS})
    assert f"Here, write {word}" in str(told.value.hint) or word in str(told.value.hint)


def test_a_misspelled_argument_is_answered_with_the_one_that_was_meant() -> None:
    with pytest.raises(UnknownOptionError, match="Did you mean 'attention_mask'"):
        BertModel(BERT)(IDS, atention_mask=IDS)


def test_a_record_that_is_taken_for_a_tensor_says_which_field_is_one() -> None:
    output = BertForSequenceClassification(BERT)(IDS, labels=torch.tensor([0, 1]))
    for use, line in (
        (lambda: output.backward(), "output.loss.backward"),
        (lambda: output.item(), "output.loss.item"),
        (lambda: output.detach(), "output.logits.detach"),
        (lambda: output.shape, "output.logits.shape"),
    ):
        with pytest.raises(AttributeError, match=f"it is a record, not a tensor. Write {line}"):
            use()
    with pytest.raises(TypeError, match=r"write output\.logits\[\.\.\.\]"):
        output[0, 1]
    with pytest.raises(AttributeError, match=r"has no attribute 'scores'\.$"):
        output.scores  # noqa: B018
    assert not hasattr(ClassificationOutput(), "to")


def test_answers_are_unpacked_as_they_were() -> None:
    with torch.no_grad():
        hidden, pooled = BertModel(BERT)(IDS)
        logits, past = GPT2LMHeadModel(GPT2)(IDS)
        loss, _ = BertForSequenceClassification(BERT)(IDS, labels=torch.tensor([0, 1]))
    assert (hidden.shape, pooled.shape, logits.shape, len(past), loss.shape) == ((2, 3, 8), (2, 8), (2, 3, 20), 1, ())


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("BertAdam", "torch.optim.AdamW"),
        ("OpenAIAdam", "torch.optim.AdamW"),
        ("AutoTokenizer", r"registry\.load_tokenizer\(name\)"),
        ("AutoModelForMaskedLM", r"registry\.load_model\(name, task\)"),
        ("BertTokenizerFast", "the name without Fast"),
        ("load_tf_weights_in_bert", "from_tf=True"),
    ],
)
def test_names_of_other_libraries_are_answered_with_the_code_to_write(name: str, code: str) -> None:
    for module in (registry, registry.zoo):
        with pytest.raises(AttributeError, match=rf"of another library; here, write .*{code}"):
            getattr(module, name)


DOORS = {
    "embed": (lambda loaded, folder, **keywords: loaded.embed(["a"], **keywords), "prompt_name", "prompt="),
    "save": (
        lambda loaded, folder, **keywords: registry.save(loaded, folder, **keywords),
        *("safe_serialization", 'format="torch"'),
    ),
    "Pretrained.save": (lambda loaded, folder, **keywords: loaded.save(folder, **keywords), "push_to_hub", "hf upload"),
    "save_pretrained": (
        lambda loaded, folder, **keywords: loaded.model.save_pretrained(folder, **keywords),
        *("safe_serialization", 'format="torch"'),
    ),
    "a tokenizer": (
        lambda loaded, folder, **keywords: loaded.tokenizer("a", **keywords),
        *("pad_to_max_length", 'padding="max_length"'),
    ),
    "generate": (
        lambda loaded, folder, **keywords: GPT2LMHeadModel(GPT2).generate(IDS, **keywords),
        *("streamer", "on_token="),
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_answers_a_keyword_of_another_library_with_ours(door: str, tmp_path: Path) -> None:
    use, keyword, word = DOORS[door]
    with pytest.raises(UnknownOptionError) as told:
        use(registry.load("all-minilm-l6-v2"), tmp_path / "saved", **{keyword: True})
    assert f"{keyword}= is a keyword of another library. Here," in str(told.value)
    assert word in str(told.value.hint)
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("name", "code"), [("encode_plus", "tokenizer(text)"), ("batch_encode_plus", "tokenizer(texts)")]
)
def test_methods_of_other_tokenizers_are_answered_with_the_call_to_write(name: str, code: str) -> None:
    with pytest.raises(AttributeError, match=re.escape(f"of another library; here, write {code}.")):
        getattr(registry.load_tokenizer("all-minilm-l6-v2"), name)


def test_a_configuration_takes_names_and_says_so() -> None:
    for value, line in (
        (30522, "BertConfig(vocab_size=30522)"),
        ("bert.json", "BertConfig.from_json_file('bert.json')"),
    ):
        with pytest.raises(TypeError, match="takes fields by their names") as told:
            BertConfig(value)
        assert line in str(told.value)
    with pytest.raises(AttributeError, match=r"here, write config\.to_json_file\(path\)"):
        BERT.save_pretrained  # noqa: B018


def test_both_mappings_of_labels_may_be_given() -> None:
    names = {"id2label": {0: "no", 1: "yes", 2: "maybe"}, "label2id": {"no": 0, "yes": 1, "maybe": 2}}
    for given in (names, {"label2id": names["label2id"]}):
        model = registry.load_model("all-minilm-l6-v2", "sequence-classification", **given)
        assert dict(model.config.id2label) == names["id2label"]
        assert BertConfig.from_dict({}, **given).label2id == names["label2id"]
    for wrong in ({"no": 0, "yes": 2}, {"yes": 0, "no": 1, "maybe": 2}):
        with pytest.raises(ConfigError, match="label2id"):
            registry.load_config("all-minilm-l6-v2", id2label=names["id2label"], label2id=wrong)
