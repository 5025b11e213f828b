"""Train a small Transformer-XL from scratch on the docstrings of the standard library, and generate text.

The text is read in consecutive segments; the memory of each reaches back into earlier ones.  A CSV file of texts can
take its place.  A tenth of the texts is held out for the test.  The model is saved in OUTPUT/model; asked for more
steps, the same command continues.
"""

import math
import random
import re
from pathlib import Path
from typing import Any

import click
import torch

import registry
from docstrings import docstrings
from log import say
from own_data import data_option, read_rows
from plugins.transfo_xl.corpus import TransfoXLCorpus
from registry.files.atomic import content_writer
from registry.saving.folder import write_file
from registry.zoo import TransfoXLConfig, TransfoXLLMHeadModel, TransfoXLTokenizer
from training import train

PROMPTS = ("return the", "raise valueerror if", "this class")
RARE = 4
"""Words with a lower count than this are unknown."""


def write_corpus(directory: Path, texts: list[str]) -> None:
    """Write train.txt, valid.txt and test.txt: one text per line, words and punctuation separated by spaces."""
    lines = [" ".join(re.findall(r"\w+|[^\w\s]", text)) for text in texts]
    random.Random(0).shuffle(lines)
    tenth = max(1, len(lines) // 10)
    for name, part in (("test", lines[:tenth]), ("valid", lines[tenth : tenth + 20]), ("train", lines[tenth + 20 :])):
        write_file(directory / f"{name}.txt", content_writer("".join(f"{line}\n" for line in part)))


def perplexity(model: Any, corpus: TransfoXLCorpus, length: int) -> float:
    """The perplexity of the test text, with memory across segments."""
    losses, mems = [], None
    for segment in corpus.get_iterator("test", batch_size=8, tgt_len=length):
        with torch.inference_mode():
            output = model(segment.input_ids, target=segment.target, mems=mems)
        losses.append(output.losses.flatten())
        mems = output.mems
    return math.exp(torch.cat(losses).mean().item())


def perplexity_of_frequencies(corpus: TransfoXLCorpus) -> float:
    """The perplexity of the unigram model of the training text."""
    counts = torch.bincount(corpus.train, minlength=len(corpus.tokenizer)).clamp(min=1).float()
    return math.exp(-(counts / counts.sum()).log()[corpus.test].mean().item())


@click.command(help=__doc__)
@click.argument("output", type=click.Path(file_okay=False, path_type=Path))
@click.option("--steps", default=1200, show_default=True, help="Training steps.")
@click.option("--batch-size", default=8, show_default=True, help="Texts per batch.")
@click.option("--length", default=64, show_default=True, help="Words per segment, and of the memory.")
@click.option("--layers", default=2, show_default=True, help="Layers of the model.")
@click.option("--width", default=128, show_default=True, help="Hidden size; 32 per head.")
@click.option("--learning-rate", default=3e-3, show_default=True, help="Peak learning rate, after warmup.")
@data_option("text")
def main(
    output: Path,
    steps: int,
    batch_size: int,
    length: int,
    layers: int,
    width: int,
    learning_rate: float,
    data: Path | None,
) -> None:
    """Train, save, load, test, generate."""
    say("Reading the texts ...")
    texts = (
        [docstring.text for docstring in docstrings()]
        if data is None
        else [row[0] for row in read_rows(data, ["text"])]
    )
    if len(texts) < 40:
        raise click.ClickException(f"{len(texts)} texts are too few: at least forty are needed.")
    write_corpus(output / "text", texts)
    tokenizer = TransfoXLTokenizer(special=("<eos>", "<unk>"), min_freq=RARE, lower_case=True)
    corpus = TransfoXLCorpus.from_folder(output / "text", tokenizer)
    segments = list(corpus.get_iterator("train", batch_size, length))

    def start() -> Any:
        sizes = {"d_model": width, "d_embed": width, "n_head": width // 32, "d_head": 32, "d_inner": 4 * width}
        lengths = {"n_layer": layers, "tgt_len": length, "mem_len": length, "clamp_len": 2 * length}
        frequent = {"cutoffs": (len(tokenizer) // 8, len(tokenizer) // 2), "div_val": 2}
        small = {"init_std": 0.05, "proj_init_std": 0.05, "pre_lnorm": True}  # the published ones suit a width of 1024
        model = TransfoXLLMHeadModel(
            TransfoXLConfig(vocab_size=len(tokenizer), **sizes, **lengths, **frequent, **small)
        )
        model.init_weights()
        return model

    def inputs_at(step: int) -> dict[str, Any]:
        segment = segments[step % (len(segments) - 1)]  # the last one is shorter
        return {"input_ids": segment.input_ids, "target": segment.target}

    held_out = list(corpus.get_iterator("valid", 1, length))[:8]
    train(
        start,
        inputs_at,
        output,
        steps=steps,
        learning_rate=learning_rate,
        tokenizer=tokenizer,
        carry="mems",
        held_out=[{"input_ids": segment.input_ids, "target": segment.target} for segment in held_out],
        options={"layers": layers, "width": width, "length": length, "data": data},
    )

    loaded = registry.load(output / "model")
    print(
        f"Trained on {len(corpus.train)} words, {len(tokenizer)} different ones. The perplexity of {len(corpus.test)} "
        f"others is {perplexity(loaded.model, corpus, length):.0f} (by frequency alone: "
        f"{perplexity_of_frequencies(corpus):.0f})."
    )
    for number, prompt in enumerate(PROMPTS):
        generated = loaded.model.generate(
            torch.tensor([loaded.tokenizer.encode(prompt)]),
            max_new_tokens=40,
            temperature=0.7,
            top_p=0.9,
            eos_token_id=loaded.tokenizer.eos_token_id,
            generator=torch.Generator().manual_seed(number),
        )
        print(f"\n{loaded.tokenizer.decode(generated[0], skip_special_tokens=True)}")


if __name__ == "__main__":
    main()
