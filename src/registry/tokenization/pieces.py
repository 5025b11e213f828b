"""Pieces (Kudo and Richardson, 2018): a space is a letter, ``▁``, and a text is cut into pieces wherever it pays.

Models of pieces are trained and run by ``sentencepiece``; this module guards its door, and remembers what it said.  A
text is cut where no piece goes on, before spaces, and each distinct chunk is handed over once; where that would not be
exact, texts are handed over whole.
"""

import re
import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar, Protocol

from registry.errors import VocabError
from registry.files.protobuf import Value, fields
from registry.tokenization.batches import Segment
from registry.tokenization.causal import CausalTokenizer
from registry.tokenization.chunk_cache import ChunkCache, joined
from registry.tokenization.options import FLAG, OPTIONAL_FLAG, Option
from registry.tokenization.vocabulary import LONGEST_TOKEN, MOST_BYTES, MOST_TOKENS, read_bytes

SPACE = "\u2581"
"""How pieces spell a space; in a text, it is a space to them."""
CHUNK = re.compile(f"[ {SPACE}]*[^ {SPACE}]+|[ {SPACE}]+")
"""Finds the chunks of a text: spaces, and what stands behind them."""
GOES_ON = re.compile(f"[^ {SPACE}][ {SPACE}]")
"""Finds a place in a piece where texts could not be cut."""
SURROGATE = re.compile("[\ud800-\udfff]")


class Pieces(Protocol):
    """A vocabulary, and how texts are cut into its pieces.

    Most vocabularies put a space before a text, so that its first word is like others; where ``spaced`` is false, they
    do not, for the text goes on from a special token.
    """

    @property
    def vocab(self) -> Mapping[str, int]:
        """Every piece and its id."""
        ...

    @property
    def special(self) -> Mapping[str, str]:
        """Special tokens, by the name of the option: ``"bos_token"`` and so on."""
        ...

    @property
    def spaced(self) -> tuple[bool, bool] | None:
        """Whether a space is put before a text, and before one that goes on; None leaves it to the options."""
        ...

    @property
    def published_class(self) -> str | None:
        """The name of the tokenizer in other libraries that reads these files, where it is not the usual one."""
        ...

    def ids(self, text: str, spaced: bool) -> list[int]:
        """The ids of a text, in a list of their own."""
        ...

    def located(self, text: str, spaced: bool) -> Segment:
        """The same with the places in the text that each piece touches; a space that was put before it has none."""
        ...

    def text(self, pieces: Sequence[str], spaced: bool) -> str:
        """The text that pieces spell."""
        ...

    def contents(self, added: Mapping[str, int], special: Collection[str]) -> Mapping[str, str | bytes]:
        """Names and contents of the files that hold this vocabulary.

        ``added`` are tokens that are recognised whole, and their ids; those among ``special`` are special.
        """
        ...


# --- The tokenizer ----------------------------------------------------------------------------------------------------


class PieceTokenizer(CausalTokenizer):
    """Base of tokenizers whose vocabulary is a model of pieces.

    - ``vocab_file``: path of a ``tokenizer.model``, or what it holds, or other ``Pieces``.
    - ``add_prefix_space``: whether a space is put before a text; None leaves that to the model.
    - ``legacy``: whether text that follows a special token gets one too.
    - ``add_bos_token``, ``add_eos_token``: whether texts are put between ``bos_token`` and ``eos_token``.
    - further options stand in ``options``; special tokens are those of the model, unless told otherwise.

    Ids are those of ``sentencepiece``.  A model that knows all bytes and normalises nothing gives every text without
    lone surrogates back, but that ``▁`` comes back as the space that it is to pieces.  A lone surrogate is taken for
    U+FFFD.

    Raises VocabError when the model is damaged, ConfigError for an option with a value that it cannot have, and
    UnknownOptionError.
    """

    vocabulary_name: ClassVar[str] = "tokenizer.model"
    options: ClassVar[Mapping[str, Option]] = {
        **CausalTokenizer.options,
        "legacy": FLAG,
        "add_prefix_space": OPTIONAL_FLAG,
    }

    legacy: bool = False
    add_prefix_space: bool | None = None

    def __init__(self, vocab_file: str | Path | bytes | Pieces, **values: Any) -> None:
        origin = str(vocab_file) if isinstance(vocab_file, (str, Path)) else "the model of pieces"
        if isinstance(vocab_file, (str, Path)):
            vocab_file = read_bytes(vocab_file)
        self.pieces: Pieces = SentencePieces(vocab_file, origin) if isinstance(vocab_file, bytes) else vocab_file
        super().__init__(dict(self.pieces.vocab), origin=origin, **{**self.pieces.special, **values})
        by_option = self.add_prefix_space is not False, self.add_prefix_space is not False and self.legacy
        self._spaced, self._spaced_after = by_option if self.pieces.spaced is None else self.pieces.spaced

    def _ids(self, text: str) -> list[int]:
        return self.pieces.ids(text, self._spaced)

    def _ids_after(self, text: str) -> list[int]:
        return self.pieces.ids(text, self._spaced_after)

    def _located(self, text: str) -> Segment:
        return self.pieces.located(text, self._spaced)

    def _located_after(self, text: str) -> Segment:
        return self.pieces.located(text, self._spaced_after)

    def _join(self, tokens: Sequence[str]) -> str:
        """The text that tokens spell, without spaces that were put before it; special tokens stand for themselves."""
        whole = {*self.added_tokens, *self.all_special_tokens}
        texts: list[str] = []
        for is_whole, run in groupby(tokens, whole.__contains__):
            pieces, spaced = list(run), self._spaced_after if texts else self._spaced
            texts.append("".join(pieces) if is_whole else self.pieces.text(pieces, spaced))
        return "".join(texts)

    def _contents(self) -> Mapping[str, str | bytes]:
        special = self.all_special_tokens
        return self.pieces.contents({**{token: self.vocab[token] for token in special}, **self.added_tokens}, special)

    def _published_class(self) -> str:
        return self.pieces.published_class or super()._published_class()

    def __reduce__(self) -> tuple[Any, ...]:
        revive, (reference, state) = super().__reduce__()
        return revive, (reference, {**state, "vocab": self.pieces})


