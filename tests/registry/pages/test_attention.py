"""The picture of attention: the numbers on the page are those of the model, and the page is one file."""

import base64
import json
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
from registry.errors import InputError
from registry.pages.attention import attention_page
from registry.tokenization.byte_level import bytes_to_unicode

TEXT = "the cat sat on the mat."
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
    data["weights"] = np.frombuffer(base64.b64decode(data["weights"]), "<u2").reshape(shape) / 65535
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
    monkeypatch.setattr("registry.pages.attention.MOST_BYTES", 100)
    with pytest.raises(InputError, match="3 layers of 2 heads over 10 tokens make a page of"):
        attention_page(loaded, "causal", "a" * 10)


def test_the_command_writes_the_page(encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "attention.html"
    result = run("attention", encoder, TEXT, out)
    assert (result.exit_code, result.stdout) == (0, "")
    assert re.fullmatch(rf"Wrote [\d.]+ kB; open {re.escape(str(out))}\.\n", result.stderr)
    assert data_of(out.read_text("utf-8"))["layers"] == 2
    found = json.loads(run("attention", encoder, TEXT, out, "--json").stdout)
    assert found == {"path": str(out), "bytes": out.stat().st_size}
    assert run("attention", "no-such-model", TEXT, out).exit_code == 3
