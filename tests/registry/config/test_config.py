import copy
import inspect
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st

import registry
from plugins.bert.config import BertConfig
from registry.config.config import RESERVED, Config
from registry.config.fields import ACTIVATIONS, any_token, count, rate, size
from registry.errors import ConfigError, PluginIncompatibleError, UnknownOptionError
from registry.loading.model import Model

PUBLISHED = {  # as pytorch-pretrained-bert wrote it, with the keys that only some published files have
    "attention_probs_dropout_prob": 0.1,
    "directionality": "bidi",
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pooler_fc_size": 768,
    "type_vocab_size": 2,
    "vocab_size": 119547,
}


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "config.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(folder: Path, text: str | bytes) -> str:
    """The error that a file leads to, which must name the file."""
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        BertConfig.from_json_file(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


# --- What a configuration is ------------------------------------------------------------------------------------------


def test_a_published_file_comes_back_with_every_key(tmp_path: Path) -> None:
    config = BertConfig.from_json_file(write(tmp_path, json.dumps(PUBLISHED)))
    assert config.vocab_size == 119547
    assert config.extra["pooler_fc_size"] == 768
    assert PUBLISHED.items() <= config.to_dict().items()


def test_keys_about_the_file_are_not_kept() -> None:
    config = BertConfig.from_dict(
        {**PUBLISHED, "architectures": ["X"], "transformers_version": "4.0", "dtype": "float16"}
    )
    assert not {"architectures", "transformers_version", "dtype"} & set(config.to_dict())


def test_the_text_is_sorted_and_ends_with_a_newline() -> None:
    text = BertConfig().to_json_string()
    assert text.endswith("}\n")
    assert list(json.loads(text)) == sorted(json.loads(text))


def test_extra_keys_stand_outside_equality_and_hash() -> None:
    plain, odd = BertConfig(), BertConfig.from_dict({"unheard_of": 1})
    assert plain == odd
    assert hash(plain) == hash(odd)


@pytest.mark.parametrize("again", [lambda c: pickle.loads(pickle.dumps(c)), copy.deepcopy, copy.copy])
def test_a_configuration_survives_copying_and_pickling(again: Any) -> None:
    config = BertConfig.from_dict({**PUBLISHED, "num_labels": 3})
    assert again(config) == config
    assert dict(again(config).extra) == dict(config.extra)


@frozen(kw_only=True)
class Nested(Config):
    """A configuration with a field that holds an object of the file, as those for scaled positions do."""

    architecture: ClassVar[str] = "nested"
    model_type: ClassVar[str] = "nested"

    scaling: Mapping[str, Any] = field(converter=lambda value: MappingProxyType(dict(value)), hash=False)


def test_a_field_may_hold_an_object_of_the_file() -> None:
    config = Nested.from_dict({"scaling": {"factor": 2.0}})
    assert json.loads(config.to_json_string())["scaling"] == {"factor": 2.0}
    for twin in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config), Nested.from_dict(config.to_dict())):
        assert twin == config
        assert type(twin.scaling) is MappingProxyType
    assert hash(config) == hash(config.replace(scaling={"factor": 3.0}))


def test_what_a_field_holds_cannot_be_changed_in_place() -> None:
    with pytest.raises(TypeError):
        BertConfig().id2label[0] = "x"  # type: ignore[index]


def test_the_older_num_labels_and_the_newer_id2label_are_both_read() -> None:
    assert dict(BertConfig.from_dict({"num_labels": 3}).id2label) == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    config = BertConfig.from_dict({"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}})
    assert config.num_labels == 2
    assert config.label2id == {"no": 0, "yes": 1}


def test_replacing_the_number_of_labels_makes_new_labels() -> None:
    config = BertConfig.from_dict({"id2label": {"0": "no", "1": "yes"}}).replace(num_labels=3)
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}


def test_labels_that_disagree_with_their_number_are_refused_where_the_caller_says_both() -> None:
    with pytest.raises(ConfigError, match="num_labels is 3, but id2label names 2"):
        BertConfig.from_dict({}, num_labels=3, id2label={0: "a", 1: "b"})
    with pytest.raises(ConfigError, match="num_labels is 3, but id2label names 2"):
        BertConfig(num_labels=3, id2label={0: "a", 1: "b"})


@pytest.mark.parametrize("labels", ["a", 3, {"x": "a"}, {"0": None}, {"0": ["a"]}, {"0": "a", "00": "b"}])
def test_labels_that_cannot_be_understood_are_refused(labels: object) -> None:
    with pytest.raises(ConfigError, match="id2label"):
        BertConfig.from_dict({"id2label": labels})
    with pytest.raises(ConfigError, match="id2label"):
        BertConfig(id2label=labels)


@pytest.mark.parametrize("labels", [[], {}, {1: "a"}, {0: "a", 2: "b"}])
def test_labels_in_code_are_numbered_from_zero(labels: Any) -> None:
    with pytest.raises(ConfigError, match="from 0 without gaps"):
        BertConfig(id2label=labels)


def test_an_unknown_override_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UnknownOptionError, match="Did you mean 'hidden_dropout_prob'"):
        BertConfig().replace(hidden_dropout_probb=0.1)


