"""JSON that all readers agree on; what configurations make of it is tested with them."""

from pathlib import Path

import pytest

from registry.errors import ConfigError, CorruptWeightsError, UnsafeWeightsError, VocabError
from registry.files.strict_json import (
    most_values,
    parse_json_object,
    read_json_array,
    read_json_member,
    read_json_object,
)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', "the key 'c' occurs twice"),
        (b'{"a": NaN}', "NaN is not a number in JSON"),
        (b'{"a": -Infinity}', "-Infinity is not a number in JSON"),
        (b'{"a": 1e999}', "1e999 is larger than any floating-point number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not acceptable"),
        (b'{"a": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"a": "\xff"}', "byte 7 is 0xff"),
        (b'{"a": 1', "line 1, column 8"),
        (b"[1]", "holds a JSON array where an object"),
        (b"null", "holds a JSON null where an object"),
        (b"", "is not JSON"),
        (b"<!DOCTYPE html><html>", "looks like an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "looks like a git-lfs pointer .*`git lfs pull`"),
        (b"\x1f\x8b\x08\x00", "not UTF-8 text: .*; it looks like a gzip file"),
        (b"PK\x03\x04\x00", "looks like a zip archive"),
    ],
)
def test_what_readers_would_take_differently_is_refused_with_its_place(data: bytes, words: str) -> None:
    with pytest.raises(VocabError, match=f"^here .*{words}"):
        parse_json_object(data, origin="here", error=VocabError)


def test_damaged_json_looks_like_nothing_else() -> None:
    with pytest.raises(ConfigError) as error:
        parse_json_object(b'{"a": 1', origin="here")
    assert "looks like" not in str(error.value)


def test_a_duplicate_key_may_have_an_error_of_its_own() -> None:
    errors = {"error": CorruptWeightsError, "duplicate_error": UnsafeWeightsError}
    with pytest.raises(UnsafeWeightsError, match="'a' occurs twice"):
        parse_json_object(b'{"a": 1, "a": 1}', origin="here", **errors)
    for data in (b"{", b'{"a": NaN}', b"[]"):
        with pytest.raises(CorruptWeightsError):
            parse_json_object(data, origin="here", **errors)


def test_a_byte_order_mark_is_tolerated(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json_object(tmp_path / "file") == {"a": 1}


def test_sizes_are_bounded_before_anything_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"[1, 2, 3]")
    assert read_json_array(path, limit=9, values=4) == [1, 2, 3]
    with pytest.raises(ConfigError, match="more than 8 bytes"):
        read_json_array(path, limit=8)
    with pytest.raises(ConfigError, match="more than 3 values"):
        read_json_array(path, values=3)
    with pytest.raises(ConfigError, match="could not be read"):
        read_json_array(tmp_path / "nowhere")


@pytest.mark.parametrize("data", [b"1", b"[]", b'{"a": [1, 2, {"b": 3}], "c": ","}'])
def test_values_are_never_more_than_their_bound(data: bytes) -> None:
    import json

    def count(value: object) -> int:
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return 1 + sum(map(count, parts))

    assert count(json.loads(data)) <= most_values(data)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1, "b": [{"c": null}], damaged', [{"c": None}]),
        ('\ufeff \n{ "b"\t: "x" }', "x"),
        ('{"a": {"b": 1}}', None),
        ("{}", None),
    ],
)
def test_a_member_is_read_without_what_follows_it(tmp_path: Path, text: str, value: object) -> None:
    (tmp_path / "x.json").write_text(text)
    assert read_json_member(tmp_path / "x.json", "b", limit=100) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "Expecting '{' at line 1"),
        ('{"a" 1}', "Expecting ':'"),
        ('{"a": 1 "b": 2}', "Expecting ','"),
        ('{"a": {"c": 1, "c": 2}, "b": 3}', "the key 'c' occurs twice"),
        ('{"a": NaN, "b": 3}', "NaN"),
        ('{"a": [1', "is not JSON"),
        ('{"a": 1', "Expecting ','"),
        ("", "is not JSON"),
    ],
)
def test_damage_before_a_member_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(VocabError, match=rf"x\.json.*{words}"):
        read_json_member(tmp_path / "x.json", "b", limit=100, error=VocabError)
