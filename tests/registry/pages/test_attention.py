"""The picture of attention: the numbers on the page are those of the model, and the page is one file."""

import base64
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner, Result

import registry
from plugins.bert.config import BertConfig
from plugins.bert.modeling import BertModel
from plugins.bert.tokenization import BertTokenizer
from plugins.gpt2.config import GPT2Config
from plugins.gpt2.modeling import GPT2Model
from plugins.gpt2.tokenization import GPT2Tokenizer
from registry.cli import main
from registry.errors import InputError, RegistryWarning
from registry.pages.attention import attention_page
from registry.tokenization.byte_level import bytes_to_unicode

TEXT = "the cat sat on the mat."
STORED = ("weights", "counts", "columns", "values")
HOSTILE = 'a</script><script>alert("1")</script><b>&'


@pytest.fixture
def encoder(tmp_path: Path, sizes: dict[str, int], vocab_file: Path) -> Path:
    torch.manual_seed(0)
    model = BertModel(BertConfig(**sizes)).eval()
    for parameter in model.parameters():  # far from uniform
        parameter.data += 0.3 * torch.randn_like(parameter)
    return registry.save(model, tmp_path / "encoder", tokenizer=BertTokenizer(vocab_file, max_len=64))


@pytest.fixture
def causal(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = GPT2Model(GPT2Config(vocab_size=256, n_positions=64, n_embd=24, n_layer=3, n_head=2)).eval()
    tokenizer = GPT2Tokenizer({token: number for number, token in enumerate(bytes_to_unicode().values())}, [])
    return registry.save(model, tmp_path / "causal", tokenizer=tokenizer)


def data_of(page: str) -> dict[str, Any]:
    """What the page has for its script."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    shape = (data["layers"], data["heads"], len(data["tokens"]), len(data["tokens"]))
    stored = {name: np.frombuffer(base64.b64decode(data[name]), "<u2") for name in STORED if name in data}
    if "weights" in stored:
        data["weights"] = stored["weights"].reshape(shape) / 65535
    else:
        weights = np.zeros((math.prod(shape[:3]), shape[3]))
        weights[np.repeat(np.arange(len(weights)), stored["counts"]), stored["columns"]] = stored["values"] / 65535
        data["weights"] = weights.reshape(shape)
    return data


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="registry")


def test_the_weights_are_those_that_transformers_computes(encoder: Path) -> None:
    loaded = registry.load(encoder, "base")
    data = data_of(attention_page(loaded, "encoder", TEXT))
    assert (data["layers"], data["heads"]) == (2, 4)
    assert data["tokens"] == ["[CLS]", "the", "cat", "sat", "on", "the", "mat", ".", "[SEP]"]
    assert data["added"] == [True, *[False] * 7, True]
    theirs = transformers.BertModel.from_pretrained(encoder, attn_implementation="eager").eval()
    with torch.inference_mode():
        attentions = theirs(**loaded.tokenizer([TEXT], return_tensors="pt"), output_attentions=True).attentions
    np.testing.assert_allclose(data["weights"], torch.cat(attentions).numpy(), atol=1e-5)


def test_a_causal_model_attends_to_earlier_tokens_only_and_its_blanks_can_be_seen(causal: Path) -> None:
    data = data_of(attention_page(registry.load(causal, "base"), "causal", "a\n b"))
    assert data["tokens"] == ["a", "↵", "␣", "b"]
    assert data["added"] == [False] * 4
    assert data["weights"].shape == (3, 2, 4, 4)
    assert not np.triu(data["weights"], 1).any()
    np.testing.assert_allclose(data["weights"].sum(-1), 1, atol=1e-4)


def test_a_text_is_text(encoder: Path) -> None:
    page = attention_page(registry.load(encoder, "base"), HOSTILE, HOSTILE)
    assert "alert(" in page
    assert '<script>alert("1")' not in page
    assert page.count("<script") == page.count("</script>") == 2
    assert "".join(data_of(page)["tokens"][1:-1]) == HOSTILE


def test_the_page_refers_to_nothing(encoder: Path) -> None:
    page = attention_page(registry.load(encoder, "base"), "encoder", TEXT)
    assert not re.search(r"""(src|href)=["'](?!data:)|url\(|@import|fetch\(|https?:(?!//www\.w3\.org/)""", page)


def test_what_cannot_be_drawn_is_refused(causal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = registry.load(causal, "base")
    with pytest.raises(InputError, match="The text has no tokens"):
        attention_page(loaded, "causal", "")
    monkeypatch.setattr("registry.pages.attention.MOST_ROWS", 50)
    with pytest.raises(InputError, match=r"3 layers of 2 heads over 10 tokens are too much[\s\S]*at most 8 tokens"):
        attention_page(loaded, "causal", "a" * 10)


def test_a_long_text_keeps_the_largest_weights(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = registry.load(encoder, "base")
    whole = data_of(attention_page(loaded, "encoder", TEXT))
    monkeypatch.setattr("registry.pages.attention.MOST_DENSE", 0)
    monkeypatch.setattr("registry.pages.attention.MOST_STORED", 100)
    part = data_of(attention_page(loaded, "encoder", TEXT))
    kept = part["weights"] > 0
    assert 50 < kept.sum() <= 100
    np.testing.assert_array_equal(part["weights"][kept], whole["weights"][kept])
    assert whole["weights"][~kept].max() < part["faint"] <= part["weights"][kept].min()


def test_a_page_of_512_tokens_has_at_most_five_megabytes() -> None:
    loaded = registry.load("all-minilm-l6-v2")
    with pytest.warns(RegistryWarning, match="cut at 512 tokens"):
        page = attention_page(loaded, "long", "The violinist tuned her instrument, since it was out of tune. " * 60)
    assert len(page.encode()) < 5_000_000
    assert len(data_of(page)["tokens"]) == 512


def test_a_text_that_is_cut_says_so(encoder: Path) -> None:
    with pytest.warns(RegistryWarning, match=r"cut at 64 tokens.* its last 160 characters"):
        page = attention_page(registry.load(encoder, "base"), "encoder", "the " * 102)
    assert "its last 160 characters are not on the page" in page


def test_a_pair_is_computed_as_transformers_does(encoder: Path) -> None:
    loaded = registry.load(encoder, "base")
    data = data_of(attention_page(loaded, "encoder", "the cat sat", "on the mat"))
    assert data["tokens"] == ["[CLS]", "the", "cat", "sat", "[SEP]", "on", "the", "mat", "[SEP]"]
    assert data["parts"] == [None, 0, 0, 0, None, 1, 1, 1, None]
    assert data["patterns"][-1] == "other text"
    theirs = transformers.BertModel.from_pretrained(encoder, attn_implementation="eager").eval()
    batch = loaded.tokenizer(["the cat sat"], ["on the mat"], return_tensors="pt")
    with torch.inference_mode():
        attentions = torch.cat(theirs(**batch, output_attentions=True).attentions)
    np.testing.assert_allclose(data["weights"], attentions.numpy(), atol=1e-5)
    shares = attentions[:, :, 1:4, 5:8].sum((-1, -2)) + attentions[:, :, 5:8, 1:4].sum((-1, -2))
    np.testing.assert_allclose(np.array(data["profile"])[..., -1], shares.numpy() / 6, atol=1e-4)


def test_the_command_writes_the_page(encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "attention.html"
    result = run("attention", encoder, TEXT, out)
    assert (result.exit_code, result.stdout) == (0, "")
    assert re.fullmatch(rf"Wrote [\d.]+ kB; open {re.escape(str(out))}\.\n", result.stderr)
    assert data_of(out.read_text("utf-8"))["layers"] == 2
    assert run("attention", encoder, TEXT, out, "--pair", "the end").exit_code == 0
    assert 1 in data_of(out.read_text("utf-8"))["parts"]
    found = json.loads(run("attention", encoder, TEXT, out, "--json").stdout)
    assert found == {"path": str(out), "bytes": out.stat().st_size}
    assert run("attention", "no-such-model", TEXT, out).exit_code == 3
