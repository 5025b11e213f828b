"""Pickled vocabularies, as the ancestor saved its tokenizer: read without running what they say.

The published ``vocab.bin`` is what ``torch.save`` made of the attributes of a tokenizer, in a zip archive or, before
torch 1.6, as pickles in a row; ``vocab.pkl`` is a plain pickle of the same.  A pickle is a program: allowed are the few
instructions that make texts, numbers, lists, tuples and dicts, and two names, OrderedDict and Counter.
"""

import io
import pickle
import pickletools
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import IO, Any

from registry.errors import VocabError
from registry.tokenization.vocabulary import MOST_TOKENS, tokens_by_id
from registry.weights.torch.archive import ZIP
from registry.weights.torch.reader import LEGACY

CLASSES = {("collections", "OrderedDict"): OrderedDict, ("collections", "Counter"): Counter}
"""All that a vocabulary may import."""

INSTRUCTIONS = frozenset(
    (
        *("PROTO", "FRAME", "STOP", "MARK", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
        *("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "LIST", "APPEND", "APPENDS"),
        *("EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "GLOBAL", "STACK_GLOBAL", "REDUCE"),
    )
)
"""Names of the instructions, in ``pickletools``, of all protocols from 0 to 5."""
PLACES = ("PUT", "LONG_BINPUT")
"""Instructions that ask for a place in memory by a number of any size."""
MOST_INSTRUCTIONS = 8 * MOST_TOKENS
"""A word stands in a list, in a dict with its id and in one with its count, which takes eight."""

TORCH_PICKLES = 3
"""Pickles that stand before the vocabulary in an older file of torch: a number, a protocol, and the system."""

ADVICE = "Save the tokenizer with the program that wrote the file as a vocab.txt, one word a line, if you trust it."


def read_pickled(data: bytes, *, origin: str) -> tuple[dict[str, int], dict[str, Any]]:
    """The vocabulary in the bytes of a file, and the options of the tokenizer that was pickled, counts among them.

    ``origin`` names the file in errors.  Raises VocabError for what is no vocabulary, or would import something.
    """
    found = _unpickled(data, origin)
    if not isinstance(found, dict):
        raise VocabError(f"{origin} holds a {type(found).__name__}, not the attributes of a tokenizer.", hint=ADVICE)
    attributes = dict(dict.items(found))
    vocab = _words(attributes, origin)
    counts = attributes.get("counter") or {}
    if not isinstance(counts, dict) or not all(type(w) is str and type(n) is int for w, n in dict.items(counts)):
        raise VocabError(f"{origin}: counter must map words to how often they were counted.")
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
        raise VocabError(f"{origin} is damaged: idx2sym and sym2idx do not number the same words alike.")
    return vocab


# --- Unpickling -------------------------------------------------------------------------------------------------------


def _unpickled(data: bytes, origin: str) -> Any:
    try:
        file = _pickle_in(data)
        _check(file, origin)
        return _Unpickler(io.BufferedReader(file)).load()
    except VocabError:
        raise
    except Exception as problem:  # damaged files make readers raise errors of every kind
        raise VocabError(
            f"{origin} is damaged: reading it ended in a {type(problem).__name__} ({problem})."
        ) from problem


def _pickle_in(data: bytes) -> io.BytesIO:
    """The pickle of the vocabulary: a record of an archive, one of several in a row, or the file itself."""
    if data.startswith(ZIP):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            records = [record for record in archive.infolist() if record.filename.lower().endswith("/data.pkl")]
            if len(records) != 1 or records[0].compress_type != zipfile.ZIP_STORED:
                raise ValueError("one plain record data.pkl is needed")
            return io.BytesIO(archive.read(records[0]))
    file = io.BytesIO(data)
    if data.startswith(LEGACY):
        for _ in range(TORCH_PICKLES):
            for _instruction in pickletools.genops(file):
                pass
    return file


def _check(file: IO[bytes], origin: str) -> None:
    """Raise VocabError for a pickle that does more than a vocabulary needs; leaves the file where it stood."""
    start = file.tell()
    for number, (instruction, argument, _) in enumerate(pickletools.genops(file)):
        name = instruction.name
        if name not in INSTRUCTIONS:
            raise VocabError(
                f"{origin} holds a pickle with the instruction {name}, which no vocabulary needs; nothing was loaded.",
                hint=ADVICE,
            )
        if name == "GLOBAL":
            module, _, cls = str(argument).partition(" ")
            _class(module, cls, origin=origin)
        place = int(argument or 0) if name in PLACES else 0  # readers make room for all places before one
        if number > MOST_INSTRUCTIONS or place > number:
            raise VocabError(f"{origin} holds a pickle that asks for absurd amounts of memory or time.", hint=ADVICE)
    file.seek(start)


def _class(module: str, name: str, *, origin: str) -> Any:
    if (module, name) not in CLASSES:
        raise VocabError(f"{origin} would import {f'{module}.{name}'!r}; nothing was loaded.", hint=ADVICE)
    return CLASSES[module, name]


class _Unpickler(pickle.Unpickler):
    """Unpickles what was checked."""

    def find_class(self, module: str, name: str) -> Any:
        return _class(module, name, origin="The vocabulary")
