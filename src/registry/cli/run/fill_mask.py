"""``registry fill-mask NAME TEXT...``."""

from typing import TYPE_CHECKING, Any, BinaryIO

import click

from registry.cli.names import complete_names, name_argument
from registry.cli.output import echo, json_option, print_json, print_table
from registry.cli.run.trained import device_option, load_trained
from registry.cli.texts import all_texts, texts_argument
from registry.errors import InputError

if TYPE_CHECKING:
    from registry.loading.loaded import Pretrained


@click.command()
@name_argument(required=False)
@texts_argument
@click.option("-m", "--model", metavar="NAME", shell_complete=complete_names, hidden=True, help="The same as NAME.")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Words to show per mask.")
@device_option
@json_option
def command(
    name: str | None,
    texts: tuple[str, ...],
    file: BinaryIO | None,
    model: str | None,
    top: int,
    device: str | None,
    as_json: bool,
) -> None:
    """Predict masked words.

    TEXT contains the mask token: registry fill-mask bert-base-uncased 'Paris is the [MASK] of France.'  Several masks
    are predicted independently.
    """
    if model is not None:
        name, texts = model, ((name, *texts) if name is not None else texts)
    if name is None or " " in name.strip():
        raise click.UsageError("name a model before the text: registry fill-mask NAME TEXT.")
    lines = all_texts(texts, file)
    loaded = load_trained(name, "masked-lm", device)
    answers: list[dict[str, Any]] = [{"text": text, "masks": _fill(loaded, text, top)} for text in lines]
    if as_json:
        print_json(answers)
        return
    for number, answer in enumerate(answers):
        if number:
            echo()
        print_table(
            ("word", "probability", "text"),
            [
                (word["token"], f"{100 * word['probability']:.1f} %", word["text"])
                for mask in answer["masks"]
                for word in mask
            ],
            numbers=("probability",),
        )


def _fill(loaded: "Pretrained", text: str, top: int) -> list[list[dict[str, Any]]]:
    """The most likely tokens of each mask in the text, in descending order."""
    import torch

    tokenizer = loaded.tokenizer
    mask_id = tokenizer.special_id("mask_token")
    mask = tokenizer.ids_to_tokens[mask_id]
    batch = tokenizer([text], return_tensors="pt").to(next(loaded.model.parameters()).device)
    (positions,) = (batch["input_ids"][0] == mask_id).nonzero(as_tuple=True)
    if not len(positions):
        raise InputError(f"{text!r} has no mask.", hint=f"Write {mask} for the word to predict.")
    with torch.inference_mode():
        shares = loaded.model(**batch).logits[0, positions].softmax(dim=-1)
    likely = shares[:, : len(tokenizer)].topk(min(top, len(tokenizer)))  # a model may have more ids
    parts = text.split(mask)
    return [
        [
            {
                "token": token,
                "id": number,
                "probability": probability,
                "text": mask.join(parts[: which + 1]) + token + mask.join(parts[which + 1 :]),
            }
            for number, probability in zip(ids, probabilities, strict=True)
            for token in (tokenizer.decode(number),)
        ]
        for which, (ids, probabilities) in enumerate(zip(likely.indices.tolist(), likely.values.tolist(), strict=True))
    ]
