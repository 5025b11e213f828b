"""Fine-tune a small BERT to classify sentences by topic.

The texts are the first sentences of docstrings of the standard library, and their topics the modules that they come
from; or those of a CSV file.  A tenth is held out for the test.  The model is saved in OUTPUT/model; asked for more
steps, the same command continues.
"""

import random
from pathlib import Path
from typing import Any

import click
import torch

import registry
from docstrings import docstrings
from log import say
from own_data import data_option, read_rows
from training import train

TOPICS = {
    "concurrency": ("asyncio", "concurrent", "multiprocessing", "queue", "sched", "subprocess", "threading"),
    "drawing": ("tkinter", "turtle"),
    "files": ("bz2", "glob", "gzip", "lzma", "os", "pathlib", "shutil", "tarfile", "tempfile", "zipfile"),
    "mail": ("email", "imaplib", "mailbox", "poplib", "smtplib"),
    "markup": ("html", "plistlib", "xml"),
    "numbers": ("_pydecimal", "fractions", "numbers", "random", "statistics"),
    "testing": ("bdb", "doctest", "pdb", "trace", "unittest"),
    "web": ("ftplib", "http", "ipaddress", "socketserver", "ssl", "urllib", "wsgiref", "xmlrpc"),
}
SENTENCES = (
    "Log in to the server and fetch all unread messages.",
    "Draw a circle with the given radius and colour.",
    "Wait until all the workers have finished their tasks.",
    "Compute the median of a list of measurements.",
    "Copy a whole directory to another place, permissions included.",
    "Fail unless the two lists are equal.",
)
"""Sentences that are not in the training data, for a demonstration."""


def examples(rng: random.Random) -> list[tuple[str, str]]:
    """The first sentence of each docstring and its topic, shuffled."""
    pairs = []
    for label, modules in TOPICS.items():
        for docstring in docstrings(*modules):
            text = " ".join(docstring.text.partition("\n\n")[0].split())
            if len(text) > 30:
                pairs.append((text, label))
    rng.shuffle(pairs)
    return pairs


def own(data: Path) -> list[tuple[str, str]]:
    """The texts and labels of a CSV file, shuffled.

    Raises:
        ClickException: There are too few to train and to test, or all have one label.
    """
    pairs = [(text, label) for text, label in read_rows(data, ("text", "label"))]
    if len(pairs) < 10 or len({label for _, label in pairs}) < 2:
        raise click.ClickException(f"{data} has {len(pairs)} texts; at least ten, and two labels, are needed.")
    random.Random(0).shuffle(pairs)
    return pairs


def classify(model: Any, tokenizer: Any, texts: list[str]) -> torch.Tensor:
    """The probability of each topic for each text, ``(texts, topics)``."""
    found = []
    for start in range(0, len(texts), 64):
        batch = tokenizer(texts[start : start + 64], padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            found.append(model(**batch).logits.softmax(-1))
    return torch.cat(found)


@click.command(help=__doc__)
@click.argument("output", type=click.Path(file_okay=False, path_type=Path))
@click.option("--model", "name", default="all-minilm-l6-v2", show_default=True, help="Pretrained BERT.")
@click.option("--steps", default=200, show_default=True, help="Training steps.")
@click.option("--batch-size", default=16, show_default=True, help="Texts per batch.")
@click.option("--learning-rate", default=6e-4, show_default=True, help="Peak learning rate, after warmup.")
@data_option("text", "label")
def main(output: Path, name: str, steps: int, batch_size: int, learning_rate: float, data: Path | None) -> None:
    """Train, save, load, test, predict."""
    say("Reading the texts ...")
    pairs = examples(random.Random(0)) if data is None else own(data)
    tenth = max(1, len(pairs) // 10)
    tested, trained = pairs[:tenth], pairs[tenth:]
    labels = sorted({label for _, label in pairs})
    say(f"{len(pairs):,} texts with {len(labels)} labels: {', '.join(labels[:10])}{' ...' if len(labels) > 10 else ''}")
    tokenizer = registry.load_tokenizer(name)

    def start() -> Any:
        return registry.load_model(name, "sequence-classification", id2label=dict(enumerate(labels)))

    def inputs(chosen: list[tuple[str, str]]) -> dict[str, Any]:
        texts = [text for text, _ in chosen]
        batch = tokenizer(texts, padding=True, truncation=True, max_length=64, return_tensors="pt")
        return {**batch, "labels": torch.tensor([labels.index(label) for _, label in chosen])}

    train(
        start,
        lambda step: inputs(random.Random(step).sample(trained, min(batch_size, len(trained)))),
        output,
        steps=steps,
        learning_rate=learning_rate,
        tokenizer=tokenizer,
        held_out=[inputs(tested[first : first + 64]) for first in range(0, min(256, len(tested)), 64)],
        options={"model": name, "data": data},
    )

    say(f"Classifying {len(tested):,} other texts ...")
    loaded = registry.load(output / "model")
    found = classify(loaded.model, loaded.tokenizer, [text for text, _ in tested]).argmax(-1)
    right = (found == torch.tensor([labels.index(label) for _, label in tested])).float().mean()
    print(f"Trained on {len(trained)} texts; accuracy on {len(tested)} others {right:.1%}.\n")
    shown = list(SENTENCES) if data is None else [text for text, _ in tested[:6]]
    for sentence, row in zip(shown, classify(loaded.model, loaded.tokenizer, shown), strict=True):
        value, label = row.max(0)
        print(f"{loaded.config.id2label[int(label)]:>12} {value:4.0%}  {sentence}")


if __name__ == "__main__":
    main()
