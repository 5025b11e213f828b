"""``registry search``, ``info`` and ``config``: models with a card, saved directories and hub repositories."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import registry
from plugins.gpt2.config import GPT2Config
from registry import Card, hookimpl

FOUND = [
    {
        "id": "acme/tiny-bert",
        "tags": ["pytorch", "bert", "license:mit"],
        "pipeline_tag": "fill-mask",
        "downloads": 4321,
    },
    {"id": "acme/strange", "tags": ["strangeformer"], "downloads": 9},
]


@pytest.fixture
def hub(server: Any, monkeypatch: pytest.MonkeyPatch, loopback: None) -> Any:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


@pytest.fixture
def described() -> None:
    cards = (
        Card(name="one", architecture="bert", task="base", files=(), description="Embeddings of German sentences."),
        Card(name="two", architecture="gpt2", task="causal-lm", files=(), languages=("de",)),
    )
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: cards)), "described")


# --- search -----------------------------------------------------------------------------------------------------------


def test_all_words_are_searched_in_everything_that_a_card_says(described: None, run: Any) -> None:
    for words, expected in (
        (["german"], "one"),
        (["BERT", "sentences"], "one"),
        (["causal", "de"], "two"),
    ):
        rows = run("search", *words, "--no-hub").stdout.splitlines()[1:]
        assert expected in [row.split()[0] for row in rows], words
    result = run("search", "german", "causal-lm")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No model matches 'german causal-lm'.\n")


def test_the_hub_is_searched_where_downloads_are_allowed(hub: Any, described: None, run: Any) -> None:
    hub.add("/api/models", json.dumps(FOUND).encode())
    result = run("search", "tiny", "bert", "--limit", 5)
    assert hub.requests[0].query == "search=tiny+bert&limit=5&sort=downloads&direction=-1"
    line = next(line for line in result.stdout.splitlines() if "acme" in line)
    assert line.split() == ["acme/tiny-bert", "bert", "fill-mask", "4.32", "k"]
    assert "1 more on the hub are of architectures that no installed plugin loads" in result.stderr
    shown = json.loads(run("search", "tiny", "--all", "--json").stdout)["hub"]
    assert [(model["name"], model["architecture"]) for model in shown] == [
        ("acme/tiny-bert", "bert"),
        ("acme/strange", None),
    ]


@pytest.mark.parametrize("answer", [b"<html>", b'{"a": 1}', b'[{"name": 1}]', None])
def test_a_hub_that_fails_is_a_remark_unless_it_was_asked_for(
    hub: Any, reply: Any, described: None, run: Any, answer: bytes | None
) -> None:
    hub.add("/api/models", reply(b"", 503) if answer is None else answer)
    result = run("search", "german")
    assert result.exit_code == 0
    assert "\none " in result.stdout
    assert result.stderr.startswith("The hub was not searched: ")
    assert run("search", "german", "--hub").exit_code == 1


# --- info -------------------------------------------------------------------------------------------------------------


def test_a_saved_directory_is_described(masked_lm: Path, run: Any) -> None:
    lines = run("info", masked_lm).stdout.splitlines()
    fields = dict(line.split("  ", 1) for line in lines if "  " in line)
    assert fields["architecture"].strip() == "bert"
    assert fields["task"].strip() == "masked-lm"
    assert fields["class"].strip() == "BertForMaskedLM"
    assert fields["context"].strip().endswith(" tokens")
    assert "numbers in" in fields["weights"]
    assert "torch-registry" in fields["saved by"]
    found = json.loads(run("info", masked_lm, "--json").stdout)
    sizes = {file["filename"]: file["size"] for file in found["files"]}
    assert sizes["model.safetensors"] == (masked_lm / "model.safetensors").stat().st_size
    assert found["saved_by"].startswith("torch-registry")


def test_a_hub_repository_is_described_by_its_listing_and_configuration(hub: Any, run: Any) -> None:
    config = GPT2Config(vocab_size=100, n_layer=3, n_head=4, n_embd=32, n_positions=64).to_json_string()
    hub.hub("me/small", {"config.json": config.encode(), "model.safetensors": b"x" * 5000})
    listing = {"sha": "a" * 40, "siblings": [{"rfilename": "config.json"}, {"rfilename": "model.safetensors"}]}
    body = json.dumps({**listing, "tags": ["gpt2", "license:mit"]}).encode()
    hub.add("/api/models/me/small/revision/main", body)
    found = json.loads(run("info", "me/small", "--json").stdout)
    assert (found["architecture"], found["layers"], found["context"]) == ("gpt2", "3", "64 tokens")
    assert (found["license"], found["commit"]) == ("mit", "a" * 40)
    assert found["files"][1] == {"filename": "model.safetensors", "size": None}
    assert not any("cdn" in request.path for request in hub.requests), "no weights are fetched"


# --- config -----------------------------------------------------------------------------------------------------------


def test_each_value_of_a_configuration_is_shown_with_its_origin(tmp_path: Path, run: Any) -> None:
    keys = {"model_type": "gpt2", "n_layer": 3, "hidden_size": 96, "colour": "red", "num_labels": 3}
    (tmp_path / "config.json").write_text(json.dumps(keys))
    found = json.loads(run("config", tmp_path, "--set", "n_head=4", "--json").stdout)
    assert found["n_layer"] == {"value": 3, "from": "config.json"}
    assert found["n_embd"] == {"value": 96, "from": "config.json (hidden_size)"}
    assert found["n_head"] == {"value": 4, "from": "--set"}
    assert found["vocab_size"]["from"] == "default"
    assert found["colour"] == {"value": "red", "from": "config.json, not used"}
    assert found["id2label"]["from"] == "config.json (num_labels)"
    row = next(line for line in run("config", tmp_path).stdout.splitlines() if line.startswith("n_embd "))
    assert row.split() == ["n_embd", "96", "config.json", "(hidden_size)"]


def test_a_card_whose_configuration_is_not_here_shows_its_own_values(run: Any) -> None:
    result = run("config", "gpt2-xl", "--json")
    assert "not on this computer" in result.stderr
    found = json.loads(result.stdout)
    assert found["n_layer"] == {"value": 48, "from": "card"}
    assert found["n_positions"]["from"] == "default"


# --- Misspelled values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "suggestion"),
    [("--task", "causal_ml", "causal-lm"), ("--architecture", "brt", "bert"), ("--language", "xx", "")],
)
def test_a_filter_that_no_model_can_meet_is_an_error(option: str, value: str, suggestion: str, run: Any) -> None:
    result = run("list", option, value)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"no model has the {option.removeprefix('--')} {value!r}." in result.stderr
    assert suggestion in result.stderr
    assert run("list", "no-such-name").stderr.startswith("No model is named 'no-such-name'.")
