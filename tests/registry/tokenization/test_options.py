"""Options in the files of a folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from registry.errors import ArchitectureMismatchError, ConfigError, VocabError
from registry.tokenization.options import COMMON, FLAG, as_text, read_options

KNOWN = {**COMMON, "do_lower_case": FLAG}


def read(folder: Path, **files: Any) -> dict[str, Any]:
    """The options in ``files``, given as names without their ``.json`` and the objects in them."""
    paths = {}
    for name, keys in files.items():
        paths[f"{name}.json"] = folder / f"{name}.json"
        paths[f"{name}.json"].write_text(keys if isinstance(keys, str) else json.dumps(keys))
    return read_options(paths, KNOWN, ("BertTokenizer",))


def test_keys_of_transformers_are_understood_and_others_left_alone(tmp_path: Path) -> None:
    keys = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": False,
        "model_max_length": 512,
        "cls_token": "<s>",
        "mask_token": {"content": "<mask>", "lstrip": False, "normalized": True},
        "additional_special_tokens": ["<a>", {"content": "<b>"}],
        "name_or_path": "x",
    }
    assert read(tmp_path, tokenizer_config=keys) == {
        "do_lower_case": False,
        "max_len": 512,
        "cls_token": "<s>",
        "mask_token": "<mask>",
        "additional_special_tokens": ["<a>", "<b>"],
    }


@pytest.mark.parametrize("length", [10**30, 1e30, None])
def test_no_limit_is_spelt_in_several_ways(tmp_path: Path, length: float | None) -> None:
    assert read(tmp_path, tokenizer_config={"model_max_length": length}) == {"max_len": None}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "not JSON"),
        ("[]", "array"),
        ('{"do_lower_case": tru', "line 1, column"),
        ('{"do_lower_case": true, "do_lower_case": false}', "occurs twice"),
        ('{"model_max_length": NaN}', "NaN"),
        ("{" + '"a":{' * 100_000, "nested too deeply"),
        ('{"do_lower_case": "false"}', "do_lower_case must be true or false, not 'false'"),
        ('{"model_max_length": "512"}', "max_len must be a whole number"),
        ('{"cls_token": 5}', "cls_token must be a token"),
        ('{"added_tokens_decoder": {"x": {"content": "y"}}}', "added_tokens must be"),
        ('{"added_tokens_decoder": {"5": "y"}}', "added_tokens"),
        ('{"added_tokens_decoder": [1]}', "added_tokens"),
    ],
)
def test_to_j06_a_damaged_file_is_refused_by_name(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=rf"tokenizer_config\.json.*{fault}"):
        read(tmp_path, tokenizer_config=text)


def test_a_folder_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchitectureMismatchError, match="is for a BertJapaneseTokenizer"):
        read(tmp_path, tokenizer_config={"tokenizer_class": "BertJapaneseTokenizer"})


def test_added_tokens_of_old_and_new_files_are_joined(tmp_path: Path) -> None:
    decoder = {"0": {"content": "[PAD]", "special": True}, "9": {"content": "x", "normalized": False}}
    found = read(tmp_path, tokenizer_config={"added_tokens_decoder": decoder}, added_tokens={"x": 9, "y": 10})
    assert found == {"added_tokens": {"[PAD]": 0, "x": 9, "y": 10}}


def test_files_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VocabError, match=r"special_tokens_map\.json says that cls_token is '<s>'"):
        read(tmp_path, tokenizer_config={"cls_token": "[CLS]"}, special_tokens_map={"cls_token": "<s>"})
    with pytest.raises(VocabError, match=r"added_tokens\.json says that x is 5"):
        read(tmp_path, tokenizer_config={"added_tokens_decoder": {"4": {"content": "x"}}}, added_tokens={"x": 5})


@pytest.mark.parametrize("flag", ["normalized", "single_word", "lstrip", "rstrip"])
def test_an_added_token_that_would_match_otherwise_is_refused(tmp_path: Path, flag: str) -> None:
    with pytest.raises(VocabError, match=f"adds the token 'covid' with {flag}=true"):
        read(tmp_path, tokenizer_config={"added_tokens_decoder": {"9": {"content": "covid", flag: True}}})


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    values = {
        "max_len": 7, "do_lower_case": False, "cls_token": "<s>", "added_tokens": {"x": 9},
        "additional_special_tokens": ["x"],
    }  # fmt: skip
    text = as_text({**dict.fromkeys(KNOWN), "split_special_tokens": True, **values}, "BertTokenizer")
    assert read(tmp_path, tokenizer_config=text) == {**values, "split_special_tokens": True}
