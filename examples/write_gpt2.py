"""Train a small GPT-2 from scratch on the docstrings of the standard library, and generate text.

First it learns a byte-pair vocabulary from the same text; a CSV file of texts can take its place.  A twentieth of the
texts is held out for the test.  The model is saved in OUTPUT/model; asked for more steps, the same command continues.
"""

import lzma
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import torch

import registry
from docstrings import docstrings
from log import say
from own_data import data_option, read_rows
from plugins.gpt2.tokenization import END_OF_TEXT
from registry.tokenization.byte_level import bytes_to_unicode
from registry.zoo import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer
from training import train

WORD = re.compile(r" ?\w+| ?[^\s\w]+|\s+")
SMALL = {"steps": 200, "batch_size": 8, "context": 64, "layers": 2, "width": 64, "vocabulary": 512}
"""Options of ``--small``."""
FEW = ("email", "json", "statistics")
"""Modules whose docstrings are enough for a small model."""
PROMPTS = ("Return the", "Raise ValueError if", "This class")
Pair = tuple[str, str]


def learn_merges(texts: Iterable[str], number: int) -> list[Pair]:
    """The merge rules: repeatedly the most frequent pair of symbols (Sennrich et al., 2016)."""
    spelling = bytes_to_unicode()
    counts = Counter(word for text in texts for word in WORD.findall(text))
    words = [[spelling[byte] for byte in word.encode()] for word in counts]
    times = list(counts.values())
    pairs: Counter[Pair] = Counter()
    indices: dict[Pair, set[int]] = defaultdict(set)  # the words that contain a pair, or did
    for index, (word, count) in enumerate(zip(words, times, strict=True)):
        for pair in pairwise(word):
            pairs[pair] += count
            indices[pair].add(index)
    merges: list[Pair] = []
    while len(merges) < number:
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for index in indices.pop(best):
            before = list(pairwise(words[index]))
            words[index] = _merged(words[index], best)
            for pair in before:
                pairs[pair] -= times[index]
            for pair in pairwise(words[index]):
                pairs[pair] += times[index]
                indices[pair].add(index)
        del pairs[best]
    return merges


def _merged(word: list[str], pair: Pair) -> list[str]:
    joined, index = [], 0
    while index < len(word):
        found = tuple(word[index : index + 2]) == pair
        joined.append("".join(pair) if found else word[index])
        index += 2 if found else 1
    return joined


def tokenizer_for(texts: list[str], size: int) -> Any:
    """A tokenizer of ``size`` tokens: all bytes, the results of the learned rules, and the end of a text."""
    letters = list(bytes_to_unicode().values())
    merges = learn_merges(texts, size - len(letters) - 1)
    tokens = [*letters, *map("".join, merges), END_OF_TEXT]
    return GPT2Tokenizer({token: number for number, token in enumerate(tokens)}, merges)


def bits_per_byte(model: Any, tokenizer: Any, texts: list[str], context: int) -> float:
    """The cross entropy in bits per byte, over the first ``context`` tokens of each text."""
    bits = size = 0.0
    for text in texts:
        ids = torch.tensor([tokenizer.encode(END_OF_TEXT + text)[:context]])
        with torch.inference_mode():
            bits += model(ids, labels=ids).loss.item() * (ids.shape[1] - 1) / math.log(2)
        size += len(tokenizer.decode(ids[0, 1:]).encode())
    return bits / size


def _small(context: click.Context, _parameter: click.Parameter, small: bool) -> bool:
    """Change the defaults of the other options."""
    if small:
        context.default_map = SMALL
    return small


@click.command(help=__doc__)
@click.option("--small", is_flag=True, is_eager=True, callback=_small, help="A model that is trained in seconds.")
@click.argument("output", type=click.Path(file_okay=False, path_type=Path))
@click.option("--steps", default=1000, show_default=True, help="Training steps.")
@click.option("--batch-size", default=16, show_default=True, help="Sequences per batch.")
@click.option("--context", default=128, show_default=True, help="Context length in tokens.")
@click.option("--layers", default=4, show_default=True, help="Blocks of the model.")
@click.option("--width", default=192, show_default=True, help="Hidden size; 32 per head.")
@click.option("--vocabulary", default=1024, show_default=True, help="Vocabulary size, at least 257.")
@click.option("--learning-rate", default=3e-3, show_default=True, help="Peak learning rate, after warmup.")
@data_option("text")
def main(
    small: bool,
    output: Path,
    steps: int,
    batch_size: int,
    context: int,
    layers: int,
    width: int,
    vocabulary: int,
    learning_rate: float,
    data: Path | None,
) -> None:
    """Train, save, load, test, generate."""
    say("Reading the texts ...")
    texts = (
        [docstring.text for docstring in docstrings(*FEW * small)]
        if data is None
        else [row[0] for row in read_rows(data, ["text"])]
    )
    random.Random(0).shuffle(texts)
    twentieth = max(1, len(texts) // 20)
    tested, trained = texts[:twentieth], texts[twentieth:]
    say(f"Learning {vocabulary} tokens from {len(trained):,} texts ...")
    tokenizer = tokenizer_for(trained, vocabulary)
    ids = torch.tensor(tokenizer.encode("".join(END_OF_TEXT + text for text in trained)))
    if len(ids) <= context + batch_size:
        raise click.ClickException(f"{len(ids):,} tokens are too little text for sequences of {context}.")

    def start() -> Any:
        sizes = {"n_positions": context, "n_embd": width, "n_layer": layers, "n_head": width // 32}
        no_dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}  # little text is read more than once
        model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **sizes, **no_dropout))
        model.init_weights()
        return model

    def inputs_at(step: int) -> dict[str, Any]:
        rng = random.Random(step)
        rows = [ids[start : start + context] for start in rng.sample(range(len(ids) - context), batch_size)]
        return {"input_ids": torch.stack(rows), "labels": torch.stack(rows)}

    held = torch.tensor(tokenizer.encode("".join(END_OF_TEXT + text for text in tested)))[: 16 * context]
    held = held[: len(held) // context * context].view(-1, context)
    train(
        start,
        inputs_at,
        output,
        steps=steps,
        learning_rate=learning_rate,
        tokenizer=tokenizer,
        held_out=[{"input_ids": held, "labels": held}] if len(held) else [],
        options={"layers": layers, "width": width, "vocabulary": vocabulary, "context": context, "data": data},
    )

    say(f"Reading {len(tested):,} other texts ...")
    loaded = registry.load(output / "model")
    bits = bits_per_byte(loaded.model, loaded.tokenizer, tested, context)
    together = "\n".join(tested).encode()
    packed = 8 * len(lzma.compress(together)) / len(together)
    print(f"Trained on {len(trained)} texts; {len(tested)} others take {bits:.2f} bits per byte (xz: {packed:.2f}).")
    end = loaded.tokenizer.convert_tokens_to_ids(END_OF_TEXT)
    prompts = PROMPTS if data is None else [" ".join(text.split()[:3]) for text in tested[:3]]
    for number, prompt in enumerate(prompts):
        generated = loaded.model.generate(
            torch.tensor([loaded.tokenizer.encode(END_OF_TEXT + prompt)]),
            max_new_tokens=min(80, context - 20),
            temperature=0.7,
            top_p=0.9,
            eos_token_id=end,
            generator=torch.Generator().manual_seed(number),
        )
        print(f"\n{loaded.tokenizer.decode(generated[0], skip_special_tokens=True)}")


if __name__ == "__main__":
    main()
