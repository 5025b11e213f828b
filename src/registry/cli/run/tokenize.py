"""``registry tokenize NAME TEXT...``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from registry.cli.names import complete_names, name_argument
from registry.cli.output import echo, json_option, print_json, print_table, print_tokens
from registry.cli.texts import all_texts, texts_argument
from registry.formatting import plural

if TYPE_CHECKING:
    from registry.tokenization.base import Tokenizer


@click.command()
@name_argument()
@texts_argument
@click.option(
    "-c",
    "--compare",
    "others",
    metavar="NAME",
    multiple=True,
    shell_complete=complete_names,
    help="Show the tokens of another model, too; may be given several times.",
)
@click.option("--special/--no-special", default=True, help="With the special tokens that are added, or without.")
@json_option
def command(
    name: str,
    texts: tuple[str, ...],
    file: BinaryIO | None,
    others: tuple[str, ...],
    special: bool,
    as_json: bool,
) -> None:
    """Show the tokens of texts: subwords, ids and offsets.

    With --compare, the tokens of several models stand below each other.  Nothing but the tokenizers is loaded.
    """
    from registry.tokenization.load import load_tokenizer

    lines = all_texts(texts, file)
    tokenizers = {model: load_tokenizer(model) for model in (name, *others)}
    found = {
        model: [_tokens(tokenizer, text, special=special) for text in lines] for model, tokenizer in tokenizers.items()
    }
    if as_json:
        print_json(
            [
                {"model": model, "text": text, "tokens": tokens}
                for model, of_texts in found.items()
                for text, tokens in zip(lines, of_texts, strict=True)
            ]
        )
        return
    for number in range(len(lines)):
        if number:
            echo()
        _print({model: of_texts[number] for model, of_texts in found.items()})


def _tokens(tokenizer: "Tokenizer", text: str, *, special: bool) -> list[dict[str, Any]]:
    """The tokens of a text; one that was added has no characters."""
    batch = tokenizer([text], add_special_tokens=special, return_offsets_mapping=True)
    (ids,), (offsets,) = batch["input_ids"], batch["offset_mapping"]
    return [
        {
            "token": tokenizer.ids_to_tokens[number],
            "id": number,
            "start": start if end > start else None,
            "end": end if end > start else None,
            "text": text[start:end],
        }
        for number, (start, end) in zip(ids, offsets, strict=True)
    ]


def _print(found: dict[str, Sequence[dict[str, Any]]]) -> None:
    """Print the tokens of one text: a line of tokens for each model, and for a single model a table."""
    labels = {model: f"{model}  {plural(len(tokens), 'token')}" for model, tokens in found.items()}
    width = max(map(len, labels.values()))
    for model, tokens in found.items():
        print_tokens(f"{labels[model]:<{width}}  ", [(token["token"], token["start"] is None) for token in tokens])
    if len(found) == 1:
        ((_, tokens),) = found.items()
        print_table(
            ("token", "id", "start", "end", "text"),
            [tuple("" if token[key] is None else str(token[key]) for key in COLUMNS) for token in tokens],
            numbers=("id", "start", "end"),
        )


COLUMNS = ("token", "id", "start", "end", "text")
