"""Keys of a ``tokenizer_config.json``: obeyed, refused, or kept."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, BertTokenizerFast, GPT2TokenizerFast, LlamaTokenizer, OpenAIGPTTokenizer

from plugins.bert.tokenization import BertTokenizer
from plugins.gpt2.tokenization import GPT2Tokenizer
from registry.errors import ConfigError, VocabError
from registry.tokenization.published.keys import NEUTRAL, OBEYED, PATHS, kept_keys

SMALL = Path(__file__).parents[3] / "fixtures" / "vocabularies"
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "one", "two", "three", "four", "five", "<i>"]
VOCAB = {token: number for number, token in enumerate(TOKENS)}
TEXT = "one two three four five"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What transformers saves of a BERT tokenizer, with its vocabulary next to it."""
    BertTokenizerFast(vocab=VOCAB).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in VOCAB))
    return tmp_path


def change(folder: Path, **keys: Any) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def both(folder: Path, *texts: Any, **keywords: Any) -> list[Any]:
    tokenizers = BertTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    return [tokenizer(*texts, **keywords)["input_ids"] for tokenizer in tokenizers]


def test_sides_of_a_configuration_are_obeyed_and_written_back(folder: Path, tmp_path: Path) -> None:
    change(folder, padding_side="left", truncation_side="left")
    ours, theirs = both(folder, [TEXT, "one"], truncation=True, max_length=5, padding=True)
    assert ours == theirs == [[2, 7, 8, 9, 3], [0, 0, 2, 5, 3]]
    saved = tmp_path / "saved"
    BertTokenizer.from_pretrained(folder).save_pretrained(saved)
    (saved / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert both(saved, [TEXT, "one"], truncation=True, max_length=5, padding=True) == [ours, theirs]


@pytest.mark.parametrize("are_last", [False, True])
def test_sides_of_a_tokenizer_json_are_obeyed_unless_the_configuration_says_otherwise(
    folder: Path, are_last: bool
) -> None:
    path = folder / "tokenizer.json"
    keys = json.loads(path.read_text())
    keys["truncation"] = {"direction": "Left", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    keys["padding"] = {
        "strategy": {"Fixed": 7}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "[PAD]",
    }  # fmt: skip
    if are_last:
        keys = dict(sorted(keys.items(), key=lambda item: item[0] in ("truncation", "padding")))
    path.write_text(json.dumps(keys))
    ours, theirs = both(folder, [TEXT, "one"], truncation=True, max_length=5, padding=True)
    assert ours == theirs == [[2, 7, 8, 9, 3], [0, 0, 2, 5, 3]]
    change(folder, padding_side="right")
    ours, theirs = both(folder, [TEXT, "one"], truncation=True, max_length=5, padding=True)
    assert ours == theirs == [[2, 7, 8, 9, 3], [2, 5, 3, 0, 0]]


@pytest.mark.parametrize("cls", ["GPT2Tokenizer", "PreTrainedTokenizerFast", None])
def test_the_padding_of_a_tokenizer_json_is_taken_where_the_reference_takes_it(tmp_path: Path, cls: str | None) -> None:
    files = {"vocab": str(SMALL / "gpt2" / "vocab.json"), "merges": str(SMALL / "gpt2" / "merges.txt")}
    GPT2TokenizerFast(**files).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    change(tmp_path, tokenizer_class=cls)
    keys = json.loads((tmp_path / "tokenizer.json").read_text())
    keys["padding"] = {
        "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": 8, "pad_id": 5, "pad_type_id": 0,
        "pad_token": "<|endoftext|>",
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(keys))
    ours, theirs = GPT2Tokenizer.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert ours.pad_token == theirs.pad_token
    if ours.pad_token:
        assert dict(ours(["a b", "a"], padding=True)) == dict(theirs(["a b", "a"], padding=True))


def test_special_tokens_of_several_files_are_joined(folder: Path) -> None:
    change(folder, extra_special_tokens=["one"], image_token="<i>")
    (folder / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": ["two", "one"]}))
    assert set(BertTokenizer.from_pretrained(folder).additional_special_tokens) == {"one", "two", "<i>"}


def test_columns_of_a_configuration_are_obeyed(folder: Path) -> None:
    change(folder, model_input_names=["input_ids", "attention_mask"])
    assert list(BertTokenizer.from_pretrained(folder)("one")) == list(AutoTokenizer.from_pretrained(folder)("one"))


def test_clean_up_of_a_configuration_is_obeyed_for_words_and_ignored_for_byte_pairs(folder: Path) -> None:
    change(folder, clean_up_tokenization_spaces=True)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in [*VOCAB, ".", "'", "n", "t", "?"]))
    tokenizer = BertTokenizer.from_pretrained(folder)
    theirs = BertTokenizerFast(str(folder / "vocab.txt"), clean_up_tokenization_spaces=True)
    ids = tokenizer.encode("one n ' t two . three ?")
    assert tokenizer.decode(ids) == theirs.decode(ids) == "[CLS] onen't two. three? [SEP]"
    files = {"vocab": str(SMALL / "gpt2" / "vocab.json"), "merges": str(SMALL / "gpt2" / "merges.txt")}
    gpt2 = GPT2Tokenizer(files["vocab"], files["merges"], clean_up_tokenization_spaces=True)
    text = "one n ' t two . three ?"
    assert gpt2.decode(gpt2.encode(text)) == text
    assert GPT2TokenizerFast(**files, clean_up_tokenization_spaces=True).decode(gpt2.encode(text)) == text


@pytest.mark.parametrize("key", sorted(NEUTRAL))
def test_a_key_that_would_change_ids_is_refused_unless_it_is_neutral(folder: Path, key: str) -> None:
    for value in NEUTRAL[key]:
        change(folder, **{key: value})
        assert BertTokenizer.from_pretrained(folder).extra[key] == value
    other = {bool: True, int: 0.1, str: "other", dict: {"alpha": 0.1}}[type(NEUTRAL[key][0])]
    change(folder, **{key: False if NEUTRAL[key][0] is True else other})
    with pytest.raises(ConfigError, match=rf"tokenizer_config\.json: {key} is .* the ids would differ"):
        BertTokenizer.from_pretrained(folder)


def test_a_named_special_token_of_a_model_is_special(folder: Path) -> None:
    change(folder, image_token="<i>")
    ours, theirs = both(folder, "one<i>two")
    assert ours == theirs == [2, 5, 10, 6, 3]
    change(folder, extra_special_tokens={"image_token": "<i>"})
    assert both(folder, "one<i>two") == [ours, theirs]
    change(folder, image_token="<absent>")
    with pytest.raises(VocabError, match="'<absent>' is declared a special token"):
        BertTokenizer.from_pretrained(folder)


def test_all_other_keys_are_written_back_as_they_were_read(folder: Path, tmp_path: Path) -> None:
    kept = {
        "auto_map": {"AutoTokenizer": ["x.Y", None]}, "processor_class": "Z", "use_default_system_prompt": None,
        "chat_control_tokens": ["<a>"], "extra": {"a": 1}, "trim_offsets": True, "do_lowercase": False, "max_length": 9,
        "odd": {"content": "not a token"}, "from_slow": True,
    }  # fmt: skip
    change(folder, **kept, name_or_path="/home/someone/x", tokenizer_file="/home/someone/y")
    tokenizer = BertTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(tmp_path / "saved")
    written = json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())
    assert {key: written[key] for key in kept} == kept
    assert not written.keys() & {*PATHS}
    assert BertTokenizer.from_pretrained(tmp_path / "saved").extra == tokenizer.extra


def test_every_keyword_of_the_reference_is_accounted_for() -> None:
    """A keyword that a later version of transformers adds must be sorted into the table."""
    known = {*OBEYED, *PATHS, *NEUTRAL, *BertTokenizer.options, *GPT2Tokenizer.options}
    harmless = {"vocab", "merges", "kwargs", "self", "use_default_system_prompt", "legacy"}
    for cls in (BertTokenizerFast, GPT2TokenizerFast, OpenAIGPTTokenizer, LlamaTokenizer):
        assert set(inspect.signature(cls.__init__).parameters) <= known | harmless


def test_an_option_of_the_tokenizer_is_no_key_to_keep() -> None:
    assert kept_keys({"add_bos_token": True, "x": 1, "a_token": "<a>"}, {"add_bos_token"}, "file") == {"x": 1}
