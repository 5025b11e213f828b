"""Pickled vocabularies, as pytorch-pretrained-bert saved its tokenizer.

The published ``vocab.bin`` is what ``torch.save`` made of the attributes of a tokenizer, in a zip archive or, before
torch 1.6, as pickles in a row; ``vocab.pkl`` is a plain pickle of the same.  None is unpickled: ``POLICY`` says what a
vocabulary needs of a pickle, and ``registry.files.pickles`` reads no more.
"""

import io
from collections.abc import Iterable, Mapping
from typing import Any

from registry.errors import VocabError, WeightsError
from registry.files.pickles import PicklePolicy, read_pickle
from registry.files.signatures import LEGACY_TORCH, ZIP
from registry.tokenization.vocabulary import MOST_BYTES, MOST_TOKENS, tokens_by_id
from registry.weights.torch.archive import read_archive
from registry.weights.torch.legacy import saved_object

ADVICE = "Save the tokenizer with the program that wrote the file as a vocab.txt, one word a line, if you trust it."


def _ordered_dict(pairs: Iterable[tuple[str, Any]] = ()) -> dict[str, Any]:
    """An OrderedDict: of Python 3 it is empty, and its items follow; Python 2 wrote them as pairs."""
    made = {word: value for word, value in pairs if type(word) is str}
    if len(made) < len(pairs):  # type: ignore[arg-type]  # a list or a tuple: all that a pickle can hold
        raise ValueError("an OrderedDict of other keys than words")
    return made


def _counter(counts: dict[str, int]) -> dict[str, int]:
    """A Counter, which is pickled as a call with a dict."""
    if type(counts) is not dict:
        raise ValueError("a Counter of something else than a dict")
    return counts


POLICY = PicklePolicy(
    noun="vocabulary",
    instructions=frozenset(  # of all protocols from 0 to 5, since programs of any age wrote vocabularies
        (
            *("PROTO", "FRAME", "STOP", "MARK"),
            *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
            *("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"),
            *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
            *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "LIST", "APPEND", "APPENDS"),
            *("EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "GLOBAL", "STACK_GLOBAL", "REDUCE"),
        )
    ),
    globals={"collections.OrderedDict": _ordered_dict, "collections.Counter": _counter},
    largest=MOST_BYTES,
    most_instructions=8 * MOST_TOKENS,  # a word stands in a list, in a dict with its id, and in one with its count
    unsafe=VocabError,
    corrupt=VocabError,
    limit=VocabError,
    hint=ADVICE,
)
"""What the attributes of a tokenizer need: texts, numbers and containers; no floats, attributes and persistent ids."""


def read_pickled(data: bytes, *, origin: str) -> tuple[dict[str, int], dict[str, Any]]:
    """The vocabulary in the bytes of a file, and the options of the tokenizer that was pickled, counts among them.

    ``origin`` names the file in errors.  Raises VocabError for what is not a vocabulary, or would import something.
    """
    found = _unpickled(data, origin)
    if not isinstance(found, dict):
        raise VocabError(f"{origin} holds a {type(found).__name__}, not the attributes of a tokenizer.", hint=ADVICE)
    attributes = dict(dict.items(found))
    vocab = _words(attributes, origin)
    counts = attributes.get("counter") or {}
    if not isinstance(counts, dict) or not all(type(w) is str and type(n) is int for w, n in dict.items(counts)):
        raise VocabError(f"{origin}: counter must map words to their counts.")
    options = {name: attributes[name] for name in ("min_freq", "max_size", "lower_case", "delimiter", "special")
               if name in attributes}  # fmt: skip
    return vocab, {**options, "counter": dict(dict.items(counts))}


def _words(attributes: Mapping[str, Any], origin: str) -> dict[str, int]:
    """The words and their ids, of which one list and one dict must say the same where both are there."""
    numbers, words = attributes.get("sym2idx"), attributes.get("idx2sym")
    if numbers is None and isinstance(words, (list, tuple)) and all(type(word) is str for word in words):
        numbers = {word: number for number, word in enumerate(words)}
    if not isinstance(numbers, dict) or not all(type(word) is str for word in dict.keys(numbers)):
        raise VocabError(f"{origin} has no words with their ids: sym2idx must map the one to the other.", hint=ADVICE)
    vocab: dict[str, int] = dict(dict.items(numbers))
    if words is not None and list(words) != tokens_by_id(vocab, origin=origin):
        raise VocabError(f"{origin} is damaged: idx2sym and sym2idx disagree.")
    return vocab


def _unpickled(data: bytes, origin: str) -> Any:
    """The value of the pickle in a file: in an archive of torch, in one of its older files, or alone."""
    if data.startswith(ZIP):
        data = _pickle_in_archive(data, origin)
    elif data.startswith(LEGACY_TORCH):
        return saved_object(data, POLICY, origin).value
    return read_pickle(data, POLICY, origin=origin).value


def _pickle_in_archive(data: bytes, origin: str) -> bytes:
    try:
        return read_archive(io.BytesIO(data), origin, largest=MOST_BYTES).pickle
    except Exception as problem:  # damaged files make readers raise errors of every kind
        reason = problem if isinstance(problem, WeightsError) else type(problem).__name__
        raise VocabError(
            f"{origin} is damaged, or no archive of torch.save, in which one plain record data.pkl is needed: {reason}",
            hint=ADVICE,
        ) from problem
