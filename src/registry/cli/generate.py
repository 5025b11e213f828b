"""``registry generate NAME PROMPT``."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from registry.cli.names import name_argument
from registry.cli.output import json_option, print_json
from registry.cli.trained import device_option, load_trained

if TYPE_CHECKING:
    from torch import Tensor

    from registry.tokenization.base import Tokenizer

UNFINISHED = "\ufffd"
"""What decoding gives for a character of which not all bytes are there yet."""


@click.command()
@name_argument
@click.argument("prompt")
@click.option("-n", "--max-new-tokens", type=click.IntRange(1), default=100, show_default=True, help="Tokens to write.")
@click.option("--temperature", type=float, default=0.0, help="Above 0, draw tokens at random; else take the likeliest.")
@click.option("--top-k", type=int, help="Draw from the K likeliest tokens.")
@click.option("--top-p", type=float, help="Draw from the fewest tokens that together have the probability P.")
@click.option("--repetition-penalty", type=float, default=1.0, help="Above 1, avoid tokens that were written already.")
@click.option("--num-beams", type=int, default=1, help="Follow that many texts, and print the best when it is done.")
@click.option("--seed", type=int, help="Draw the same tokens again.")
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
    """Continue a text, and print it as it is written.

    PROMPT is the text to continue, or '-' for what stdin holds.  Of a text that outgrows what the model sees at once,
    the older half is forgotten.
    """
    import torch

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
    writer = Continuation(loaded.tokenizer, ids[0].tolist(), _print if streaming else None)
    try:
        if streaming:
            _print(prompt)
            loaded.model.generate(ids, on_token=writer.take, **how)
        else:
            writer.take(loaded.model.generate(ids, **how)[0, ids.shape[1] :])
        writer.finish()
    finally:
        if streaming:
            click.echo()  # also after Ctrl-C: what comes next begins on a line of its own
    if as_json:
        print_json(
            {"model": name, "prompt": prompt, "continuation": writer.text, "tokens": len(writer.ids), "ids": writer.ids}
        )
    elif not streaming:
        click.echo(prompt + writer.text)


def _print(text: str) -> None:
    click.echo(text, nl=False)  # click flushes


class Continuation:
    """The text that new ids spell behind a prompt, given to ``show`` as soon as it is certain.

    A token may be some bytes of a character, or change how the last ones are spelled; what could still change waits.
    """

    def __init__(self, tokenizer: "Tokenizer", prompt: list[int], show: Callable[[str], object] | None) -> None:
        self.ids: list[int] = []
        """The new ones."""
        self.text = ""
        """What was shown of the text."""
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._start = self._decode()
        self._show = show

    def take(self, ids: "Tensor") -> None:
        """Add the next ids, ``(tokens,)``."""
        self.ids += ids.tolist()
        self._add(self._decode().rstrip(UNFINISHED))

    def finish(self) -> None:
        """Show what still waits."""
        self._add(self._decode())

    def _add(self, spelled: str) -> None:
        known = self._start + self.text
        if spelled.startswith(known):
            new = spelled[len(known) :]
            self.text += new
            if new and self._show is not None:
                self._show(new)

    def _decode(self) -> str:
        return self._tokenizer.decode(self._prompt + self.ids, skip_special_tokens=True)
