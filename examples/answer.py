"""Fine-tune a small BERT for extractive question answering.

The texts are pages of docstrings of the standard library, several functions on each; the questions are what a function
returns, and when it raises an error.  Patterns find the answers in the text.  A CSV file can take their place.  A tenth
of the questions is held out for the test.  The model is saved in OUTPUT/model; asked for more steps, the same command
continues.
"""

import random
import re
from collections import Counter
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import click
import torch

import registry
from docstrings import docstrings
from log import say
from own_data import data_option, read_rows
from training import train

CLAUSE = r"(?P<answer>(?:[^.\n]|\.(?=\w))+)"
"""Text up to the end of the sentence."""
PATTERNS = (
    (re.compile(rf"\b[Rr]eturns?:? {CLAUSE}"), "What does {name} return?"),
    (
        re.compile(rf"\b(?P<error>[A-Z]\w+Error)\b[^.\n]{{0,40}}?\b(?:if|when) {CLAUSE}"),
        "When does {name} raise {error}?",
    ),
)
ON_A_PAGE = 3
"""Functions that are described on one page."""
LENGTH, STRIDE = 128, 48
"""Tokens of a window on question and page, and tokens that neighboring windows share."""
LONGEST = 50
"""Tokens of the longest answer."""

PAGE = """\
boil: Heat water until it boils. Returns the seconds that it took. A ColdError is raised when the stove is not lit.
pour: Pour water over the leaves. Returns a pot of tea. Raises a SpillError if the pot is full already.
"""
QUESTIONS = (
    "What does boil return?",
    "When does boil raise ColdError?",
    "What does pour return?",
    "When does pour raise SpillError?",
)
"""A page that is not in the training data, for a demonstration."""


class Question(NamedTuple):
    """A question, its page, and the span of its answer."""

    text: str
    page: str
    start: int
    end: int

    @property
    def answer(self) -> str:
        """The text of the answer."""
        return self.page[self.start : self.end]


def questions(rng: random.Random) -> list[Question]:
    """Questions on every page of every module, shuffled."""
    found = []
    for _, module in groupby(docstrings(), key=lambda docstring: docstring.module):
        entries = [f"{name}: {' '.join(text.split())}\n" for _, name, text in module if name and 20 < len(text) < 600]
        rng.shuffle(entries)
        for first in range(0, len(entries), ON_A_PAGE):
            found += _on_page(entries[first : first + ON_A_PAGE])
    rng.shuffle(found)
    return found


def own(data: Path) -> list[Question]:
    """The questions of a CSV file, shuffled; those whose answer is not in their context are skipped, and counted."""
    rows = read_rows(data, ("question", "context", "answer"))
    places = [context.find(answer) for _, context, answer in rows]
    found = [
        Question(text, context, place, place + len(answer))
        for (text, context, answer), place in zip(rows, places, strict=True)
        if place >= 0
    ]
    if len(found) < len(rows):
        say(f"{len(rows) - len(found):,} of {len(rows):,} answers are not in their context, and are skipped.")
    if len(found) < 10:
        raise click.ClickException(f"{data} has {len(found)} questions with their answer; at least ten are needed.")
    random.Random(0).shuffle(found)
    return found


def _on_page(entries: list[str]) -> list[Question]:
    page = "".join(entries)
    found = []
    begin = 0
    for entry in entries:
        for pattern, template in PATTERNS:
            match = pattern.search(page, begin, begin + len(entry))
            if match and len(match["answer"]) < 200:
                text = template.format(name=entry.partition(":")[0], **match.groupdict())
                found.append(Question(text, page, *match.span("answer")))
        begin += len(entry)
    return found


def windows(tokenizer: Any, asked: list[Question]) -> Any:
    """Questions and pages as a batch; a long page becomes several overlapping windows."""
    return tokenizer(
        [question.text for question in asked],
        [question.page for question in asked],
        truncation="only_second",
        max_length=LENGTH,
        stride=STRIDE,
        padding=True,
        return_offsets_mapping=True,
        return_tensors="pt",
    )


def spans(batch: Any, asked: list[Question]) -> tuple[list[int], list[int]]:
    """First and last token of the answer in each window; 0, the first token, in a window without the answer."""
    starts, ends = [], []
    for offsets, kinds, index in zip(batch["offset_mapping"], batch["token_type_ids"], batch.text_index, strict=True):
        question = asked[index]
        inside = (kinds == 1) & (offsets[:, 1] > question.start) & (offsets[:, 0] < question.end)
        tokens = inside.nonzero().flatten().tolist()
        complete = tokens and offsets[tokens[0], 0] <= question.start and offsets[tokens[-1], 1] >= question.end
        starts.append(tokens[0] if complete else 0)
        ends.append(tokens[-1] if complete else 0)
    return starts, ends


