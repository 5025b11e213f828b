"""Pages of one file: numbers are those of formulas or of other libraries, and text is text."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner, Result

import registry
from registry.cli import main
from registry.errors import InputError
from registry.pages.comparison import changes_between, comparison_page
from registry.pages.curves import curves_svg, read_curves
from registry.pages.heads import PATTERNS, profiles, striking
from registry.pages.neighbors import nearest, neighbors_page, principal_components
from registry.pages.next_tokens import next_tokens_page
from registry.pages.report import report_page
from registry.pages.tokens import shown_tokens, tokens_page
from registry.tokenization.byte_level import bytes_to_unicode
from registry.zoo import (
    BertConfig,
    BertForPreTraining,
    BertModel,
    BertTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
)

HOSTILE = 'a</script><script>alert("1")</script><b>&'
LINES = ["the cat sat on the mat", "the dog sat on the mat", "a man in Paris", "a woman in Paris", "the end"]


@pytest.fixture
def encoder(tmp_path: Path, vocab_file: Path, sizes: dict[str, int]) -> Path:
    torch.manual_seed(0)
    model = BertModel(BertConfig(**sizes))
    model.init_weights()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return registry.save(model.eval(), tmp_path / "encoder", tokenizer=BertTokenizer(vocab_file, max_len=64))


def byte_tokenizer() -> Any:
    return GPT2Tokenizer({token: number for number, token in enumerate(bytes_to_unicode().values())}, [])


@pytest.fixture
def causal(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=256, n_positions=64, n_embd=24, n_layer=2, n_head=2))
    for parameter in model.parameters():
        parameter.data = 0.5 * torch.randn_like(parameter)
    return registry.save(model.eval(), tmp_path / "causal", tokenizer=byte_tokenizer())


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="registry")


# --- Heads ------------------------------------------------------------------------------------------------------------


def test_a_head_with_a_pattern_is_found() -> None:
    weights = torch.full((2, 3, 6, 6), 1 / 6)
    weights[0, 1] = torch.eye(6).roll(-1, 1)  # each to the one before, the first to the last
    weights[1, 2] = torch.eye(6)
    weights[1, 0] = 0
    weights[1, 0, :, 0] = 1
    found = profiles(weights, [None, 0, 0, 1, 1, None])
    assert found.shape == (2, 3, len(PATTERNS))
    assert found[0, 1].tolist() == pytest.approx([1, 0, 0, 1 / 6, 1 / 6, 0.25])
    assert found[1, 2].tolist() == pytest.approx([0, 0, 1, 1 / 6, 1 / 6, 0])
    listed = [(head["layer"], head["head"], head["pattern"]) for head in striking(found)]
    assert set(listed) == {(0, 1, "previous token"), (1, 2, "itself"), (1, 0, "first token")}
    assert profiles(weights, [None, 0, 0, 0, 0, None]).shape[-1] == len(PATTERNS) - 1


# --- Tokens -----------------------------------------------------------------------------------------------------------


def test_tokens_ids_and_offsets_are_those_of_transformers(encoder: Path) -> None:
    text = "The cat sat, on the mat!"
    theirs = transformers.BertTokenizerFast(vocab=str(encoder / "vocab.txt"))(text, return_offsets_mapping=True)
    found = shown_tokens(registry.load_tokenizer(encoder), text)
    assert [token.number for token in found] == theirs["input_ids"]
    assert [(token.start, token.end) for token in found] == theirs["offset_mapping"]
    assert [token.special for token in found] == [True, *[False] * (len(found) - 2), True]


def test_several_tokenizers_stand_next_to_each_other_and_text_is_text(encoder: Path) -> None:
    tokenizer = registry.load_tokenizer(encoder)
    page = tokens_page({"one": tokenizer, HOSTILE: byte_tokenizer()}, f"the cat {HOSTILE} 🙂 " + "the " * 100)
    assert '<script>alert("1")' not in page
    assert page.count("<script") == page.count("</script>") == 2
    assert page.count('class="tokenizer"') == 2
    assert tokenizer.max_len == 64, "which it was, though the text is longer"
    parts = shown_tokens(byte_tokenizer(), "🙂")
    assert [token.label for token in parts] == ["🙂₁", "🙂₂", "🙂₃", "🙂₄"], "none is a complete character"
    with pytest.raises(InputError, match="needs a tokenizer"):
        tokens_page({}, "a")
    with pytest.raises(InputError, match="20,001 tokens"):
        tokens_page({"bytes": byte_tokenizer()}, "a" * 20_001)


# --- Next tokens ------------------------------------------------------------------------------------------------------


def test_probabilities_are_those_of_transformers(causal: Path) -> None:
    loaded = registry.load(causal)
    data = data_of(next_tokens_page(loaded, "causal", "the cat", max_new_tokens=5, top=4))
    assert (len(data["tokens"]), data["prompt"], data["places"][0]) == (12, 7, None)
    ids = torch.tensor([loaded.tokenizer.encode("the cat")])
    theirs = transformers.GPT2LMHeadModel.from_pretrained(causal).eval()
    with torch.inference_mode():
        ids = theirs.generate(ids, max_new_tokens=5, do_sample=False, pad_token_id=0)
        probabilities = theirs(ids).logits[0].softmax(-1)
    for place in range(1, 12):
        shown, number = data["places"][place], int(ids[0, place])
        row = probabilities[place - 1]
        assert shown["share"] == pytest.approx(float(row[number]), abs=1e-5)
        assert shown["rank"] == int((row > row[number]).sum()) + 1
        assert [share for _, share in shown["likeliest"]] == pytest.approx(row.topk(4).values.tolist(), abs=1e-4)
        assert shown["bits"] == pytest.approx(-float(row[number].log2()), abs=1e-3)
        assert shown["entropy"] == pytest.approx(-float((row * row.log2()).sum()), abs=1e-3)
    assert [place["rank"] for place in data["places"][7:]] == [1] * 5, "greedy"


def test_a_model_that_is_not_causal_has_no_next_tokens(encoder: Path, causal: Path) -> None:
    with pytest.raises(InputError, match="is not a causal model"):
        next_tokens_page(registry.load(encoder, "base"), "m", "the cat", max_new_tokens=0)
    with pytest.raises(InputError, match="no tokens"):
        next_tokens_page(registry.load(causal), "m", "")


# --- Comparison -------------------------------------------------------------------------------------------------------


def test_changes_are_those_that_were_made(encoder: Path, tmp_path: Path) -> None:
    model = registry.load_model(encoder, "base")
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    changed = "encoder.layer.1.attention.self.query.weight"
    model.state_dict()[changed].mul_(1.5)
    other = registry.save(model, tmp_path / "other")
    changes = {change.name.removeprefix("bert."): change for change in changes_between(encoder, other)}
    assert set(changes) == set(state)
    assert {name for name, change in changes.items() if change.state != "equal"} == {changed}
    found = changes[changed]
    assert (found.relative, found.cosine) == (pytest.approx(0.5), pytest.approx(1.0))
    assert found.largest == pytest.approx(0.5 * float(state[changed].abs().max()))
    assert (found.layer, found.part.removeprefix("bert.")) == (1, "encoder.layer.{i}.attention.self.query.weight")
    page = comparison_page(encoder, other)
    assert len(data_of(page)["changes"]) == len(state)


def test_tensors_of_one_side_and_other_shapes_are_told(encoder: Path, tmp_path: Path, sizes: dict[str, int]) -> None:
    torch.manual_seed(0)
    config = BertConfig(**{**sizes, "vocab_size": sizes["vocab_size"] + 3})
    larger = BertForPreTraining(config)
    larger.init_weights()
    registry.save(larger, tmp_path / "larger")
    states = {change.name: change.state for change in changes_between(encoder, tmp_path / "larger")}
    assert states["bert.embeddings.word_embeddings.weight"] == "shape differs"
    assert "only in B" in states.values()
    comparison_page(encoder, tmp_path / "larger")


# --- Load report ------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::registry.errors.UntrainedWarning")
def test_a_report_lists_what_is_new_with_its_shape(encoder: Path) -> None:
    model = registry.load_model(encoder, "sequence-classification", num_labels=3)
    page = report_page(model.load_report, model, "encoder")
    assert "Newly initialized" in page
    assert "classifier.weight" in page
    assert "nothing is random" not in page
    base = registry.load_model(encoder, "base")
    assert "nothing is random" in report_page(base.load_report, base, "encoder")


# --- Neighbors --------------------------------------------------------------------------------------------------------


def test_neighbors_and_places_are_those_of_numpy() -> None:
    torch.manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(40, 6), dim=1)
    cosines, indices = nearest(vectors, 3)
    table = vectors.numpy() @ vectors.numpy().T - 3 * np.eye(40)
    np.testing.assert_array_equal(indices, np.argsort(-table, axis=1)[:, :3])
    np.testing.assert_allclose(cosines, -np.sort(-table, axis=1)[:, :3], atol=1e-6)
    places, kept = principal_components(vectors)
    values, directions = np.linalg.eigh(np.cov(vectors.numpy().T))
    expected = (vectors.numpy() - vectors.numpy().mean(0)) @ directions[:, [-1, -2]]
    for mine, theirs in zip(places.numpy().T, expected.T, strict=True):
        assert abs(np.corrcoef(mine, theirs)[0, 1]) == pytest.approx(1, abs=1e-5)
    assert kept == pytest.approx(float(values[-2:].sum() / values.sum()), abs=1e-5)
    assert float(places.abs().max()) == pytest.approx(1)


def test_a_map_has_each_text_once(encoder: Path) -> None:
    loaded = registry.load(encoder, "base")
    data = data_of(neighbors_page(loaded, "m", [*LINES, "", LINES[0], "  "]))
    assert data["texts"] == LINES
    assert [len(row) for row in data["neighbors"]] == [4] * 5
    with pytest.raises(InputError, match="at least two different texts"):
        neighbors_page(loaded, "m", ["a", "a"])


# --- Curves -----------------------------------------------------------------------------------------------------------


def test_curves_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("step,loss,validation\n0,2.0,\n10,1.0,1.5\n20,0.5,nan\n")
    curves = read_curves(log)
    assert curves == {"loss": [(0, 2), (10, 1), (20, 0.5)], "validation": [(10, 1.5)]}
    root = ET.fromstring(curves_svg(curves, HOSTILE))  # well-formed, and the title is text
    lines = root.findall(".//{*}polyline")
    (loss, validation) = [[tuple(map(float, p.split(","))) for p in str(line.get("points")).split()] for line in lines]
    assert [x for x, _ in loss] == sorted(x for x, _ in loss)
    assert [y for _, y in loss] == sorted(y for _, y in loss), "down the page as the loss falls"
    assert validation[0][0] == loss[1][0]
    curves_svg({"flat": [(0, 1.0), (1, 1.0)]}, "flat")
    curves_svg({"one": [(3, 0.0)]}, "one point")
    many = curves_svg({"many": [(x, x) for x in range(10_000)]}, "many")
    assert len(many) < 20_000
    log.write_text("a,b\nx,y\n")
    with pytest.raises(InputError, match="no column of numbers"):
        read_curves(log)


# --- Commands ---------------------------------------------------------------------------------------------------------


def test_each_kind_of_page_has_a_command(encoder: Path, causal: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(LINES))
    (tmp_path / "log.csv").write_text("step,loss\n0,2\n1,1\n")
    out = tmp_path / "page.html"
    kinds: dict[str, tuple[object, ...]] = {
        "tokens": ("the cat", out, "-m", encoder, "-m", causal),
        "next": (causal, "the cat", out, "--max-new-tokens", 2),
        "compare": (encoder, encoder, out),
        "report": (encoder, out, "--task", "base"),
        "neighbors": (encoder, lines, out),
        "curves": (tmp_path / "log.csv", out),
    }
    for kind, arguments in kinds.items():
        result = run("page", kind, *arguments)
        assert (result.exit_code, result.stdout) == (0, ""), result.output
        assert re.fullmatch(rf"Wrote [\d.,]+ (kB|bytes); open {re.escape(str(out))}\.\n", result.stderr)
        page = out.read_text("utf-8")
        refers = r"""(src|href)=["'](?!data:)|url\(|@import|fetch\(|https?:(?!//www\.w3\.org/)"""
        assert not re.search(refers, page), kind
        out.unlink()
    assert set(main.get_command(None, "page").commands) == set(kinds)  # type: ignore[arg-type, union-attr]
    assert run("page", "tokens", "a", tmp_path / "no" / "out.html", "-m", encoder).exit_code == 2
    found = json.loads(run("page", "tokens", "a", out, "-m", encoder, "--json").stdout)
    assert found == {"path": str(out), "bytes": out.stat().st_size}