@frozen(kw_only=True)
class Aliased(Config):
    architecture: ClassVar[str] = "aliased"
    model_type: ClassVar[str] = "aliased"
    aliases: ClassVar[dict[str, str]] = {"n_token": "vocab_size"}
    vocab_size: int = size(10)


def test_another_spelling_of_a_key_is_read_and_given_twice_refused() -> None:
    assert Aliased.from_dict({"n_token": 7}).vocab_size == 7
    assert Aliased().replace(n_token=8).vocab_size == 8
    with pytest.raises(ConfigError, match="vocab_size is given twice"):
        Aliased.from_dict({"n_token": 7, "vocab_size": 8})


def test_a_configuration_is_a_value_that_drags_in_neither_plugins_nor_files() -> None:
    code = "import sys; from registry.config import Config; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "registry.config.config" in loaded
    assert not [
        name for name in loaded if name.startswith(("registry.cache", "registry.sources", "registry.discovery"))
    ]
    assert not {"torch", "pluggy", "requests"} & set(loaded)


def test_a_field_may_not_be_called_like_a_keyword_of_load() -> None:
    with pytest.raises(PluginIncompatibleError, match="'dtype'"):

        class Wrong(Config):
            dtype: str = "float32"


def test_the_reserved_words_are_the_keywords_of_load_and_from_pretrained() -> None:
    taken = set(inspect.signature(registry.load).parameters) - {"name", "config_overrides"}
    taken |= set(inspect.signature(Model.from_pretrained).parameters) - {
        "pretrained_model_name_or_path",
        "inputs",
        "kwargs",
    }
    assert taken | {"mesh", "parallel"} == RESERVED


def test_numbers_are_checked_by_kind() -> None:
    @frozen(kw_only=True)
    class Numbers(Config):
        a: int = size(1, most=5)
        b: int = count(0)
        c: float = rate(0.5)
        d: int | None = any_token(7)

    Numbers(a=5, b=0, c=1, d=2**63 - 1)
    for wrong in (
        {"a": 0},
        {"a": 6},
        {"a": 1.0},
        {"b": -1},
        {"b": None},
        {"c": 1.1},
        {"c": "0.5"},
        {"c": float("nan")},
        {"d": -2},
        {"d": 2**63},
    ):
        (key,) = wrong
        with pytest.raises(ConfigError, match=f"^{key} must be"):
            Numbers(**wrong)


# --- J: damaged and hostile files -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1, column 1"),
        ("hello", "line 1, column 1"),
        ('{"a": 1,\n "b": ', "line 2"),
        ("[1, 2]", "array"),
        ('"text"', "string"),
        ("null", "null"),
        ("<!DOCTYPE html><html></html>", "HTML"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs"),
    ],
)
def test_what_is_no_json_object_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text)


@given(st.binary(max_size=60))
def test_no_bytes_lead_to_another_error(
    limits: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = write(tmp_path_factory.mktemp("j01"), data)
    with suppress(ConfigError), limits():
        BertConfig.from_json_file(path)


def test_depth_digits_and_size_are_bounded(tmp_path: Path) -> None:
    assert "nested too deeply" in refusal(tmp_path, '{"a":' + "[" * 100_000 + "]" * 100_000 + "}")
    assert "not acceptable" in refusal(tmp_path, '{"hidden_size": ' + "9" * 5000 + "}")
    assert "more than" in refusal(tmp_path, '{"a": "' + "x" * (5 * 2**20) + '"}')


def test_a_key_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    assert "'hidden_size' occurs twice" in refusal(tmp_path, '{"hidden_size": 768, "hidden_size": 1024}')


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "-1e999"])
def test_numbers_that_are_none_are_refused(tmp_path: Path, number: str) -> None:
    assert number in refusal(tmp_path, f'{{"layer_norm_eps": {number}}}')


def test_only_utf8_is_read_and_a_byte_order_mark_is_tolerated(tmp_path: Path) -> None:
    assert BertConfig.from_json_file(write(tmp_path, b'\xef\xbb\xbf{"hidden_size": 12}')).hidden_size == 12
    assert "UTF-8" in refusal(tmp_path, '{"hidden_act": "gelu"}'.encode("utf-16"))
    assert "UTF-8" in refusal(tmp_path, '{"é": 1}'.encode("latin-1"))
    refusal(tmp_path, '{"hidden_act": "\\ud800"}')  # a lone surrogate is not an activation


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", True),
        ("hidden_size", "768"),
        ("hidden_size", 768.0),
        ("hidden_size", None),
        ("hidden_size", -12),
        ("hidden_size", [768]),
        ("num_hidden_layers", 10**12),
        ("hidden_dropout_prob", 1.5),
        ("hidden_act", 7),
        ("num_labels", 0),
        ("num_labels", True),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_named_with_what_is_allowed(
    tmp_path: Path, key: str, value: object
) -> None:
    message = refusal(tmp_path, json.dumps({key: value}))
    assert f"{key} must be" in message
    assert f"not {value!r}" in message