# --- Models of sentencepiece ------------------------------------------------------------------------------------------

PIECE, TRAINER, NORMALIZER = 1, 2, 3
"""Fields of a model: one for each piece, how it was trained, and how texts are normalised."""
TEXT, SCORE = 1, 2
"""Fields of a piece."""
ALGORITHM, BYTE_PAIRS, SPACES_BEHIND = 3, 2, 24
"""A field of the trainer, and its value for rules that merge pairs; another field."""
CHARACTER_MAP, DUMMY_PREFIX, DROPS_SPACES, WRITES_SPACES = 2, 3, 4, 5
"""Fields of the normaliser; all but the first are 1 unless they are given."""
UNSPACED = bytes([NORMALIZER << 3 | 2, 2, DUMMY_PREFIX << 3, 0])
"""Behind a model, changes one field of its normaliser: messages that follow each other are one message."""


class SentencePieces:
    """A model of ``sentencepiece``, in the bytes of its file; ``origin`` names it in errors.

    Raises VocabError unless the file is whole, and its pieces are distinct texts of reasonable length.
    """

    spaced = None
    published_class = None

    def __init__(self, data: bytes, origin: str = "the model of pieces") -> None:
        trainer, normalizer = _checked(data, origin)
        self._data = data
        self._spaced = _processor(data, origin)
        self._plain = _processor(data + UNSPACED, origin)
        self.vocab: dict[str, int] = _vocabulary(self._spaced, origin)
        self._prefix = " " if normalizer.get(DUMMY_PREFIX, 1) else ""
        self._is_cut = (
            trainer.get(ALGORITHM) == BYTE_PAIRS
            and not trainer.get(SPACES_BEHIND)
            and not normalizer.get(CHARACTER_MAP)
            and not normalizer.get(DROPS_SPACES, 1)
            and bool(normalizer.get(WRITES_SPACES, 1))
            and SPACE in self.vocab  # an unknown one would become one with unknown neighbours
            and not any(map(GOES_ON.search, self.vocab))
        )
        self._chunks = ChunkCache(self._ids_of_chunk)
        self._places = ChunkCache(self._located_chunk)

    @property
    def special(self) -> dict[str, str]:
        """The tokens which the model says are special."""
        numbers = {f"{name}_token": getattr(self._spaced, f"{name}_id")() for name in ("unk", "bos", "eos", "pad")}
        return {name: self._spaced.id_to_piece(number) for name, number in numbers.items() if number >= 0}

    def ids(self, text: str, spaced: bool) -> list[int]:
        """The ids of a text."""
        if not self._is_cut:
            return list(self._way(spaced).encode(_encodable(text)))
        return joined(map(self._chunks.__getitem__, chunks_of(self._before(text, spaced) + text)))

    def located(self, text: str, spaced: bool) -> Segment:
        """The same with the places in the text that each piece touches."""
        if not self._is_cut:
            return _located(self._way(spaced), text)
        before = self._before(text, spaced)
        return located_chunks(self._places, chunks_of(before + text), len(before))

    def text(self, pieces: Sequence[str], spaced: bool) -> str:
        """The text that pieces spell; bytes that are not UTF-8 become U+FFFD."""
        return str(self._way(spaced).decode(list(pieces)))

    def contents(self, added: Mapping[str, int], special: Collection[str]) -> dict[str, bytes]:  # noqa: ARG002
        """The model as it was read, which knows nothing of further tokens."""
        return {PieceTokenizer.vocabulary_name: self._data}

    def _way(self, spaced: bool) -> Any:
        return self._spaced if spaced else self._plain

    def _before(self, text: str, spaced: bool) -> str:
        return self._prefix if spaced and text else ""

    def _ids_of_chunk(self, chunk: str) -> tuple[int, ...]:
        return tuple(self._plain.encode(_encodable(chunk)))

    def _located_chunk(self, chunk: str) -> Segment:
        return _located(self._plain, chunk)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._data,)


