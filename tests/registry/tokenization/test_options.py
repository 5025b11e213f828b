"""Options in the files of a folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from registry.errors import ArchitectureMismatchError, ConfigError, VocabError
from registry.tokenization.added_tokens.token import AddedToken
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
        "processor_class": "Y",
    }
    assert read(tmp_path, tokenizer_config=keys) == {
        "do_lower_case": False,
        "max_len": 512,
        "cls_token": "<s>",
        "mask_token": "<mask>",
        "additional_special_tokens": ["<a>", "<b>"],
        "added_tokens": [AddedToken("<mask>", special=True, normalized=True, lstrip=False)],
        "extra": {"processor_class": "Y"},
    }


def test_a_length_may_be_written_with_a_point(tmp_path: Path) -> None:
    assert read(tmp_path, tokenizer_config={"model_max_length": 512.0}) == {"max_len": 512}


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
        ('{"model_max_length": "512"}', "model_max_length must be a whole number"),
        ('{"cls_token": 5}', "cls_token must be a token"),
        ('{"added_tokens_decoder": {"x": {"content": "y"}}}', "an added token must have"),
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
    assert sorted(found.pop("added_tokens")) == [
        AddedToken("[PAD]", 0, special=True),
        AddedToken("x", 9, normalized=False),
        AddedToken("y", 10),
    ]
    assert found == {}


FLAGS = {"lstrip": True, "rstrip": False, "single_word": False}


def test_flags_are_those_of_the_file_that_transformers_takes(tmp_path: Path) -> None:
    tokens = {name: {"content": name, **FLAGS} for name in ("[A]", "[B]", "[C]")}
    found = read(
        tmp_path,
        tokenizer_config={"mask_token": tokens["[A]"], "added_tokens_decoder": {"7": {"content": "[C]"}}},
        special_tokens_map={"cls_token": tokens["[B]"], "sep_token": tokens["[C]"]},
        added_tokens={"[B]": 6},
        tokenizer={"added_tokens": [{"id": 7, **tokens["[C]"]}, {"id": 8, "content": "d", "single_word": True}]},
    )
    assert found["added_tokens"] == [
        AddedToken("[A]", special=True, lstrip=True, rstrip=False),
        AddedToken("[B]", 6),
        AddedToken("[C]", 7),
        AddedToken("d", 8, single_word=True),
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[]", "Expecting '{'"),
        ('{"version": 1', "Expecting ','"),
        ('{"added_tokens": 5}', "added_tokens must be a list"),
        ('{"added_tokens": ["x"]}', "added_tokens must be a list"),
        ('{"added_tokens": [{"content": ""}]}', "an added token must have a content"),
        ('{"added_tokens": [{"content": "x", "id": "5"}]}', "an added token must have"),
        ('{"added_tokens": [{"content": "x", "id": 5, "lstrip": 1}]}', "an added token must have"),
    ],
)
def test_damaged_tokens_of_a_tokenizer_json_are_refused_by_name(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(VocabError, match=rf"tokenizer\.json.*{fault}"):
        read(tmp_path, tokenizer=text)
    assert read(tmp_path, tokenizer="{}") == read(tmp_path, tokenizer='{"a": [1, {}], "added_tokens": null}') == {}


def test_files_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VocabError, match=r"special_tokens_map\.json says that cls_token is '<s>'"):
        read(tmp_path, tokenizer_config={"cls_token": "[CLS]"}, special_tokens_map={"cls_token": "<s>"})
    decoder = {"added_tokens_decoder": {"4": {"content": "x"}}}
    with pytest.raises(VocabError, match=r"config\.json says that the token 'x' has the id 4; .*tokens\.json says 5"):
        read(tmp_path, tokenizer_config=decoder, added_tokens={"x": 5})
    with pytest.raises(VocabError, match=r"config\.json gives the id 4 to the token 'x', and .*tokenizer\.json .*'y'"):
        read(tmp_path, tokenizer_config=decoder, tokenizer={"added_tokens": [{"id": 4, "content": "y"}]})


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    values = {
        "max_len": 7, "do_lower_case": False, "cls_token": "<s>", "additional_special_tokens": ["x"],
    }  # fmt: skip
    added = [AddedToken("x", 9, True, False, True, False, False), AddedToken("y", 10, False, True, False, True, True)]
    options = {**dict.fromkeys(KNOWN), "added_tokens": {token.content: token for token in added}, **values}
    text = as_text({**options, "split_special_tokens": True}, "BertTokenizer")
    assert read(tmp_path, tokenizer_config=text) == {**values, "split_special_tokens": True, "added_tokens": added}
