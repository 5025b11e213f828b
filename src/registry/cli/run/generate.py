"""``registry generate NAME PROMPT``."""

from typing import Any

import click

from registry.cli.names import name_argument
from registry.cli.output import echo, json_option, print_json
from registry.cli.run.trained import (
    check_sampling,
    device_option,
    end_ids,
    generation_options,
    load_trained,
    task_that_generates,
)
from registry.cli.texts import text_argument


@click.command()
@name_argument()
@text_argument("prompt")
@generation_options
@click.option("--num-beams", metavar="N", type=click.IntRange(1), help="Beam search with N beams (no streaming).")
@device_option
@json_option
def command(
    name: str,
    prompt: str,
    max_new_tokens: int,
    seed: int | None,
    num_beams: int | None,
    device: str | None,
    as_json: bool,
    **sampling: Any,
) -> None:
    """Generate text from a prompt (streams).

    A causal model continues the prompt; an encoder-decoder answers it.

    Decoding is greedy unless --temperature, or the model's generation_config.json, says otherwise.  PROMPT is a text,
    or '-' for stdin.  Beyond the context length, the older half of the context is dropped.
    """
    check_sampling(beams=(num_beams or 1) > 1, seed=seed, **sampling)
    import torch

    from registry.generation.state import Seq2SeqModel
    from registry.generation.streaming import TextStreamer

    loaded = load_trained(name, task_that_generates(name), device)
    where = next(loaded.model.parameters()).device
    ids = loaded.tokenizer([prompt], return_tensors="pt")["input_ids"].to(where)
    answers = isinstance(loaded.model, Seq2SeqModel)
    before = [] if answers else ids[0]
    shown = "" if answers else prompt
    how = {
        "max_new_tokens": max_new_tokens,
        "num_beams": num_beams,
        "eos_token_id": end_ids(loaded),
        "tokenizer": loaded.tokenizer,
        "generator": None if seed is None else torch.Generator(where).manual_seed(seed),
        "when_full": "slide",
        **sampling,
    }
    if not as_json and (num_beams or 1) == 1:
        _stream(loaded, ids, before, shown, how)
        return
    continuation = TextStreamer(loaded.tokenizer, before, show=None)
    begun = loaded.model.start(ids)[1] if answers else ids
    continuation.put(loaded.model.generate(ids, **how)[0, begun.shape[1] :])
    continuation.end()
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
    else:
        echo(shown + continuation.text)


def _stream(loaded: Any, ids: Any, before: Any, shown: str, how: dict[str, Any]) -> None:
    """Print what a text begins with, once there is a token after it, and what follows as it comes.

    Args:
        loaded: The model and its tokenizer.
        ids: The prompt, ``(1, tokens)``.
        before: The ids that new tokens follow, ``(tokens,)``.
        shown: Their text.
        how: The options of ``generate``.
    """
    from registry.generation.streaming import TextStreamer

    continuation = TextStreamer(loaded.tokenizer, before, show=_print)
    begun = False

    def on_token(step: Any) -> None:
        nonlocal begun
        if not begun:
            begun = True
            _print(shown)
        continuation(step)

    try:
        loaded.model.generate(ids, on_token=on_token, **how)
        continuation.end()
    finally:
        if begun:
            echo()  # after Ctrl-C as well: the next output begins on a new line


def _print(text: str) -> None:
    echo(text, end="")