def chunks_of(text: str) -> list[str]:
    """The text cut before spaces."""
    return CHUNK.findall(text)


def located_chunks(located: Mapping[str, Segment], chunks: Iterable[str], before: int) -> Segment:
    """The tokens of a text, ``located`` in each of its chunks.

    Its first characters, ``before`` in number, were put there; a token that lies in them is placed at what follows.
    """
    ids, offsets = segment = Segment([], [])
    start = -before
    for chunk in chunks:
        inside = located[chunk]
        ids.extend(inside.ids)
        offsets.extend([start + place for place in inside.offsets])
        start += len(chunk)
    if before and offsets:
        offsets[0], offsets[1] = 0, max(offsets[1], 1)
    return segment


def _located(processor: Any, text: str) -> Segment:
    """The pieces of a text with their places; of a character's bytes, sentencepiece places the last."""
    found = processor.encode_as_offset_mapping(_encodable(text))
    places: list[int] = []
    start = stop = len(text)
    for start_here, stop_here in reversed(found["offsets"]):
        if start_here < stop_here:
            start, stop = start_here, stop_here
        places += (stop, start)
    return Segment(list(found["ids"]), places[::-1])


def _encodable(text: str) -> str:
    """The text, in which lone surrogates have become U+FFFD."""
    return text if text.isascii() else SURROGATE.sub("\ufffd", text)


# --- The guard --------------------------------------------------------------------------------------------------------


def _checked(data: bytes, origin: str) -> tuple[dict[int, Value], dict[int, Value]]:
    """What a model says of its trainer and of its normaliser, once it is known to be one.

    ``sentencepiece`` would read some damaged files as if nothing were wrong; nothing is handed to it before this.
    """
    if len(data) > MOST_BYTES:
        raise VocabError(f"{origin} is no model of pieces: it has more than {MOST_BYTES:,} bytes.")
    parts: dict[int, dict[int, Value]] = {TRAINER: {}, NORMALIZER: {}}
    number = 0
    try:
        for key, value in fields(data):
            if key == PIECE:
                fault = _fault(value)
                if fault or number == MOST_TOKENS:
                    raise ValueError(f"piece {number} {fault or f'is one too many: at most {MOST_TOKENS:,} are taken'}")
                number += 1
            elif key in parts:
                parts[key].update(fields(_message(value)))
    except ValueError as problem:
        raise VocabError(
            f"{origin} is no model of pieces, or a damaged one: {problem}.",
            hint="A tokenizer.model of sentencepiece is needed; fetch it again.",
        ) from problem
    if not number:
        raise VocabError(f"{origin} holds no pieces: it is empty, or no model of sentencepiece.")
    return parts[TRAINER], parts[NORMALIZER]


def _message(value: Value) -> bytes:
    if isinstance(value, int):
        raise ValueError(f"the number {value} stands where a message is needed")
    return value


def _fault(piece: Value) -> str | None:
    """What is wrong with a piece, in words."""
    found = dict(fields(_message(piece)))
    text, score = found.get(TEXT, b""), found.get(SCORE, bytes(4))
    if not isinstance(text, bytes) or not isinstance(score, bytes) or len(score) != 4:
        return "has no text and score"
    if not text or b"\0" in text:
        return "is empty" if not text else "has a NUL in it"
    if len(text) > LONGEST_TOKEN:
        return f"has {len(text):,} bytes, where {LONGEST_TOKEN:,} are taken"
    return None if isfinite(*struct.unpack("<f", score)) else "has a score that is no number"


def _processor(data: bytes, origin: str) -> Any:
    """The processor of a model that has been checked."""
    from sentencepiece import SentencePieceProcessor  # takes a while, which who has no pieces need not wait for

    try:
        return SentencePieceProcessor(model_proto=data)
    except (RuntimeError, ValueError, OSError) as problem:
        raise VocabError(
            f"{origin} was refused by sentencepiece: {problem}".rstrip(".") + ".",
            hint="The file is damaged, or no model of pieces; fetch it again.",
        ) from problem


def _vocabulary(processor: Any, origin: str) -> dict[str, int]:
    try:
        pieces: Iterable[str] = [processor.id_to_piece(number) for number in range(processor.get_piece_size())]
    except UnicodeDecodeError as problem:
        raise VocabError(f"{origin} has a piece that is not UTF-8: {problem}.") from problem
    return {piece: number for number, piece in enumerate(pieces)}
