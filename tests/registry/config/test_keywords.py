"""Keywords of other libraries, at every door."""

import inspect
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import registry
from registry import Card, FileSpec, hookimpl
from registry.config.keywords import FOREIGN
from registry.errors import UnknownOptionError
from registry.zoo import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
)

DOORS: dict[str, Callable[..., Any]] = {
    "load": registry.load,
    "load_model": registry.load_model,
    "load_tokenizer": registry.load_tokenizer,
    "load_config": registry.load_config,
    "BertModel": BertModel.from_pretrained,
    "BertTokenizer": BertTokenizer.from_pretrained,
    "BertConfig": BertConfig.from_pretrained,
}


@pytest.fixture(autouse=True)
def _loopback(loopback: None) -> None:
    """Loopback may be used, without proxies."""


@pytest.fixture
def names(server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A card, a repository and a URL, none of which is on this disk."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    file = FileSpec(role="config", filename="config.json", urls=("hub:org/far/config.json",))
    card = Card(name="far", architecture="bert", task="base", files=(file,))
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (card,))), "far")
    return ["far", "org/far", f"{server.url}/far", str(tmp_path)]


@pytest.mark.parametrize("door", DOORS)
def test_an_unknown_keyword_is_refused_before_any_file_is_fetched(server: Any, names: list[str], door: str) -> None:
    for name in names[:3]:
        with pytest.raises(UnknownOptionError, match="hidden_dropuot_prob"):
            DOORS[door](name, hidden_dropuot_prob=0.2)
    assert server.count() == 0


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    config = BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4)
    model, tokenizer = BertModel(config), BertTokenizer({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4})
    report: Any = SimpleNamespace(source="here")
    loaded = registry.Pretrained(model=model, config=config, card=None, report=report, processor=tokenizer)
    return {"model": model, "tokenizer": tokenizer, "batch": tokenizer("a"), "loaded": loaded}


@pytest.mark.parametrize(
    ("owner", "attribute", "word"),
    [
        ("model", "prune_heads", "torch.nn.utils.prune"),
        ("model", "add_adapter", "peft.get_peft_model"),
        ("model", "disable_adapters", "peft.get_peft_model"),
        ("model", "get_encoder", "model.base_model"),
        ("model", "post_init", "init_weights()"),
        ("model.config", "update", "config.replace"),
        ("model.config", "save_pretrained", "to_json_file"),
        ("tokenizer", "encode_plus", "tokenizer(text)"),
        ("tokenizer", "max_len_single_sentence", "num_special_tokens_to_add()"),
        ("batch", "encodings", "batch.word_ids(row)"),
        ("loaded", "encode", "loaded.embed(texts)"),
        ("loaded", "to", "loaded.model.to"),
        ("loaded", "hidden_size", "loaded.config.hidden_size"),
        ("loaded", "batch_decode", "loaded.processor.batch_decode"),
    ],
)
def test_an_attribute_of_another_library_is_answered_with_the_code_to_write_here(
    known: dict[str, Any], owner: str, attribute: str, word: str
) -> None:
    thing = attrgetter(owner)(SimpleNamespace(**known))
    assert not hasattr(thing, attribute)
    with pytest.raises(AttributeError, match=f"'{attribute}'") as caught:
        getattr(thing, attribute)
    assert word in str(caught.value)
    with pytest.raises(AttributeError) as caught:
        attrgetter("no_such_thing")(thing)
    assert "rite" not in str(caught.value)


def test_generic_code_finds_the_backbone_and_whether_a_model_generates(known: dict[str, Any]) -> None:
    backbone = known["model"]
    head = BertForSequenceClassification(backbone.config)
    assert head.base_model is head.bert is getattr(head, head.base_model_prefix)
    assert backbone.base_model is backbone
    assert head.main_input_name == next(iter(inspect.signature(head.forward).parameters))
    causal = GPT2LMHeadModel(CAUSAL)
    assert causal.base_model_prefix == "transformer"
    assert [each.can_generate() for each in (causal, causal.base_model, head)] == [True, False, False]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("keyword", "word"),
    [
        ("torch_dtype", "dtype="),
        ("local_files_only", "offline=True"),
        ("device_map", "device="),
        ("trust_remote_code", "plugins"),
        ("use_auth_token", "HF_TOKEN"),
        ("token", "HF_TOKEN"),
        ("force_download", "update=True"),
    ],
)
def test_a_keyword_of_another_library_is_refused_with_the_word_to_use_here(
    server: Any, names: list[str], door: str, keyword: str, word: str
) -> None:
    for name in names[:3]:
        with pytest.raises(UnknownOptionError) as caught:
            DOORS[door](name, **{keyword: True})
        assert f"{keyword}= is a keyword of another library" in str(caught.value)
        assert word in str(caught.value.hint)
    assert server.count() == 0


def test_in_a_directory_too(names: list[str]) -> None:
    for door in (registry.load, registry.load_model, BertModel.from_pretrained, BertTokenizer.from_pretrained):
        with pytest.raises(UnknownOptionError, match=r"Here, write offline=True\."):
            door(names[3], local_files_only=True)


def test_keywords_that_a_class_takes_are_left_to_it(server: Any, names: list[str]) -> None:
    for keywords in ({"add_pooling_layer": False}, {"n_embd": 8}, {"num_labels": 3}):
        with pytest.raises(registry.errors.FetchError):
            registry.load_model("org/far", **keywords)
    assert server.count() > 0


def test_no_keyword_in_the_table_is_one_of_ours() -> None:
    """A keyword that becomes ours leaves the table."""
    taken = {key for door in DOORS.values() for key in inspect.signature(door).parameters}
    assert not taken & FOREIGN.keys()
    assert not set(BertConfig.keys()) & FOREIGN.keys()


CAUSAL = GPT2Config(vocab_size=8, n_embd=4, n_layer=1, n_head=1, n_positions=8)


@pytest.mark.parametrize(
    ("keyword", "word"),
    [
        ("do_sample", "temperature="),
        ("max_length", "max_new_tokens="),
        ("streamer", "on_token="),
        ("seed", "generator="),
    ],
)
def test_generate_refuses_keywords_of_another_library_with_the_word_to_use_here(keyword: str, word: str) -> None:
    with pytest.raises(UnknownOptionError, match=f"generate does not take the keyword '{keyword}'") as caught:
        GPT2LMHeadModel(CAUSAL).generate(torch.ones(1, 2, dtype=torch.int64), max_new_tokens=1, **{keyword: 1})
    assert word in str(caught.value.hint)


def test_generate_suggests_the_keyword_that_was_meant() -> None:
    with pytest.raises(UnknownOptionError, match="Did you mean 'temperature'"):
        GPT2LMHeadModel(CAUSAL).generate(torch.ones(1, 2, dtype=torch.int64), max_new_tokens=1, temprature=1.0)
    assert "temperature" in inspect.signature(GPT2LMHeadModel.generate).parameters
