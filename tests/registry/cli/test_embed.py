"""``registry embed``: vectors of texts, beside a plain computation, in every format."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from click.testing import Result

import registry
from registry.cli.run.embed import ENDINGS
from registry.cli.run.vectors import FORMATS

NAME = "all-minilm-l6-v2"
TEXTS = ("The cat slept on the warm window sill.", "A kitten was dozing in the sun.", "Primes.", "")


@pytest.fixture(scope="module")
def expected() -> torch.Tensor:
    """Each text alone, so that there is no padding: the mean over its tokens, of length 1 as the model's files say."""
    loaded = registry.load(NAME)
    with torch.inference_mode():
        means = torch.cat(
            [loaded.model(**loaded.tokenizer([text], return_tensors="pt")).last_hidden_state.mean(1) for text in TEXTS]
        )
    return means / means.norm(dim=1, keepdim=True)


def read_lines(text: str) -> torch.Tensor:
    lines = [json.loads(line) for line in text.splitlines()]
    assert tuple(line["text"] for line in lines) == TEXTS
    return torch.tensor([line["vector"] for line in lines])


READERS: dict[str, Any] = {
    "jsonl": lambda path: read_lines(path.read_text("utf-8")),
    "npy": lambda path: torch.from_numpy(np.load(path, allow_pickle=False)),
    "safetensors": lambda path: safetensors.torch.load_file(path)["vectors"],
}


def test_every_format_has_its_reader_here() -> None:
    assert set(READERS) == set(ENDINGS) == set(FORMATS)


@pytest.mark.parametrize("ending", READERS)
def test_vectors_are_means_over_the_tokens(ending: str, expected: torch.Tensor, tmp_path: Path, run: Any) -> None:
    out = tmp_path / f"vectors.{ending}"
    result = run("embed", NAME, *TEXTS, "--out", out, "--batch-size", 3)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"Wrote 4 vectors of 384 numbers to {out}.\n"
    torch.testing.assert_close(READERS[ending](out), expected, rtol=1e-4, atol=1e-5)
    assert os.listdir(tmp_path) == ["vectors." + ending]


def test_without_a_file_lines_of_json_are_printed(expected: torch.Tensor, run: Any) -> None:
    result = run("embed", NAME, *TEXTS)
    torch.testing.assert_close(read_lines(result.stdout), expected, rtol=1e-4, atol=1e-5)
    assert result.stderr == ""
    as_json = json.loads(run("embed", NAME, *TEXTS, "--json").stdout)
    torch.testing.assert_close(torch.tensor([row["vector"] for row in as_json]), expected, rtol=1e-4, atol=1e-5)


def test_normalized_vectors_are_of_length_1_and_of_the_same_direction(encoder: Path, run: Any) -> None:
    plain, normalized = (read_lines(run("embed", encoder, *TEXTS, *how).stdout) for how in ((), ("--normalize",)))
    assert not plain.norm(dim=1).allclose(torch.ones(4))
    torch.testing.assert_close(normalized, plain / plain.norm(dim=1, keepdim=True), rtol=1e-4, atol=1e-5)


def test_a_prompt_stands_before_each_text(encoder: Path, run: Any) -> None:
    prompted, whole = (
        [json.loads(line)["vector"] for line in run("embed", encoder, *arguments).stdout.splitlines()]
        for arguments in (("cat", "mat", "--prompt", "the "), ("the cat", "the mat"))
    )
    assert prompted == whole


def test_the_lines_of_a_file_and_of_stdin_are_texts(encoder: Path, tmp_path: Path, run: Any) -> None:
    (tmp_path / "lines.txt").write_bytes(b"the cat\r\nthe \xc3\xa9mat\n\non\n")
    for source, given in ((tmp_path / "lines.txt", None), ("-", (tmp_path / "lines.txt").read_bytes())):
        lines = run("embed", encoder, "sat", "--file", source, input=given).stdout.splitlines()
        assert [json.loads(line)["text"] for line in lines] == ["sat", "the cat", "the émat", "", "on"]


