"""Write the hidden states of a BERT for every token of every line of INPUT, as JSON lines.

A line is one text, or two with ||| between them.  Each line of OUTPUT is an object as extract_features.py of Google's
BERT and of pytorch-pretrained-bert wrote it: linex_index, and features, the tokens with the values of the selected
layers.  OUTPUT appears when it is complete; after Ctrl-C, the same command resumes.
"""

import json
import signal
import sys
from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

import registry
from training import interruptions


def batches(lines: list[str], size: int) -> Iterator[list[Any]]:
    """Batches of at most ``size`` consecutive texts, or pairs of texts."""
    texts = [tuple(line.split(" ||| ", 1)) if " ||| " in line else line for line in lines]
    for _, group in groupby(texts, key=type):
        while batch := list(islice(group, size)):
            yield batch


def features(pretrained: registry.Pretrained, texts: list[Any], layers: list[int], length: int) -> Iterator[Any]:
    """The tokens of each text with their values at some layers: 0 is the first, -1 the last."""
    tokenizer = pretrained.tokenizer
    batch = tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
    with torch.inference_mode():
        states = pretrained.model(**batch, output_hidden_states=True).hidden_states[1:]  # without the embeddings
    values = torch.stack([states[layer] for layer in layers], dim=2)  # (texts, tokens, layers, width)
    for ids, mask, of_text in zip(batch["input_ids"], batch["attention_mask"], values, strict=True):
        tokens = tokenizer.convert_ids_to_tokens(ids[mask == 1])
        yield [
            {
                "token": token,
                "layers": [
                    {"index": layer, "values": [round(value, 6) for value in row]}
                    for layer, row in zip(layers, of_token, strict=True)
                ],
            }
            for token, of_token in zip(tokens, of_text.tolist(), strict=False)  # padding is left
        ]


def done_before(partial: Path) -> int:
    """The number of complete lines in an unfinished output; an incomplete last one is removed."""
    if not partial.exists():
        return 0
    text = partial.read_bytes()
    complete = text[: text.rfind(b"\n") + 1]
    partial.write_bytes(complete)
    return complete.count(b"\n")


def _numbers(_context: click.Context, _option: click.Parameter, text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise click.BadParameter("not a list of integers, such as -1,-2.") from None


@click.command(help=__doc__)
@click.argument("source", metavar="INPUT", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--model", "name", default="all-minilm-l6-v2", show_default=True, help="Pretrained BERT.")
@click.option("--layers", default="-1,-2,-3,-4", show_default=True, callback=_numbers, help="0 is the first layer.")
@click.option("--max-length", default=128, show_default=True, help="Maximum tokens per text.")
@click.option("--batch-size", default=32, show_default=True, help="Texts per batch.")
def main(source: Path, output: Path, name: str, layers: list[int], max_length: int, batch_size: int) -> None:
    """Read, compute, write."""
    number = registry.load_config(name).num_hidden_layers
    if not all(-number <= layer < number for layer in layers):
        raise click.BadParameter(f"{name} has {number} layers: from 0 to {number - 1}, or from -1 to {-number}.")
    lines = source.read_text(encoding="utf-8").splitlines()
    partial = output.with_name(f"{output.name}.partial")
    number = done_before(partial)
    pretrained = registry.load(name, "base")
    with (
        interruptions() as interrupted,
        tqdm(total=len(lines), initial=number, unit="line", disable=None) as bar,
        partial.open("a", encoding="utf-8") as file,
    ):
        for texts in batches(lines[number:], batch_size):
            for found in features(pretrained, texts, layers, max_length):
                file.write(json.dumps({"linex_index": number, "features": found}) + "\n")
                number += 1
            file.flush()
            bar.update(len(texts))
            if interrupted() and number < len(lines):
                bar.close()
                print(f"Stopped after {number} of {len(lines)} lines; the same command resumes.", file=sys.stderr)
                raise SystemExit(128 + signal.SIGINT)
    partial.replace(output)

    with output.open(encoding="utf-8") as file:
        first = next(item for item in map(json.loads, file) if len(item["features"]) > 2)
    print(f"{len(lines)} lines of {source} are in {output}.  Line {first['linex_index'] + 1}, layer {layers[0]}:\n")
    for feature in first["features"]:
        values = feature["layers"][0]["values"]
        print(f"{feature['token']:>12}  {' '.join(f'{value:7.3f}' for value in values[:6])}  ...")


if __name__ == "__main__":
    main()
