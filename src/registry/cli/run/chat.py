"""``registry chat NAME``."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from registry.cli.names import name_argument
from registry.cli.output import echo, json_option, print_json, say
from registry.cli.run.trained import check_sampling, device_option, end_ids, generation_options, load_trained

if TYPE_CHECKING:
    from registry.loading.loaded import Pretrained

PROMPT = "> "
"""What is shown on a terminal before a message."""


@click.command()
@name_argument()
@click.argument("message", required=False)
@click.option("--system", metavar="TEXT", help="Instructions at the start of the conversation.")
@generation_options
@device_option
@json_option
def command(
    name: str, message: str | None, system: str | None, device: str | None, as_json: bool, seed: int | None, **how: Any
) -> None:
    """Chat with a model that has a chat template.

    On a terminal, messages are read until Ctrl-D; elsewhere each line of stdin is a message.  With MESSAGE, only that
    one is answered.
    """
    check_sampling(seed=seed, **how)
    import torch

    loaded = load_trained(name, "causal-lm", device)
    loaded.tokenizer.get_chat_template()  # an error if it has none
    where = next(loaded.model.parameters()).device
    how["generator"] = None if seed is None else torch.Generator(where).manual_seed(seed)
    conversation = [] if system is None else [{"role": "system", "content": system}]
    for text in [message] if message is not None else _messages():
        conversation.append({"role": "user", "content": text})
        answer = _answered(loaded, conversation, how, streams=not as_json)
        conversation.append({"role": "assistant", "content": answer})
    if as_json:
        print_json({"model": name, "messages": conversation})


def _messages() -> Iterator[str]:
    """The user's messages, without empty ones."""
    if sys.stdin.isatty():
        import readline  # noqa: F401  # arrow keys

        say("Ctrl-D ends the conversation.")
    while True:
        try:
            line = input(PROMPT if sys.stdin.isatty() and sys.stdout.isatty() else "")
        except EOFError:
            if sys.stdin.isatty():
                echo()
            return
        if line.strip():
            yield line


def _answered(loaded: "Pretrained", conversation: list[dict[str, str]], how: dict[str, Any], *, streams: bool) -> str:
    """The model's answer to the last message, printed as it comes."""
    from registry.generation.streaming import TextStreamer

    batch = loaded.tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_tensors="pt")
    ids = batch["input_ids"].to(next(loaded.model.parameters()).device)
    answer = TextStreamer(loaded.tokenizer, ids[0], show=_print if streams else None)
    try:
        how = {"tokenizer": loaded.tokenizer, "eos_token_id": end_ids(loaded), "when_full": "slide", **how}
        loaded.model.generate(ids, on_token=answer, **how)
        answer.end()
    finally:
        if streams:
            echo()
    return answer.text


def _print(text: str) -> None:
    echo(text, end="")
