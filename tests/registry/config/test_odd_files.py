"""Files that contradict themselves, and what a caller says of them."""

import json
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import frozen

import registry
from plugins.bert.config import BertConfig
from plugins.gpt2.config import GPT2Config
from registry.config import Config
from registry.config.fields import choice, size
from registry.config.identify import identify
from registry.config.load import find_config, load_config
from registry.errors import ConfigError, RegistryWarning, UnknownOptionError
from registry.sources.files import Files
from registry.zoo import (
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    GPT2LMHeadModel,
    OpenAIGPTConfig,
    TransfoXLConfig,
)

NAMES = {"0": "neg", "1": "neu", "2": "pos"}


def labels(keys: dict[str, Any], **overrides: Any) -> list[str]:
    """The labels that a file leads to; any warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return list(BertConfig.from_dict(keys, **overrides).id2label.values())


# --- Labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"_num_labels": 3, "id2label": NAMES}, ["neg", "neu", "pos"]),
        ({"_num_labels": 2, "id2label": NAMES}, ["neg", "neu", "pos"]),
        ({"_num_labels": 3}, ["LABEL_0", "LABEL_1", "LABEL_2"]),
        ({"num_labels": 3, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, ["LABEL_0", "LABEL_1", "LABEL_2"]),
        ({"num_labels": 1, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, ["LABEL_0"]),
        ({"id2label": {"0": 0, "1": 1.5, "2": True}}, ["0", "1.5", "True"]),
        ({"id2label": ["a", "b", "c"]}, ["a", "b", "c"]),
        ({"id2label": None, "label2id": None}, ["LABEL_0", "LABEL_1"]),
        ({"id2label": {}, "label2id": {}}, ["LABEL_0", "LABEL_1"]),
        ({"label2id": {"b": 1, "a": 0, "c": 2}}, ["a", "b", "c"]),
        ({"label2id": {"a": 0, "b": 2}}, ["LABEL_0", "LABEL_1"]),
        ({"num_labels": 3, "label2id": {"a": 0, "b": 1}}, ["LABEL_0", "LABEL_1", "LABEL_2"]),
    ],
)
def test_labels_are_read_as_the_field_reads_them(keys: dict[str, Any], expected: list[str]) -> None:
    assert labels(keys) == expected


@pytest.mark.parametrize(
    ("keys", "expected", "lost"),
    [
        ({"num_labels": 2, "id2label": NAMES}, ["LABEL_0", "LABEL_1"], "'neg' (0), 'neu' (1), 'pos' (2)"),
        ({"id2label": {"1": "a", "2": "b", "3": "c"}}, ["LABEL_0", "a", "b"], "'c' (3)"),
        ({"id2label": {"0": "a", "1": "b", "3": "c"}}, ["a", "b", "LABEL_2"], "'c' (3)"),
    ],
)
def test_a_name_that_no_output_has_is_warned_of(keys: dict[str, Any], expected: list[str], lost: str) -> None:
    with pytest.warns(RegistryWarning) as caught:
        config = BertConfig.from_dict(keys)
    assert list(config.id2label.values()) == expected
    assert lost in str(caught[0].message)
    assert "id2label=" in str(caught[0].message)


def test_the_labels_that_a_caller_gives_are_those() -> None:
    for keys in ({"num_labels": 2, "id2label": NAMES}, {"id2label": "nonsense"}, {"num_labels": "many"}):
        assert labels(keys, id2label={0: "a", 1: "b", 2: "c"}) == ["a", "b", "c"]
        assert labels(keys, num_labels=4) == ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"]
    assert labels({"num_labels": 2, "id2label": NAMES}, num_labels=3) == ["neg", "neu", "pos"]


def test_a_number_of_labels_that_is_the_same_keeps_their_names() -> None:
    config = BertConfig(id2label={0: "no", 1: "yes"})
    assert config.replace(num_labels=2).id2label == config.id2label


def test_the_number_of_2019_counts_only_where_it_is_one() -> None:
    for wrong in (0, True, "3", {}, None):
        assert labels({"_num_labels": wrong}) == ["LABEL_0", "LABEL_1"]


# --- No value leads to another error ---------------------------------------------------------------------------------

ODD: list[Any] = [None, True, False, 0, 1, -1, 3, 1e30, -0.5, float("inf"), 10**20, "", "1", "gelu", "\ud800"]
ODD += [[], [1], ["a", "b"], [None], [[1]], [0.5, True], {}, {"0": "a"}, {"a": 0}, {"0": {}}, {"0": "a", "1": None}]


@pytest.mark.parametrize("cls", [BertConfig, GPT2Config, OpenAIGPTConfig, TransfoXLConfig])
@pytest.mark.filterwarnings("ignore::registry.errors.RegistryWarning")
def test_no_value_of_a_key_leads_to_another_error(cls: type[Config]) -> None:
    published = cls().to_dict()
    fields = cls.keys()
    refused = read = 0
    for key in (*fields, "label2id", "_num_labels", "model_type", "architectures", "extra", "self", "keys"):
        for value in ODD:
            for overrides in ({}, {"num_labels": 3}):
                try:
                    cls.from_dict({**published, key: value}, **overrides).to_dict()
                    read += 1
                except ConfigError:
                    refused += 1
            if key in fields:
                for change in (partial(cls.from_dict, {}), cls().replace):
                    with suppress(ConfigError):
                        change(**{key: value})
    assert refused > 100
    assert read > 100


# --- What the caller says goes first ----------------------------------------------------------------------------------


def written(path: Path, **keys: Any) -> Path:
    (path / "config.json").write_text(json.dumps({"model_type": "bert", **keys}))
    return path


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"hidden_act": "my_act"}, {"hidden_act": "gelu"}),
        ({"layer_norm_eps": "1e-12"}, {"layer_norm_eps": 1e-12}),
        ({"hidden_size": 16.0}, {"hidden_size": 12}),
        ({"hidden_size": 770}, {"num_attention_heads": 11}),
        ({"hidden_dropout_prob": None}, {"hidden_dropout_prob": 0.0}),
        ({"pad_token_id": "zero"}, {"pad_token_id": 0}),
        ({"is_decoder": True}, {"is_decoder": False}),
        ({"tie_word_embeddings": False}, {"tie_word_embeddings": True}),
    ],
)
def test_an_override_replaces_a_key_before_anything_is_checked(
    tmp_path: Path, keys: dict[str, Any], said: dict[str, Any]
) -> None:
    path = written(tmp_path, **keys)
    with pytest.raises(ConfigError, match=f"{path}/config.json: ") as caught:
        load_config(path)
    if keys.keys() == said.keys():
        assert f"{next(iter(said))}= as a keyword" in str(caught.value.hint)
    only = next(iter(keys)) in ("is_decoder", "tie_word_embeddings")  # of which no model here computes another value
    assert ("other numbers are computed than the weights were trained for" in str(caught.value)) == only
    for config in (load_config(path, **said), BertConfig.from_pretrained(path, **said)):
        assert all(getattr(config, key) == value for key, value in said.items())


def test_both_spellings_of_a_key_give_way_to_the_caller() -> None:
    keys = {"hidden_size": 32, "n_embd": 16, "n_head": 2}
    with pytest.raises(ConfigError, match="n_embd is given twice"):
        GPT2Config.from_dict(keys)
    assert GPT2Config.from_dict(keys, n_embd=24).n_embd == 24
    assert GPT2Config.from_dict(keys, hidden_size=24).n_embd == 24
    with pytest.raises(ConfigError, match="n_embd is given twice"):
        GPT2Config.from_dict({}, hidden_size=24, n_embd=48)


def test_an_impossible_override_is_not_blamed_on_the_file_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json \(with num_hidden_layers=\): num_hidden_layers must be"):
        load_config(written(tmp_path), num_hidden_layers=0)


def test_general_names_of_sizes_are_read_but_say_nothing_of_the_architecture() -> None:
    general = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 32}
    config = GPT2Config.from_dict(general)
    assert (config.n_embd, config.n_layer, config.n_head, config.n_positions) == (16, 2, 2, 32)
    assert identify(general, Path("config.json")).name == "bert", "whose own names they are"


def test_null_flags_are_false_and_a_null_padding_is_none() -> None:
    config = BertConfig.from_dict(
        {"is_decoder": None, "add_cross_attention": None, "pad_token_id": None, "position_embedding_type": None}
    )
    assert config.position_embedding_type == "absolute"
    assert (config.is_decoder, config.add_cross_attention, config.pad_token_id) == (False, False, None)
    assert BertConfig.from_dict({"pad_token_id": -1}).pad_token_id is None
    with pytest.raises(ConfigError, match="pad_token_id"):
        BertConfig.from_dict({"pad_token_id": -2})
    with pytest.raises(ConfigError, match="scale_attn_weights"):  # null would mean scores that are not scaled
        GPT2Config.from_dict({"scale_attn_weights": None})


# --- Each purpose checks what it needs --------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path, sizes: dict[str, int], vocab_file: Path) -> Path:
    """A tiny classifier of three classes."""
    model = BertForSequenceClassification(BertConfig(**sizes, num_labels=3))
    model.init_weights()
    return registry.save(model, tmp_path / "saved", tokenizer=BertTokenizer(str(vocab_file)))


def edited(path: Path, **keys: Any) -> Path:
    text = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**text, **keys}))
    (path / "registry.json").unlink(missing_ok=True)
    return path


@pytest.mark.parametrize(
    "keys", [{"hidden_act": "my_act"}, {"is_decoder": True}, {"hidden_size": 7}, {"id2label": 3}, {"vocab_size": None}]
)
def test_a_tokenizer_needs_no_configuration_that_a_model_could_have(saved: Path, keys: dict[str, Any]) -> None:
    edited(saved, **keys)
    assert len(registry.load_tokenizer(saved)) == len(BertTokenizer.from_pretrained(saved)) > 0
    with pytest.raises(ConfigError):
        registry.load_model(saved)


def test_a_task_needs_no_field_of_another_one(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"vocab_size": 9, "n_embd": 4, "n_layer": 1, "n_head": 1, "n_positions": 4}
    saved = registry.save(GPT2LMHeadModel(GPT2Config(**sizes)), tmp_path / "m")
    path = edited(saved, summary_use_proj=False, problem_type="guess")
    with pytest.warns(RegistryWarning, match="The task 'causal-lm' has no use"):
        assert type(registry.load_model(path)) is GPT2LMHeadModel
    for task, field in (("double-heads", "summary_use_proj"), ("sequence-classification", "problem_type")):
        with pytest.raises(ConfigError, match=field):
            registry.load_model(path, task)


@pytest.mark.parametrize("keys", [{"id2label": 3}, {"tie_word_embeddings": False}, {"classifier_dropout": "much"}])
def test_a_base_model_needs_no_head(saved: Path, keys: dict[str, Any]) -> None:
    edited(saved, **keys)
    with pytest.raises(ConfigError, match=next(iter(keys))):
        registry.load_model(saved)
    for load in (lambda: registry.load_model(saved, "base"), lambda: BertModel.from_pretrained(saved)):
        with pytest.warns(RegistryWarning, match=f"{next(iter(keys))}.*The task 'base' has no use"):
            assert type(load()) is BertModel
    with pytest.raises(ConfigError, match="hidden_act"):
        registry.load_model(edited(saved, hidden_act="my_act"), "base")


def test_the_keyword_of_a_class_opens_a_file_like_a_field(saved: Path) -> None:
    edited(saved, id2label=3, label2id=None)
    assert BertForSequenceClassification.from_pretrained(saved, num_labels=3).config.num_labels == 3
    assert registry.load_model(saved, num_labels=3).classifier.weight.shape[0] == 3


@pytest.mark.parametrize(
    "names",
    ["BertForSequenceClassification", ["TFBertForSequenceClassification"], [3, "BertForSequenceClassification"]],
)
def test_the_classes_that_wrote_a_checkpoint_are_understood(saved: Path, names: Any) -> None:
    assert type(registry.load_model(edited(saved, architectures=names))) is BertForSequenceClassification


@pytest.mark.parametrize("names", [3, None, {}, ["MyBert"], [None]])
def test_other_values_of_architectures_name_no_class(saved: Path, names: Any) -> None:
    assert type(registry.load_model(edited(saved, architectures=names), "sequence-classification")) is (
        BertForSequenceClassification
    )
    assert find_config(Files.named(saved)).architectures in (
        (),
        ("MyBert",),
    )


@pytest.mark.parametrize("model_type", [None, "Bert", "BERT"])
def test_a_model_type_of_other_letters_or_null_is_understood(saved: Path, model_type: str | None) -> None:
    assert type(registry.load_model(edited(saved, model_type=model_type))) is BertForSequenceClassification


# --- Bounds -----------------------------------------------------------------------------------------------------------


def test_the_architecture_sets_the_largest_number_of_parameters() -> None:
    @frozen(kw_only=True)
    class Wide(Config):
        architecture: ClassVar[str] = "wide"
        model_type: ClassVar[str] = "wide"
        width: int = size(1)

        def num_backbone_parameters(self) -> int:
            return self.width**2

    class Narrow(Wide):
        most_parameters: ClassVar[int] = 100

    assert Wide(width=700_000).width == 700_000, "405 billion parameters are published"
    with pytest.raises(ConfigError, match="more than 100 parameters look like a damaged file"):
        Narrow(width=11)
    assert Narrow(width=10).width == 10


# --- Choices ----------------------------------------------------------------------------------------------------------


def test_an_unknown_word_is_refused_with_a_suggestion() -> None:
    @frozen(kw_only=True)
    class Chosen(Config):
        architecture: ClassVar[str] = "chosen"
        model_type: ClassVar[str] = "chosen"
        act: str = choice("gelu", ("gelu", "relu"))

    with pytest.raises(ConfigError, match="Did you mean 'gelu'"):
        Chosen(act="GELU")


def test_unknown_overrides_are_refused_before_the_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(UnknownOptionError, match="hidden_sizes"):
        BertConfig.from_pretrained(tmp_path / "is-not-there", hidden_sizes=3)


def test_a_masked_language_model_of_an_odd_file_is_saved_as_it_was_understood(
    tmp_path: Path, sizes: dict[str, int]
) -> None:
    model = BertForMaskedLM(BertConfig.from_dict({**sizes, "num_labels": 3, "id2label": {"0": "LABEL_0"}}))
    model.init_weights()
    keys = json.loads((registry.save(model, tmp_path / "out") / "config.json").read_text())
    assert keys["id2label"] == {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
    assert keys["label2id"] == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
