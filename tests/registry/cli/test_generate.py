"""``registry generate``: a text is continued, and printed as it is written."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import registry
from plugins.gpt2.tokenization import GPT2Tokenizer
from registry.formatting import printable
from registry.pages.next_tokens import next_tokens_page
from registry.tokenization.byte_level import bytes_to_unicode

INTERRUPTED = (130, -signal.SIGINT)
"""A shell calls both 130; the latter is how Python ends when the interrupt came to code that C ran through it."""

TOKENIZER = GPT2Tokenizer({token: number for number, token in enumerate(bytes_to_unicode().values())}, [])


def continued(directory: Path, prompt: str, **how: Any) -> str:
    """The text by the library alone."""
    loaded = registry.load(directory, "causal-lm")
    ids = loaded.model.generate(loaded.tokenizer([prompt], return_tensors="pt")["input_ids"], **how)
    return loaded.tokenizer.decode(ids[0].tolist(), skip_special_tokens=True)


@pytest.mark.parametrize(
    ("arguments", "how"),
    [
        ([], {}),
        (["--repetition-penalty", 1.5], {"repetition_penalty": 1.5}),
        (["--num-beams", 3], {"num_beams": 3}),
    ],
)
def test_the_text_is_the_library_s(arguments: list[Any], how: dict[str, Any], writer: Path, run: Any) -> None:
    result = run("generate", writer, "héllo", "-n", 20, *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == printable(continued(writer, "héllo", max_new_tokens=20, **how)) + "\n"


@pytest.fixture
def padded_writer(writer: Path, tmp_path: Path) -> Path:
    """The same model with rows for ids that its tokenizer lacks, which are the likeliest ones everywhere."""
    loaded = registry.load(writer, "causal-lm")
    rows = loaded.model.get_input_embeddings().weight
    known = len(rows)
    with torch.no_grad():
        opposites = -rows[:40].clone()
        loaded.model.resize_token_embeddings(known + 80)
        loaded.model.get_input_embeddings().weight[known:] = torch.cat([opposites, -opposites]) * 50
    ids = loaded.tokenizer(["héllo"], return_tensors="pt")["input_ids"]
    assert (loaded.model(input_ids=ids).logits.argmax(dim=-1) >= known).all()
    return registry.save(loaded, tmp_path / "padded")


def test_no_id_is_generated_that_the_tokenizer_lacks(writer: Path, padded_writer: Path, run: Any) -> None:
    expected = run("generate", writer, "héllo", "-n", 20).stdout
    result = run("generate", padded_writer, "héllo", "-n", 20)
    assert (result.exit_code, result.stdout, result.stderr) == (0, expected, "")
    loaded = registry.load(padded_writer, "causal-lm")
    assert loaded.generate("héllo", max_new_tokens=20) == continued(writer, "héllo", max_new_tokens=20)
    for arguments in (["--num-beams", 3], ["--temperature", 1, "--seed", 1, "--top-k", 5]):
        found = json.loads(run("generate", padded_writer, "héllo", "-n", 20, "--json", *arguments).stdout)
        assert max(found["ids"]) < len(loaded.tokenizer)
    page = next_tokens_page(loaded, "padded", "héllo", max_new_tokens=5)
    assert "héllo" in page


def test_a_seed_gives_the_same_text_again(writer: Path, run: Any) -> None:
    drawn = [
        run(
            "generate", writer, "a", "-n", 20, "--temperature", 1.0, "--top-k", 50, "--top-p", 0.9, "--seed", seed
        ).stdout
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    generator = torch.Generator().manual_seed(1)
    how = {"temperature": 1.0, "top_k": 50, "top_p": 0.9, "generator": generator}
    assert drawn[0] == printable(continued(writer, "a", max_new_tokens=20, **how)) + "\n"


def test_a_text_may_outgrow_the_context(writer: Path, run: Any) -> None:
    found = json.loads(run("generate", writer, "a", "-n", 70, "--json").output)
    assert found["tokens"] == len(found["ids"]) == 70
    assert found["continuation"] == bytes(TOKENIZER_BYTES[i] for i in found["ids"]).decode(errors="replace")


TOKENIZER_BYTES = list(bytes_to_unicode())


def test_the_prompt_may_come_from_stdin(writer: Path, run: Any) -> None:
    assert (
        run("generate", writer, "-", "-n", 5, input="hello").stdout == run("generate", writer, "hello", "-n", 5).stdout
    )


def test_what_cannot_write_is_refused(encoder: Path, writer: Path, run: Any) -> None:
    result = run("generate", encoder, "the cat")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("UnknownTaskError: ")
    result = run("generate", writer, "a", "--top-k", 5)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--top-k has no effect without sampling: add --temperature 0.8." in result.stderr


@pytest.mark.slow
def test_ctrl_c_ends_what_is_written_with_a_line_and_130(endless_writer: Path, warm: Any) -> None:
    process = warm.start("-m", "registry", "generate", endless_writer, "hello", "-n", "1000000")
    until = time.monotonic() + 300
    while process.output.stat().st_size < 100:
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait() in INTERRUPTED
    written = process.output.read_bytes()
    assert (written[:5], written[-1:]) == (b"hello", b"\n")
    assert b"Error" not in written
    assert b"Traceback" not in written
