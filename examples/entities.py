"""Fine-tune a small BERT for named entities: persons, places and organizations.

The sentences of entities.txt, next to this script, were written for it; a CSV file of such sentences can take their
place.  Every sixth is held out for the test.  The model is saved in OUTPUT/model; asked for more steps, the same
command continues.
"""

import random
import re
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch

import registry
from log import say
from own_data import data_option, read_rows
from training import train

KINDS = ("nothing", "person", "place", "organization")
MARKED = re.compile(r"\[(?P<words>[^]]+)\]\((?P<kind>\w+)\)")
IGNORED = -100
"""The label of special tokens and padding, which the loss ignores."""

TEXT = """\
Emilie du Chatelet translated Newton in a castle in Lorraine. Voltaire, who had fled from Paris, built her a laboratory.
The Academy of Bologna made her a member. Years later, Mary Somerville did the same for Laplace in Scotland, and the
University of Cambridge used her book.
"""
"""Text that is not in the training data, for a demonstration."""


class Entity(NamedTuple):
    """A span of a text, and the kind of what it names."""

    start: int
    end: int
    kind: str


def sentences(data: Path | None = None) -> list[tuple[str, list[Entity]]]:
    """The sentences without markup, and the entities that were marked; shuffled.

    Args:
        data: A CSV file whose column ``text`` has marked sentences: ``[Ada](person) lived in [London](place).``
    """
    if data is None:
        lines = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    else:
        lines = [text for (text,) in read_rows(data, ("text",))]
    random.Random(0).shuffle(lines)
    return [_unmarked(line) for line in lines]


def kinds_in(known: list[tuple[str, list[Entity]]]) -> tuple[str, ...]:
    """The kinds of entities, ``nothing`` first."""
    found = dict.fromkeys(entity.kind for _, entities in known for entity in entities)
    return (KINDS[0], *sorted(found, key=lambda kind: (*KINDS, kind).index(kind)))


def _unmarked(line: str) -> tuple[str, list[Entity]]:
    text, entities = "", []
    end = 0
    for match in MARKED.finditer(line):
        text += line[end : match.start()]
        entities.append(Entity(len(text), len(text) + len(match["words"]), match["kind"]))
        text += match["words"]
        end = match.end()
    return text + line[end:], entities


def labels(batch: Any, entities: list[list[Entity]], kinds: tuple[str, ...] = KINDS) -> torch.Tensor:
    """The number of the kind of each token, ``(texts, tokens)``."""
    found = torch.zeros_like(batch["input_ids"])
    for row, offsets, inside in zip(found, batch["offset_mapping"], entities, strict=True):
        for entity in inside:
            row[(offsets[:, 0] >= entity.start) & (offsets[:, 1] <= entity.end)] = kinds.index(entity.kind)
    return found.masked_fill(batch["offset_mapping"][..., 1] == 0, IGNORED)


def find(model: Any, tokenizer: Any, texts: list[str], names: tuple[str, ...] = KINDS) -> list[list[Entity]]:
    """The entities in each text: consecutive words of one kind are one entity.

    The prediction for the first subword of a word counts.
    """
    batch = tokenizer(texts, padding=True, truncation=True, return_offsets_mapping=True, return_tensors="pt")
    offsets = batch.pop("offset_mapping")
    with torch.inference_mode():
        kinds = model(**batch).logits.argmax(-1)
    found = []
    for ids, row, spans in zip(batch["input_ids"], kinds.tolist(), offsets.tolist(), strict=True):
        entities: list[Entity] = []
        before = kind = names[0]
        for subword, number, (start, end) in zip(tokenizer.convert_ids_to_tokens(ids), row, spans, strict=True):
            if not subword.startswith("##"):
                kind = names[number] if end else names[0]
            if kind != names[0] and kind == before:
                entities[-1] = Entity(entities[-1].start, end, kind)
            elif kind != names[0]:
                entities.append(Entity(start, end, kind))
            before = kind
        found.append(entities)
    return found


@click.command(help=__doc__)
@click.argument("output", type=click.Path(file_okay=False, path_type=Path))
@click.option("--model", "name", default="all-minilm-l6-v2", show_default=True, help="Pretrained BERT.")
@click.option("--steps", default=150, show_default=True, help="Training steps.")
@click.option("--batch-size", default=16, show_default=True, help="Sentences per batch.")
@click.option("--learning-rate", default=6e-4, show_default=True, help="Peak learning rate, after warmup.")
@data_option("text")
def main(output: Path, name: str, steps: int, batch_size: int, learning_rate: float, data: Path | None) -> None:
    """Train, save, load, test, predict."""
    known = sentences(data)
    kinds = kinds_in(known)
    if len(known) < 6 or len(kinds) < 2:
        raise click.ClickException(
            f"{data} has {len(known)} sentences; at least six, with marked entities, are needed."
        )
    say(f"{len(known):,} sentences with {', '.join(kinds[1:])}")
    tested, trained = known[::6], [sentence for number, sentence in enumerate(known) if number % 6]
    tokenizer = registry.load_tokenizer(name)

    def inputs(chosen: list[tuple[str, list[Entity]]]) -> Any:
        texts, entities = zip(*chosen, strict=True)
        batch = tokenizer(list(texts), padding=True, truncation=True, return_offsets_mapping=True, return_tensors="pt")
        batch["labels"] = labels(batch, list(entities), kinds)
        del batch["offset_mapping"]
        return batch

    train(
        lambda: registry.load_model(name, "token-classification", id2label=dict(enumerate(kinds))),
        lambda step: inputs(random.Random(step).sample(trained, min(batch_size, len(trained)))),
        output,
        steps=steps,
        learning_rate=learning_rate,
        tokenizer=tokenizer,
        held_out=[inputs(tested[:64])],
        options={"model": name, "data": data},
    )

    say(f"Tagging {len(tested):,} other sentences ...")
    loaded = registry.load(output / "model")
    found = find(loaded.model, loaded.tokenizer, [text for text, _ in tested], kinds)
    right = sum(len(set(ours) & set(theirs)) for ours, (_, theirs) in zip(found, tested, strict=True))
    every = sum(len(ours) + len(theirs) for ours, (_, theirs) in zip(found, tested, strict=True))
    f1 = 2 * right / every if every else 1.0
    print(f"Trained on {len(trained)} sentences; on {len(tested)} others, entity-level F1 {f1:.1%}.\n")
    text = TEXT if data is None else tested[0][0]
    for start, end, kind in find(loaded.model, loaded.tokenizer, [text], kinds)[0]:
        print(f"{kind:>12}  {text[start:end]}")


if __name__ == "__main__":
    main()
