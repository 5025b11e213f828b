"""``registry fill-mask``: the words behind the mask."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import registry

TEXT = "the cat sat on the [MASK]."


def test_the_likeliest_words_are_shown_in_their_text(masked_lm: Path, run: Any) -> None:
    lines = run("fill-mask", TEXT, "--model", masked_lm, "--top", 3).output.splitlines()
    assert lines[0].split() == ["word", "probability", "text"]
    assert lines[1].startswith("mat ")
    assert lines[1].endswith("the cat sat on the mat.")
    assert len(lines) == 4


def test_probabilities_are_the_softmax_of_the_scores(masked_lm: Path, run: Any) -> None:
    text = "the [MASK] sat on the [MASK]."
    (answer,) = json.loads(run("fill-mask", text, "-m", masked_lm, "--json").output)
    loaded = registry.load(masked_lm, "masked-lm")
    batch = loaded.tokenizer([text], return_tensors="pt")
    places = [i for i, id_ in enumerate(batch["input_ids"][0].tolist()) if id_ == loaded.tokenizer.vocab["[MASK]"]]
    with torch.inference_mode():
        scores = loaded.model(**batch).logits[0]
    assert answer["text"] == text
    assert len(answer["masks"]) == len(places) == 2
    for words, place in zip(answer["masks"], places, strict=True):
        chances = scores[place].exp() / scores[place].exp().sum()
        order = chances.argsort(descending=True)[:5].tolist()
        assert [word["id"] for word in words] == order
        assert [word["token"] for word in words] == [loaded.tokenizer.ids_to_tokens[id_] for id_ in order]
        torch.testing.assert_close(torch.tensor([word["probability"] for word in words]), chances[order])
    assert answer["masks"][0][0]["text"] == f"the {answer['masks'][0][0]['token']} sat on the [MASK]."


def test_ids_that_the_tokenizer_lacks_are_not_shown(masked_lm: Path, tmp_path: Path, run: Any) -> None:
    loaded = registry.load(masked_lm, "masked-lm")
    known = len(loaded.tokenizer)
    loaded.model.resize_token_embeddings(known + 8)
    with torch.no_grad():
        loaded.model.cls.predictions.bias[known:] = 10.0
    padded = registry.save(loaded, tmp_path / "padded")
    (expected,) = json.loads(run("fill-mask", TEXT, "-m", masked_lm, "--json").stdout)
    (answer,) = json.loads(run("fill-mask", TEXT, "-m", padded, "--json").stdout)
    assert [word["id"] for word in answer["masks"][0]] == [word["id"] for word in expected["masks"][0]]


def test_the_model_stands_first_or_is_an_option(masked_lm: Path, run: Any) -> None:
    expected = run("fill-mask", masked_lm, TEXT, TEXT)
    assert (expected.exit_code, expected.stderr) == (0, "")
    assert run("fill-mask", TEXT, TEXT, "-m", masked_lm).stdout == expected.stdout
    assert expected.stdout.count("the cat sat on the mat.") == 2


def test_a_model_whose_head_would_be_random_is_refused(encoder: Path, run: Any) -> None:
    result = run("fill-mask", TEXT, "-m", "all-minilm-l6-v2")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "the weights of 'all-minilm-l6-v2' are not for 'masked-lm': its card has" in result.stderr
    result = run("fill-mask", TEXT, "-m", encoder)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "cls.predictions." in result.stderr


@pytest.mark.filterwarnings("default::registry.errors.UntrainedWarning")
def test_a_model_that_was_saved_with_an_untrained_head_is_warned_of(encoder: Path, tmp_path: Path, run: Any) -> None:
    loaded = registry.load(encoder, "masked-lm", allow_missing=["*"])
    for weight in loaded.model.bert.parameters():
        weight.data += 0.01
    result = run("fill-mask", TEXT, "-m", loaded.save(tmp_path / "untrained"))
    assert result.exit_code == 0
    assert "warning: directory" in result.stderr
    assert "was saved with cls.predictions." in result.stderr
    assert "bert." not in result.stderr


@pytest.mark.parametrize("text", ["the cat sat.", ""])
def test_a_text_without_a_mask_is_refused(text: str, masked_lm: Path, run: Any) -> None:
    result = run("fill-mask", text, "-m", masked_lm)
    assert (result.exit_code, result.stderr) == (
        1,
        f"InputError: {text!r} has no mask.\nWrite [MASK] for the word to predict.\n",
    )


def test_a_model_of_another_kind_is_refused(writer: Path, run: Any) -> None:
    result = run("fill-mask", TEXT, "-m", writer)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("UnknownTaskError: ")
