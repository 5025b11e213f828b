"""How well a model predicts a text: the same number as plain arithmetic gives, whatever way it is read."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import registry
from registry.cli import main
from registry.errors import InputError
from registry.generation.perplexity import evaluate
from registry.zoo import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel, TransfoXLConfig, TransfoXLLMHeadModel

WORDS = [f"w{number}" for number in range(28)] + ["<eos>", "<unk>"]


@pytest.fixture
def remembering() -> Any:
    torch.manual_seed(0)
    model = TransfoXLLMHeadModel(
        TransfoXLConfig(vocab_size=30, cutoffs=[6, 15], d_model=16, d_embed=16, n_head=2, d_head=8, d_inner=20,
                        n_layer=2, div_val=2, tgt_len=7, mem_len=5, clamp_len=3)
    ).eval()  # fmt: skip
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model


@pytest.fixture
def looking() -> Any:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=30, n_positions=8, n_embd=16, n_layer=2, n_head=2)).eval()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(0, 30, (53,), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("segment", [None, 1, 4, 100])
def test_memory_gives_the_loss_of_the_whole_text_read_at_once(remembering, ids, batch_size, segment) -> None:
    told: list[int] = []
    found = evaluate(remembering, ids.tolist(), batch_size=batch_size, segment=segment, on_tokens=told.append)
    rows = ids[: 53 // batch_size * batch_size].view(batch_size, -1)
    with torch.no_grad():
        logits = remembering(rows[:, :-1]).logits
    losses = -logits.gather(-1, rows[:, 1:, None])
    assert found.tokens == losses.numel() == sum(told)
    assert found.loss == pytest.approx(losses.mean().item(), abs=1e-5)
    assert found.perplexity == pytest.approx(math.exp(losses.mean().item()), rel=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("window", [None, 2, 5])
def test_windows_predict_each_token_once_behind_at_least_half_a_context(looking, ids, batch_size, window) -> None:
    found = evaluate(looking, ids, batch_size=batch_size, segment=window)
    size, half = window or 8, ((window or 8) + 1) // 2
    rows = ids[: 53 // batch_size * batch_size].view(batch_size, -1)
    total, known = 0.0, 1
    with torch.no_grad():
        for token in range(1, rows.shape[1]):  # one by one, from where its window begins
            if token == known:
                start = 0 if token == 1 else token - half
                known = start + size
            scores = looking(rows[:, start : token + 1]).logits[:, -2].log_softmax(-1)
            total -= scores.gather(-1, rows[:, token : token + 1]).sum().item()
    assert found.tokens == batch_size * (rows.shape[1] - 1)
    assert found.loss == pytest.approx(total / found.tokens, abs=1e-5)


def test_what_cannot_be_evaluated_is_refused(remembering, ids, sizes) -> None:
    with pytest.raises(InputError, match="too few"):
        evaluate(remembering, [3])
    with pytest.raises(InputError, match="batch_size"):
        evaluate(remembering, ids, batch_size=0)
    with pytest.raises(InputError, match="does not predict next tokens"):
        evaluate(BertForMaskedLM(BertConfig(**sizes)), ids)


# --- On the command line ----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(remembering, tmp_path: Path) -> Path:
    path = remembering.save_pretrained(tmp_path / "model")
    (path / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
    return path


def test_a_command_tells_the_perplexity_of_a_text(remembering, folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("w1 w5 w20\n\nw7 unheard w3 w3\n")
    ids = torch.tensor([[1, 5, 20, 28, 28, 7, 29, 3, 3, 28]])
    with torch.no_grad():
        expected = remembering(ids, labels=ids).loss.item()
    run = CliRunner().invoke(main, ["evaluate", str(folder), str(text), "--json"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.stdout)
    assert (found["tokens"], found["file"]) == (9, str(text))
    assert found["loss"] == pytest.approx(expected, abs=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(expected), rel=1e-4)
    run = CliRunner().invoke(main, ["evaluate", str(folder), str(text), "--segment", "2"])
    assert f"perplexity  {math.exp(expected):.2f}" in run.stdout
    assert "9" in run.stdout.split("tokens")[1]


def test_a_command_refuses_what_it_cannot_read(folder: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke(main, ["evaluate", str(folder), str(tmp_path / "missing.txt")])
    assert run.exit_code == 2
    (tmp_path / "latin.txt").write_bytes("w1 ï".encode("latin-1"))
    run = CliRunner().invoke(main, ["evaluate", str(folder), str(tmp_path / "latin.txt")])
    assert (run.exit_code, "not UTF-8 text" in run.output) == (1, True)


def test_any_tokenizer_reads_a_file(tmp_path: Path, vocab_file: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat\nsat")
    tokenizer = registry.zoo.BertTokenizer(vocab_file)
    assert tokenizer.ids_of_file(tmp_path / "text.txt").tolist() == tokenizer.encode(
        "the cat sat", add_special_tokens=False
    )
    (tmp_path / "latin.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match="UTF-8"):
        tokenizer.ids_of_file(tmp_path / "latin.txt")
