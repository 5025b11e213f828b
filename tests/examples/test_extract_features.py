"""extract_features.py against transformers, and after an interruption."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers

LINES = ("The cat sat on the mat.", "the mat ||| Paris", "", "cat", "the cat ||| sat on", "mat")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"{line}\n" for line in LINES))
    return path


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_writes_the_hidden_states_of_transformers(
    run: Callable[..., str], source: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    printed = run("extract_features", source, tmp_path / "out.jsonl", "--model", tiny_bert, "--layers", "-1,0")
    assert "6 lines" in printed
    model = transformers.BertModel.from_pretrained(tiny_bert).eval()
    tokenizer = transformers.BertTokenizerFast.from_pretrained(tiny_bert)
    found = read(tmp_path / "out.jsonl")
    assert [item["linex_index"] for item in found] == list(range(len(LINES)))
    for item, line in zip(found, LINES, strict=True):
        batch = tokenizer(*line.split(" ||| "), return_tensors="pt")
        with torch.inference_mode():
            states = model(**batch, output_hidden_states=True).hidden_states
        assert [feature["token"] for feature in item["features"]] == batch.tokens()
        for place, feature in enumerate(item["features"]):
            assert [layer["index"] for layer in feature["layers"]] == [-1, 0]
            assert feature["layers"][0]["values"] == pytest.approx(states[-1][0, place].tolist(), abs=1e-5)
            assert feature["layers"][1]["values"] == pytest.approx(states[1][0, place].tolist(), abs=1e-5)


def test_what_was_interrupted_goes_on(
    run: Callable[..., str], example: Callable[[str], ModuleType], source: Path, tiny_bert: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    command = (
        "extract_features",
        source,
        tmp_path / "out.jsonl",
        "--model",
        tiny_bert,
        "--layers",
        "-1",
        "--batch-size",
        1,
    )
    module = example("extract_features")
    features = module.features

    def interrupted(pretrained: Any, texts: Any, *rest: Any) -> Any:
        if texts == ["cat"]:
            signal.raise_signal(signal.SIGINT)
        return features(pretrained, texts, *rest)

    monkeypatch.setattr(module, "features", interrupted)
    run(*command, exit_code=130)
    assert not (tmp_path / "out.jsonl").exists()
    partial = tmp_path / "out.jsonl.partial"
    assert len(read(partial)) == 4
    partial.write_bytes(partial.read_bytes() + b'{"linex_index": 4, "fea')  # as if the power had failed
    monkeypatch.setattr(module, "features", features)
    run(*command)
    parts = (tmp_path / "out.jsonl").read_text()
    assert not partial.exists()
    run("extract_features", source, tmp_path / "whole.jsonl", "--model", tiny_bert, "--layers", "-1", "--batch-size", 1)
    assert parts == (tmp_path / "whole.jsonl").read_text()


@pytest.mark.parametrize("layers", ["last", "2", "-3", ""])
def test_layers_that_are_not_there_are_wrong_usage(
    run: Callable[..., str], source: Path, tiny_bert: Path, tmp_path: Path, layers: str
) -> None:
    run("extract_features", source, tmp_path / "out.jsonl", "--model", tiny_bert, "--layers", layers, exit_code=2)