def test_absurd_products_are_refused_before_anything_is_built(tmp_path: Path) -> None:
    message = refusal(
        tmp_path, json.dumps({"hidden_size": 12_000, "intermediate_size": 48_000, "num_hidden_layers": 1000})
    )
    assert "more than 20,000,000,000 parameters look like a damaged file" in message


def test_values_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    assert "must divide hidden_size (770)" in refusal(tmp_path, '{"hidden_size": 770}')
    assert "pad_token_id (9) must be below vocab_size (5)" in refusal(tmp_path, '{"vocab_size": 5, "pad_token_id": 9}')
    assert "hidden_act must be one of" in refusal(tmp_path, '{"hidden_act": "gelou"}')


def test_unknown_keys_never_reach_the_object(tmp_path: Path) -> None:
    config = BertConfig.from_json_file(write(tmp_path, '{"to_dict": 1, "__class__": "x", "_labels": 2}'))
    assert config.to_dict()["to_dict"] == 1
    assert type(config) is BertConfig
    assert dict(config.extra) == {"to_dict": 1, "__class__": "x", "_labels": 2}


@pytest.mark.parametrize("path", ["os.system", "torch.nn.functional.gelu", "os:system"])
def test_an_activation_is_a_known_word_and_never_an_import_path(tmp_path: Path, path: str) -> None:
    assert "hidden_act" in refusal(tmp_path, json.dumps({"hidden_act": path}))
    assert path not in ACTIVATIONS


def test_a_newer_file_is_read_when_the_known_keys_suffice(tmp_path: Path) -> None:
    text = json.dumps({**PUBLISHED, "model_type": "bert", "schema": 7, "rope_scaling": {"type": "none"}})
    assert BertConfig.from_json_file(write(tmp_path, text)).extra["schema"] == 7


@pytest.mark.parametrize(
    "keys", [{"position_embedding_type": "relative_key"}, {"is_decoder": True}, {"add_cross_attention": True}]
)
def test_keys_that_would_change_the_numbers_are_refused_rather_than_ignored(keys: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        BertConfig.from_dict(keys)


# --- Set, as libraries that train do ----------------------------------------------------------------------------------


def test_a_field_that_is_set_is_checked_with_those_that_depend_on_it() -> None:
    config: Any = BertConfig(hidden_size=12, num_attention_heads=3)
    config.hidden_dropout_prob = 0.5
    assert config.hidden_dropout_prob == 0.5
    for name, value in (("hidden_dropout_prob", 2), ("num_attention_heads", 5), ("use_cache", "yes")):
        before = config.to_dict()
        with pytest.raises(ConfigError, match=name):
            setattr(config, name, value)
        assert config.to_dict() == before


def test_labels_follow_each_other_when_one_of_them_is_set() -> None:
    config: Any = BertConfig()
    config.num_labels = 3
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    config.id2label = {0: "no", 1: "yes"}
    assert (config.num_labels, config.label2id) == (2, {"no": 0, "yes": 1})
    config.label2id = {"a": 0, "b": 1, "c": 2}
    assert (config.num_labels, config.id2label) == (3, {0: "a", 1: "b", 2: "c"})


def test_another_name_of_a_field_sets_and_gives_it() -> None:
    config: Any = Aliased()
    config.n_token = 7
    assert (config.vocab_size, config.n_token) == (7, 7)


def test_what_no_field_has_is_kept_aside_and_written_where_json_can_hold_it(tmp_path: Path) -> None:
    config: Any = BertConfig()
    config.a_note, config.an_object = {"by": "me"}, object()
    assert config.a_note == {"by": "me"}
    assert config == BertConfig()
    assert hash(config) == hash(BertConfig())
    assert config.replace(vocab_size=9).a_note == {"by": "me"}
    del config.aside["an_object"]
    assert pickle.loads(pickle.dumps(config)).a_note == copy.deepcopy(config).a_note == {"by": "me"}
    config.an_object = object()
    config.to_json_file(tmp_path / "config.json")
    again = BertConfig.from_json_file(tmp_path / "config.json")
    assert again.extra == {"a_note": {"by": "me"}}
    with pytest.raises(AttributeError, match="no attribute 'another'"):
        _ = config.another


def test_a_name_can_be_looked_for() -> None:
    config: Any = Aliased.from_dict({"of_the_file": 1})
    config.set_later = 2
    assert all(name in config for name in ("vocab_size", "n_token", "of_the_file", "set_later", "num_labels"))
    assert "nothing" not in config
    assert 3 not in config


def test_what_only_calls_look_at_is_written_where_it_is_not_the_default() -> None:
    names = {"output_hidden_states", "output_attentions", "use_cache", "return_dict"}
    assert not names & BertConfig().to_dict().keys()
    changed = BertConfig(output_attentions=True, use_cache=False)
    assert {name: changed.to_dict()[name] for name in names & changed.to_dict().keys()} == {
        "output_attentions": True,
        "use_cache": False,
    }
    assert BertConfig.from_dict(changed.to_dict()) == changed
    assert BertConfig.from_dict({"use_cache": None, "output_attentions": None}) == BertConfig()
