"""Training is interrupted, and resumes with the same numbers."""

import csv
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import torch
from click.testing import CliRunner

import registry
from registry.zoo import GPT2Config, GPT2LMHeadModel

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
STEPS = 12

Example = Callable[[str], ModuleType]


def start() -> Any:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2))
    model.init_weights()
    return model


def inputs_at(step: int) -> dict[str, Any]:
    ids = torch.randint(50, (4, 8), generator=torch.Generator().manual_seed(step))
    return {"input_ids": ids, "labels": ids}


@pytest.fixture
def train(example: Example) -> Callable[..., Any]:
    training = example("training")

    def train(directory: Path, inputs_at: Callable[[int], Any] = inputs_at) -> Any:
        return training.train(start, inputs_at, directory, steps=STEPS, learning_rate=1e-2)

    return train


def assert_equal(ours: Any, theirs: Any) -> None:
    for name, tensor in theirs.state_dict().items():
        assert ours.state_dict()[name].equal(tensor), name


def test_what_was_interrupted_ends_with_the_numbers_of_what_was_not(
    train: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dropout is on, so that this holds only if the random state is restored as well."""
    whole = train(tmp_path / "whole")

    def interrupted(step: int) -> dict[str, Any]:
        if step in (3, 4, 7):
            signal.raise_signal(signal.SIGINT)
        return inputs_at(step)

    for step in (4, 5, 8):
        with pytest.raises(SystemExit) as stopped:
            train(tmp_path / "parts", interrupted)
        assert stopped.value.code == 130
        assert f"after step {step} of {STEPS}" in capsys.readouterr().err
        names = ["log.csv", f"step-{step:06}", "training.json"]
        assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == names
    parts = train(tmp_path / "parts", lambda step: inputs_at(step))
    assert_equal(parts, whole)
    names = ["curve.svg", "log.csv", "model", f"step-{STEPS:06}", "training.json"]
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == names
    assert (tmp_path / "parts" / "log.csv").read_text() == (tmp_path / "whole" / "log.csv").read_text()


def test_a_crash_goes_back_to_the_last_whole_checkpoint(
    train: Callable[..., Any], example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example("training"), "SECONDS", -1.0)  # a checkpoint after every step
    seen: list[int] = []

    def crashing(step: int) -> dict[str, Any]:
        seen.append(step)
        if step == 5 and seen.count(5) == 1:
            raise RuntimeError("power cut")
        return inputs_at(step)

    with pytest.raises(RuntimeError):
        train(tmp_path / "parts", crashing)
    torn = tmp_path / "parts" / "step-000009"
    torn.mkdir()  # what a crash leaves that came before training.pt was written
    (torn / "config.json").write_text("{")
    parts = train(tmp_path / "parts", crashing)
    assert seen == [0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 11]
    assert_equal(parts, train(tmp_path / "whole"))


def test_a_trained_model_is_not_trained_again_and_that_is_said(
    train: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = train(tmp_path)
    again = train(tmp_path, lambda step: pytest.fail("it was trained again"))
    assert_equal(again, first)
    assert f"was trained for {STEPS} steps and is not trained again" in capsys.readouterr().err


@pytest.mark.parametrize("checkpoint", [True, False])
def test_more_steps_continue(checkpoint: bool, example: Example, tmp_path: Path) -> None:
    training = example("training")
    how = {"learning_rate": 1e-2, "held_out": [inputs_at(99)]}
    training.train(start, inputs_at, tmp_path, steps=STEPS, **how)
    if not checkpoint:
        shutil.rmtree(tmp_path / f"step-{STEPS:06}")
    seen: list[int] = []
    training.train(start, lambda step: seen.append(step) or inputs_at(step), tmp_path, steps=STEPS + 30, **how)
    assert seen == [*range(STEPS, STEPS + 30)]
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [*range(1, STEPS + 31)]
    validated = {int(row["step"]): float(row["validation"]) for row in rows if row["validation"]}
    assert list(validated) == [STEPS, 25, STEPS + 30]
    model = registry.load_model(tmp_path / "model")
    with torch.inference_mode():
        assert validated[STEPS + 30] == pytest.approx(model(**inputs_at(99)).loss.item(), rel=1e-4)
    assert "validation" in (tmp_path / "curve.svg").read_text()


def test_a_directory_of_another_model_is_refused(example: Example, tmp_path: Path) -> None:
    training = example("training")
    how = {"steps": 1, "learning_rate": 1e-2}
    training.train(start, inputs_at, tmp_path, **how, options={"layers": 2})
    with pytest.raises(click.UsageError, match="is of a model with --layers 2, not 3"):
        training.train(start, inputs_at, tmp_path, **how, options={"layers": 3})


def test_off_a_terminal_the_progress_is_lines(
    train: Callable[..., Any], example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(example("log"), "SECONDS", -1.0)
    train(tmp_path)
    said = capsys.readouterr().err
    assert f"Training from step 0 of {STEPS}" in said
    assert re.search(rf"^Step 7 of {STEPS}, loss \d\.\d+$", said, re.MULTILINE)
    assert f"The losses are drawn in {tmp_path / 'curve.svg'}.\n" in said


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("classify", "text,label\na,b\n", "has 1 texts; at least ten"),
        ("classify", "text,topic\na,b\n", "has no column 'label'; its header is text, topic."),
        ("answer", "question,context,answer\nWho?,It was her.,him\n", "1 of 1 answers are not in their context"),
        ("entities", "text\nNobody is marked.\n", "has 1 sentences"),
        ("write_gpt2", 'text\n""\n', "has no row with text"),
    ],
)
def test_data_that_does_not_do_is_told(
    name: str, text: str, told: str, example: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    (tmp_path / "data.csv").write_text(text)
    arguments = [str(tmp_path / "out"), "--data", str(tmp_path / "data.csv")]
    result = CliRunner().invoke(example(name).main, arguments)
    assert result.exit_code == 1
    assert told in result.output
    assert not (tmp_path / "out").exists()


def test_the_handler_of_ctrl_c_is_given_back(train: Callable[..., Any], tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    train(tmp_path)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_ends_it_at_once(train: Callable[..., Any], tmp_path: Path) -> None:
    def pressed_twice(step: int) -> dict[str, Any]:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it went on")

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, pressed_twice)


@pytest.mark.parametrize(
    "name", ["answer", "classify", "entities", "extract_features", "write_gpt2", "write_transfo_xl"]
)
def test_help_says_what_a_program_does(
    run: Callable[..., str], example: Callable[[str], ModuleType], name: str
) -> None:
    printed = run(name, "--help")
    assert " ".join(str(example(name).__doc__).split("\n\n")[0].split()) in " ".join(printed.split())
    assert "--help" in printed


@pytest.mark.slow
def test_a_program_that_gets_ctrl_c_leaves_a_checkpoint_and_goes_on(tmp_path: Path, tiny_bert: Path, warm: Any) -> None:
    directory = tmp_path / "out"
    soon = f"import sys, runpy; sys.path.insert(0, {str(EXAMPLES)!r}); import training; training.SECONDS = 0.1"
    program = f"{soon}; runpy.run_path({str(EXAMPLES / 'entities.py')!r}, run_name='__main__')"
    command = ["-c", program, directory, "--model", tiny_bert, "--batch-size", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    running = warm.start(*command, "--steps", "100000", environment=environment)
    deadline = time.monotonic() + 300
    while not list(directory.glob("step-*")) and time.monotonic() < deadline:
        assert "Traceback" not in running.output.read_text()
        time.sleep(0.05)
    os.kill(running.pid, signal.SIGINT)
    assert running.wait() == 130, running.output.read_text()
    assert "the same command resumes" in running.output.read_text()
    (checkpoint,) = directory.glob("step-*/training.pt")
    steps = int(checkpoint.parent.name.removeprefix("step-")) + 1
    code, printed = warm.run(*command, "--steps", str(steps), environment=environment)
    assert code == 0, printed
    assert "F1" in printed
    assert registry.load(directory / "model").config.id2label[1] == "person"
