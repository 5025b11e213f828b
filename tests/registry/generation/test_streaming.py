"""Text of tokens as they come: all pieces together are the text, and no piece is taken back."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plugins.bert.tokenization import BertTokenizer
from plugins.gpt.tokenization import OpenAIGPTTokenizer
from plugins.gpt2.tokenization import GPT2Tokenizer
from plugins.transfo_xl.tokenization import TransfoXLTokenizer
from registry.errors import InputError
from registry.generation import TextStreamer
from registry.tokenization.byte_level import bytes_to_unicode

SMALL = Path(__file__).parents[2] / "fixtures" / "vocabularies"
BYTES = [*bytes_to_unicode()]
"""The bytes in the order in which ``LETTERS`` numbers them."""
LETTERS = GPT2Tokenizer(
    {letter: number for number, letter in enumerate(bytes_to_unicode().values())}, [], unk_token=None
)
TOKENIZERS: dict[str, Any] = {
    "bert": BertTokenizer(SMALL / "bert" / "vocab.txt"),
    "gpt": OpenAIGPTTokenizer(SMALL / "gpt" / "vocab.json", use_spacy=False),
    "gpt2": GPT2Tokenizer(SMALL / "gpt2" / "vocab.json"),
    "transfo-xl": TransfoXLTokenizer({"<unk>": 0, "<eos>": 1, "the": 2, "cat": 3}),
}


def pieces(tokenizer: Any, prompt: list[int], ids: list[int]) -> list[str]:
    shown: list[str] = []
    streamer = TextStreamer(tokenizer, prompt, show=shown.append)
    for number in ids:
        streamer(torch.tensor([number]))
    streamer.end()
    assert streamer.ids == ids
    assert streamer.text == "".join(shown)
    assert all(shown)
    return shown


@given(st.lists(st.integers(0, 255), max_size=30), st.text(max_size=5))
def test_bytes_of_any_kind_are_shown_as_one_text(ids: list[int], prompt: str) -> None:
    text = bytes(BYTES[number] for number in ids).decode(errors="replace")
    assert "".join(pieces(LETTERS, LETTERS.encode(prompt), ids)) == text


@pytest.mark.parametrize("name", TOKENIZERS)
@given(data=st.data())
def test_the_pieces_are_the_text_of_prompt_and_tokens_without_the_prompt(name: str, data: st.DataObject) -> None:
    tokenizer = TOKENIZERS[name]
    numbers = st.lists(st.integers(0, len(tokenizer) - 1), max_size=12)
    prompt, ids = tokenizer.encode("the cat", add_special_tokens=False), data.draw(numbers)
    whole = tokenizer.decode(prompt + ids, skip_special_tokens=True)
    assert tokenizer.decode(prompt) + "".join(pieces(tokenizer, prompt, ids)) == whole


def test_a_character_of_several_tokens_is_shown_once_it_is_complete() -> None:
    assert pieces(LETTERS, LETTERS.encode("a"), LETTERS.encode("b中c")) == ["b", "中", "c"]
    strict = GPT2Tokenizer(LETTERS.vocab, [], unk_token=None, errors="strict")
    assert pieces(strict, strict.encode("a"), strict.encode("b中c")) == ["b", "中", "c"]


def test_a_prompt_that_ends_inside_of_a_character_is_continued() -> None:
    first, *rest = LETTERS.encode("é")
    assert pieces(LETTERS, [*LETTERS.encode("x"), first], [*rest, *LETTERS.encode("y")]) == ["é", "y"]


def test_words_are_shown_with_the_space_between_them() -> None:
    tokenizer = TOKENIZERS["transfo-xl"]
    assert pieces(tokenizer, [2], [3, 2, 0]) == [" cat", " the"]  # special tokens have no text


def test_pieces_are_printed_and_returned(capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = TOKENIZERS["gpt2"]
    streamer = TextStreamer(tokenizer)
    returned = [streamer.put(number) for number in tokenizer.encode("naïve 🙂")]
    assert "".join(returned) + streamer.end() == capsys.readouterr().out == "naïve 🙂"
    silent = TextStreamer(tokenizer, show=None)
    assert silent.put(torch.tensor(tokenizer.encode("all at once"))) == "all at once"
    assert capsys.readouterr().out == ""


def test_steps_of_several_texts_are_refused() -> None:
    with pytest.raises(InputError, match="takes the tokens of one text, and this step has those of 2"):
        TextStreamer(LETTERS)(torch.tensor([1, 2]))


def test_each_step_spells_few_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    decode = GPT2Tokenizer.decode

    def counted(self: GPT2Tokenizer, ids: list[int], *rest: Any, **more: Any) -> Any:
        sizes.append(len(ids))
        return decode(self, ids, *rest, **more)

    monkeypatch.setattr(GPT2Tokenizer, "decode", counted)
    pieces(LETTERS, LETTERS.encode("a"), LETTERS.encode("中文" * 50))
    assert max(sizes) <= 6
