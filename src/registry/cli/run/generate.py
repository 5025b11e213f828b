"""``registry generate NAME PROMPT``."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from registry.cli.names import name_argument
from registry.cli.output import json_option, print_json
from registry.cli.run.trained import device_option, load_trained

if TYPE_CHECKING:
    from torch import Tensor

    from registry.tokenization.base import Tokenizer

UNFINISHED = "\ufffd"
"""The replacement character, which stands for an incomplete character."""


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
    continuation = Continuation(loaded.tokenizer, ids[0].tolist(), _print if streaming else None)
    try:
        if streaming:
            _print(prompt)
            loaded.model.generate(ids, on_token=continuation.take, **how)
        else:
            continuation.take(loaded.model.generate(ids, **how)[0, ids.shape[1] :])
        continuation.finish()
    finally:
        if streaming:
            click.echo()  # after Ctrl-C as well: the next output begins on a new line
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
        click.echo(prompt + continuation.text)


def _print(text: str) -> None:
    click.echo(text, nl=False)  # click flushes


class Continuation:
    """The text of new ids after a prompt, passed to ``show`` as soon as it is final.

    A token may hold part of a character's bytes, or change the spelling of those before it; text that can still change
    is held back.
    """

    def __init__(self, tokenizer: "Tokenizer", prompt: list[int], show: Callable[[str], object] | None) -> None:
        self.ids: list[int] = []
        """The new ids."""
        self.text = ""
        """The text shown so far."""
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._start = self._decode()
        self._show = show

    def take(self, ids: "Tensor") -> None:
        """Add the next ids, ``(tokens,)``."""
        self.ids += ids.tolist()
        self._add(self._decode().rstrip(UNFINISHED))

    def finish(self) -> None:
        """Show the text that was held back."""
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