def test_the_summary_as_json(encoder: Path, tmp_path: Path, run: Any) -> None:
    out = tmp_path / "vectors"
    found = json.loads(run("embed", encoder, "cat", "--out", out, "--format", "npy", "--json").stdout)
    assert found == {"path": str(out), "format": "npy", "rows": 1, "width": 24}
    assert np.load(out).shape == (1, 24)


@pytest.mark.parametrize("ending", ["npy", "safetensors"])
@pytest.mark.parametrize(("rows", "width"), [(1, 1), (3, 5), (12345, 768)])
def test_headers_are_those_of_the_formats(ending: str, rows: int, width: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(FORMATS[ending].header(rows, width) + bytes(4 * rows * width))
    read = np.load(path) if ending == "npy" else safetensors.torch.load_file(path)["vectors"].numpy()
    assert (read.shape, read.dtype.str, read.any()) == ((rows, width), "<f4", np.False_)


def test_a_text_that_is_too_long_is_cut_with_a_warning(encoder: Path, run: Any) -> None:
    fits, longer = " ".join(["cat"] * 14), " ".join(["cat"] * 15)  # and two special tokens: 16 is the most
    assert run("embed", encoder, fits).stderr == ""
    result = run("embed", encoder, longer, "cat", longer)
    assert result.stderr == "warning: 2 of 3 texts were truncated at 16 tokens.\n"
    first, _, third = (json.loads(line)["vector"] for line in result.stdout.splitlines())
    assert first == third == json.loads(run("embed", encoder, fits).stdout)["vector"]


def test_a_causal_model_without_padding_embeds_too(writer: Path, run: Any) -> None:
    texts = ("a", "hello there", "you")
    together = run("embed", writer, *texts).stdout.splitlines()
    alone = [line for text in texts for line in run("embed", writer, text).stdout.splitlines()]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(*(torch.tensor(json.loads(line)["vector"]) for line in (one, other)))
    result = run("embed", writer, "a", "")
    assert (result.exit_code, result.stderr) == (
        1,
        "InputError: text 2 is empty, and this model adds no special tokens.\n",
    )


def failed(result: Result, code: int, message: str) -> None:
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_what_makes_no_sense_is_refused_and_leaves_nothing(encoder: Path, tmp_path: Path, run: Any) -> None:
    before = sorted(tmp_path.rglob("*"))
    failed(run("embed", encoder), 2, "there is no text")
    failed(run("embed", encoder, "a", "--device", "nowhere"), 2, "Invalid value for '--device'")
    failed(run("embed", encoder, "a", "--format", "npy"), 2, "--format npy needs --out")
    failed(run("embed", encoder, "a", "--out", tmp_path / "v.csv"), 2, "is not a known format")
    failed(run("embed", "all-minilm", "a"), 3, "Did you mean 'all-minilm-l6-v2'?")
    failed(run("embed", encoder, "--file", "-", input=b"fine\nnot \xff\n"), 1, "line 2 of the file is not UTF-8")
    failed(run("embed", encoder, "a", "--out", "/none/v.npy"), 2, "there is no directory '/none'.")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_ctrl_c_ends_with_130_quietly_and_leaves_the_old_file(tmp_path: Path, warm: Any) -> None:
    (tmp_path / "lines.txt").write_text("The cat slept on the warm window sill, as it did every day.\n" * 100_000)
    (tmp_path / "out.npy").write_bytes(b"old")
    process = warm.start("-m", "registry", "embed", NAME, "-f", "lines.txt", "-o", "out.npy", cwd=tmp_path)
    until = time.monotonic() + 300
    while not any(path.stat().st_size > 10_000 for path in tmp_path.glob(".out.npy.*.tmp")):
        assert time.monotonic() < until
        assert process.output.stat().st_size == 0, process.output.read_text()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait() in (130, -signal.SIGINT)  # a shell calls both 130
    assert process.output.read_bytes() == b""
    assert sorted(os.listdir(tmp_path)) == ["lines.txt", "out.npy"]
    assert (tmp_path / "out.npy").read_bytes() == b"old"