def answers(model: Any, tokenizer: Any, asked: list[Question]) -> list[str]:
    """The most likely span for each question, over all windows of its page."""
    best = [(float("-inf"), "")] * len(asked)
    batch = windows(tokenizer, asked)
    offsets, text_index = batch.pop("offset_mapping"), batch.text_index
    with torch.inference_mode():
        output = model(**batch)
    outside = (batch["token_type_ids"] == 0) | (offsets[..., 1] == 0)  # the question, special tokens, padding
    starts, ends = (logits.masked_fill(outside, float("-inf")) for logits in (output.start_logits, output.end_logits))
    width = starts.shape[1]
    forwards = torch.ones(width, width, dtype=torch.bool).triu().tril(LONGEST - 1)
    for row, index in enumerate(text_index):
        pairs = (starts[row, :, None] + ends[row]).masked_fill(~forwards, float("-inf"))
        first, last = divmod(int(pairs.argmax()), width)
        nothing = output.start_logits[row, 0] + output.end_logits[row, 0]  # the span of windows without the answer
        score = float(pairs[first, last] - nothing)
        best[index] = max(best[index], (score, asked[index].page[offsets[row, first, 0] : offsets[row, last, 1]]))
    return [text for _, text in best]


def agreement(found: str, right: str) -> float:
    """F1 of the words of two answers (Rajpurkar et al., 2016), from 0 to 1."""
    ours, theirs = (Counter(re.findall(r"\w+", text.lower())) for text in (found, right))
    common = (ours & theirs).total()
    return 2 * common / (ours.total() + theirs.total())


@click.command(help=__doc__)
@click.argument("output", type=click.Path(file_okay=False, path_type=Path))
@click.option("--model", "name", default="all-minilm-l6-v2", show_default=True, help="Pretrained BERT.")
@click.option("--steps", default=400, show_default=True, help="Training steps.")
@click.option("--batch-size", default=8, show_default=True, help="Questions per batch.")
@click.option("--learning-rate", default=4e-4, show_default=True, help="Peak learning rate, after warmup.")
@data_option("question", "context", "answer")
def main(output: Path, name: str, steps: int, batch_size: int, learning_rate: float, data: Path | None) -> None:
    """Train, save, load, test, answer."""
    say("Reading the questions ...")
    asked = questions(random.Random(0)) if data is None else own(data)
    say(f"{len(asked):,} questions")
    tenth = max(1, len(asked) // 10)
    tested, trained = asked[:tenth], asked[tenth:]
    rare = [question for question in trained if question.text.startswith("When")] if data is None else trained
    tokenizer = registry.load_tokenizer(name)

    def inputs_at(step: int) -> dict[str, Any]:
        rng = random.Random(step)
        return inputs([rng.choice(rare if rng.random() < 0.15 else trained) for _ in range(batch_size)])

    def inputs(chosen: list[Question]) -> dict[str, Any]:
        batch = windows(tokenizer, chosen)
        starts, ends = spans(batch, chosen)
        del batch["offset_mapping"]
        return {**batch, "start_positions": torch.tensor(starts), "end_positions": torch.tensor(ends)}

    train(
        lambda: registry.load_model(name, "question-answering", allow_missing="qa_outputs.*"),  # a new head is meant
        inputs_at,
        output,
        steps=steps,
        learning_rate=learning_rate,
        tokenizer=tokenizer,
        held_out=[inputs(tested[:32])],
        options={"model": name, "data": data},
    )

    say(f"Answering {len(tested):,} other questions ...")
    loaded = registry.load(output / "model")
    found = [
        text for i in range(0, len(tested), 16) for text in answers(loaded.model, loaded.tokenizer, tested[i : i + 16])
    ]
    exact = mean(text == question.answer for text, question in zip(found, tested, strict=True))
    f1 = mean(agreement(text, question.answer) for text, question in zip(found, tested, strict=True))
    print(f"Trained on {len(trained)} questions; on {len(tested)} others, exact match {exact:.1%} and F1 {f1:.1%}.\n")
    shown = [Question(text, PAGE, 0, 0) for text in QUESTIONS] if data is None else tested[:4]
    for question, text in zip(shown, answers(loaded.model, loaded.tokenizer, shown), strict=True):
        print(f"{question.text:>35}  {text}")


if __name__ == "__main__":
    main()
