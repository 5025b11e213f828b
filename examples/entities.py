"""Fine-tune a small BERT to find persons, places and organisations in text.

The sentences of entities.txt, which lies beside this script, were written for it; every sixth is kept for the test.
The trained model lands in OUTPUT/model; where it is there already, it only predicts.
"""

import random
import re
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch

import registry
from training import train

KINDS = ("nothing", "person", "place", "organisation")
MARKED = re.compile(r"\[(?P<words>[^]]+)\]\((?P<kind>\w+)\)")
IGNORED = -100
"""The label of tokens that are not predicted: special ones and padding."""

TEXT = """\
Emilie du Chatelet translated Newton in a castle in Lorraine. Voltaire, who had fled from Paris, built her a laboratory.
The Academy of Bologna made her a member. Years later, Mary Somerville did the same for Laplace in Scotland, and the
University of Cambridge used her book.
"""
"""Nobody's training: what the trained model is asked in the end."""


class Entity(NamedTuple):
    """A stretch of a text, and what it names."""

    start: int
    end: int
    kind: str


def sentences() -> list[tuple[str, list[Entity]]]:
    """The sentences without their marks, and the entities which the marks show; shuffled."""
    lines = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    random.Random(0).shuffle(lines)
    return [_unmarked(line) for line in lines]


def _unmarked(line: str) -> tuple[str, list[Entity]]:
    text, entities = "", []
    place = 0
    for match in MARKED.finditer(line):
        text += line[place : match.start()]
        entities.append(Entity(len(text), len(text) + len(match["words"]), match["kind"]))
        text += match["words"]
        place = match.end()
    return text + line[place:], entities


def labels(batch: Any, entities: list[list[Entity]]) -> torch.Tensor:
    """The kind of each token, ``(texts, tokens)``."""
    found = torch.zeros_like(batch["input_ids"])
    for row, places, inside in zip(found, batch["offset_mapping"], entities, strict=True):
        for entity in inside:
            row[(places[:, 0] >= entity.start) & (places[:, 1] <= entity.end)] = KINDS.index(entity.kind)
    return found.masked_fill(batch["offset_mapping"][..., 1] == 0, IGNORED)


def find(model: Any, tokenizer: Any, texts: list[str]) -> list[list[Entity]]:
    """The entities in each text: words of one kind that follow each other make one.

    The first piece of a word decides for the whole of it.
    """
    batch = tokenizer(texts, padding=True, truncation=True, return_offsets_mapping=True, return_tensors="pt")
    offsets = batch.pop("offset_mapping")
    with torch.inference_mode():
        kinds = model(**batch).logits.argmax(-1)
    found = []
    for ids, row, places in zip(batch["input_ids"], kinds.tolist(), offsets.tolist(), strict=True):
        entities: list[Entity] = []
        before = kind = KINDS[0]
        for piece, number, (start, end) in zip(tokenizer.convert_ids_to_tokens(ids), row, places, strict=True):
            if not piece.startswith("##"):
                kind = KINDS[number] if end else KINDS[0]
            if kind != KINDS[0] and kind == before:
                entities[-1] = Entity(entities[-1].start, end, kind)
            elif kind != KINDS[0]:
                entities.append(Entity(start, end, kind))
            before = kind
        found.append(entities)
    return found


@click.command(help=__doc__)
@click.argument("output", type=click.Path(file_okay=False, path_type=Path))
@click.option("--model", "name", default="all-minilm-l6-v2", show_default=True, help="The BERT to start from.")
@click.option("--steps", default=150, show_default=True, help="Batches to train on.")
@click.option("--batch-size", default=16, show_default=True, help="Sentences in a batch.")
@click.option("--learning-rate", default=6e-4, show_default=True, help="The highest one, after warming up.")
def main(output: Path, name: str, steps: int, batch_size: int, learning_rate: float) -> None:
    """Train, save, load, test, predict."""
    known = sentences()
    tested, trained = known[::6], [sentence for number, sentence in enumerate(known) if number % 6]
    tokenizer = registry.load_tokenizer(name)

    def inputs_at(step: int) -> dict[str, Any]:
        texts, entities = zip(*random.Random(step).sample(trained, batch_size), strict=True)
        batch = tokenizer(list(texts), padding=True, return_offsets_mapping=True, return_tensors="pt")
        batch["labels"] = labels(batch, list(entities))
        del batch["offset_mapping"]
        return batch

    train(
        lambda: registry.load_model(name, "token-classification", id2label=dict(enumerate(KINDS))),
        inputs_at,
        output,
        steps=steps,
        learning_rate=learning_rate,
        tokenizer=tokenizer,
    )

    loaded = registry.load(output / "model")
    found = find(loaded.model, loaded.tokenizer, [text for text, _ in tested])
    right = sum(len(set(ours) & set(theirs)) for ours, (_, theirs) in zip(found, tested, strict=True))
    every = sum(len(ours) + len(theirs) for ours, (_, theirs) in zip(found, tested, strict=True))
    print(
        f"Trained on {len(trained)} sentences; on {len(tested)} others, F1 of whole entities {2 * right / every:.1%}.\n"
    )
    for start, end, kind in find(loaded.model, loaded.tokenizer, [TEXT])[0]:
        print(f"{kind:>12}  {TEXT[start:end]}")


if __name__ == "__main__":
    main()
