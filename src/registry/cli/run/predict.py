"""``registry predict NAME TEXT...``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias

import click

from registry.cli.names import name_argument
from registry.cli.output import json_option, print_json, print_table, progress, warn
from registry.cli.run.trained import device_option, load_for
from registry.cli.texts import all_texts, texts_argument
from registry.formatting import percent

if TYPE_CHECKING:
    from registry.loading.loaded import Pretrained

Answer: TypeAlias = Mapping[str, Any]
"""What is predicted for a text, by the keys of the JSON output."""

FINE_TUNE = "Fine-tune one: docs/training.md, or examples/classify.py, entities.py and answer.py."
"""What to do about a model for another task."""


@click.command()
@name_argument(metavar="NAME|DIRECTORY")
@texts_argument
@click.option("--question", metavar="TEXT", help="The question that each text is to answer.")
@click.option("--top", type=click.IntRange(1), default=1, show_default=True, help="Labels per text.")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Texts per batch.")
@device_option
@json_option
def command(
    name: str,
    texts: tuple[str, ...],
    file: BinaryIO | None,
    question: str | None,
    top: int,
    batch_size: int,
    device: str | None,
    as_json: bool,
) -> None:
    """Classify texts, tag their words, or answer a question.

    The task is the one that the model was trained for: sequence-classification prints a label for each text,
    token-classification the spans that have a label, question-answering (with --question) the answer in each text.
    Without TEXT, or for '-', the lines of stdin are read.
    """
    lines = all_texts(texts, file)
    loaded, task = load_for(name, tuple(TABLES), device, hint=FINE_TUNE)
    if (task == ANSWERING) != (question is not None):
        raise click.UsageError(
            f"{name} answers questions: add --question." if question is None else f"{name} answers no questions."
        )
    if task != ANSWERING:
        _warn_of_truncated(loaded, lines)
    from registry.bulk.predictions import predicted

    found: list[Answer] = []
    with progress("Predicting", len(lines), unit="texts") as advance:
        for start in range(0, len(lines), batch_size):
            some = lines[start : start + batch_size]
            found += predicted(loaded, task, some, question)
            advance(len(some))
    if as_json:
        print_json(found)
    else:
        rows = [row for answer in found for row in TABLES[task].rows(answer, top)]
        print_table(TABLES[task].columns, rows, numbers=("probability", "start", "end"))


def _warn_of_truncated(loaded: "Pretrained", lines: Sequence[str]) -> None:
    longest = loaded.tokenizer.max_len
    if longest is not None:
        cut = loaded.tokenizer(list(lines), truncation=True, max_length=longest + 1)["input_ids"]
        if count := sum(len(ids) > longest for ids in cut):
            warn(f"{count:,} of {len(lines):,} texts were truncated at {longest} tokens.")


# --- Tables -----------------------------------------------------------------------------------------------------------


def _rows_of_labels(answer: Answer, top: int) -> Iterator[Sequence[str]]:
    if "value" in answer:
        yield "", f"{answer['value']:.4g}", answer["text"]
        return
    ranked = sorted(answer["probabilities"].items(), key=lambda item: -item[1])
    for label, probability in ranked[: max(top, len(answer.get("labels", ())))]:
        yield label, percent(probability), answer["text"]


def _rows_of_spans(answer: Answer, _top: int) -> Iterator[Sequence[str]]:
    for span in answer["spans"]:
        place = str(span["start"]), str(span["end"])
        yield span["label"], span["text"], *place, percent(span["probability"]), answer["text"]


def _rows_of_answers(answer: Answer, _top: int) -> Iterator[Sequence[str]]:
    yield answer["answer"], str(answer["start"]), str(answer["end"]), percent(answer["probability"]), answer["text"]


class Table(NamedTuple):
    """How the answers of a task are printed."""

    columns: Sequence[str]
    rows: Callable[[Answer, int], Iterator[Sequence[str]]]
    """The rows of an answer, with so many labels."""


ANSWERING = "question-answering"
TABLES: Mapping[str, Table] = {
    "sequence-classification": Table(("label", "probability", "text"), _rows_of_labels),
    "token-classification": Table(("label", "span", "start", "end", "probability", "text"), _rows_of_spans),
    ANSWERING: Table(("answer", "start", "end", "probability", "text"), _rows_of_answers),
}
"""By task."""
