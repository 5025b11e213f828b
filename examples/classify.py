"""Fine-tune a small BERT to classify sentences by topic.

The texts are the first sentences of docstrings of the standard library, and their topics the modules that they come
from.  A tenth is held out for the test.  The model is saved in OUTPUT/model; if that exists, it is only tested.
"""

import random
from pathlib import Path
from typing import Any

import click
import torch

import registry
from docstrings import docstrings
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


def examples(rng: random.Random) -> list[tuple[str, int]]:
    """The first sentence of each docstring and the number of its topic, shuffled."""
    pairs = []
    for label, modules in enumerate(TOPICS.values()):
        for docstring in docstrings(*modules):
            text = " ".join(docstring.text.partition("\n\n")[0].split())
            if len(text) > 30:
                pairs.append((text, label))
    rng.shuffle(pairs)
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
def main(output: Path, name: str, steps: int, batch_size: int, learning_rate: float) -> None:
    """Train, save, load, test, predict."""
    pairs = examples(random.Random(0))
    tested, trained = pairs[: len(pairs) // 10], pairs[len(pairs) // 10 :]
    tokenizer = registry.load_tokenizer(name)

    def start() -> Any:
        names = dict(enumerate(TOPICS))
        return registry.load_model(name, "sequence-classification", id2label=names)

    def inputs_at(step: int) -> dict[str, Any]:
        texts, labels = zip(*random.Random(step).sample(trained, batch_size), strict=True)
        batch = tokenizer(list(texts), padding=True, truncation=True, max_length=64, return_tensors="pt")
        return {**batch, "labels": torch.tensor(labels)}

    train(start, inputs_at, output, steps=steps, learning_rate=learning_rate, tokenizer=tokenizer)

    loaded = registry.load(output / "model")
    found = classify(loaded.model, loaded.tokenizer, [text for text, _ in tested]).argmax(-1)
    right = (found == torch.tensor([label for _, label in tested])).float().mean()
    print(f"Trained on {len(trained)} texts; accuracy on {len(tested)} others {right:.1%}.\n")
    for sentence, row in zip(SENTENCES, classify(loaded.model, loaded.tokenizer, list(SENTENCES)), strict=True):
        value, label = row.max(0)
        print(f"{loaded.config.id2label[int(label)]:>12} {value:4.0%}  {sentence}")


if __name__ == "__main__":
    main()
