"""``registry generate NAME PROMPT``."""

import sys
from typing import Any

import click

from registry.cli.names import name_argument
from registry.cli.output import echo, json_option, print_json
from registry.cli.run.trained import device_option, load_trained


@click.command()
@name_argument()
@click.argument("prompt")
@click.option(
    "-n", "--max-new-tokens", type=click.IntRange(1), default=100, show_default=True, help="Tokens to generate."
)
@click.option("--temperature", type=float, default=0.0, help="Above 0: sample; higher is more random. 0: greedy.")
@click.option("--top-k", metavar="K", type=int, help="Sample from the K most likely tokens.")
@click.option("--top-p", metavar="P", type=float, help="Nucleus sampling: smallest set with total probability P.")
@click.option("--repetition-penalty", type=float, default=1.0, help="Above 1: make repeated tokens less likely.")
@click.option("--num-beams", metavar="N", type=int, default=1, help="Beam search with N beams (no streaming).")
@click.option("--seed", type=int, help="Seed of the random generator.")
@device_option
@json_option
def command(
    name: str,
    prompt: str,
    max_new_tokens: int,
    seed: int | None,
    num_beams: int,
    device: str | None,
    as_json: bool,
    **sampling: Any,
) -> None:
    """Generate text from a prompt (streams).

    PROMPT is a text, or '-' for stdin.  Beyond the context length, the older half of the context is dropped.
    """
    import torch

    from registry.generation.streaming import TextStreamer

    if prompt == "-":
        prompt = sys.stdin.read()
    loaded = load_trained(name, "causal-lm", device)
    where = next(loaded.model.parameters()).device
    end = loaded.tokenizer.eos_token
    ids = loaded.tokenizer([prompt], return_tensors="pt")["input_ids"].to(where)
    how = {
        "max_new_tokens": max_new_tokens,
        "num_beams": num_beams,
        "eos_token_id": None if end is None else loaded.tokenizer.vocab.get(end),
        "generator": None if seed is None else torch.Generator(where).manual_seed(seed),
        "when_full": "slide",
        **sampling,
    }
    streaming = not as_json and num_beams == 1
    continuation = TextStreamer(loaded.tokenizer, ids[0], show=_print if streaming else None)
    try:
        if streaming:
            _print(prompt)
            loaded.model.generate(ids, on_token=continuation, **how)
        else:
            continuation.put(loaded.model.generate(ids, **how)[0, ids.shape[1] :])
        continuation.end()
    finally:
        if streaming:
            echo()  # after Ctrl-C as well: the next output begins on a new line
    if as_json:
        print_json(
            {
                "model": name,
                "prompt": prompt,
                "continuation": continuation.text,
                "tokens": len(continuation.ids),
                "ids": continuation.ids,
            }
        )
    elif not streaming:
        echo(prompt + continuation.text)


def _print(text: str) -> None:
    echo(text, end="")
