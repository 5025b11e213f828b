"""What is compiled does what its twin in Python does."""

import gc
import sys
from array import array
from weakref import ref

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plugins.gpt2 import tokenization
from plugins.gpt2.tokenization import WIDE_CHUNK, GPT2Tokenizer
from registry.errors import VocabError
from registry.tokenization import byte_level
from registry.tokenization.bpe import BytePairs, listed_merges
from registry.tokenization.byte_level import ASCII_WORD, CHARACTERS, SEPARATOR, ByteLevel
from registry.tokenization.chunk_cache import ChunkCache, ids_of_parts, joined_ids

compiled = pytest.importorskip("registry.tokenization.compiled", reason="built without a C compiler")

ASCII = st.text(st.sampled_from("ab19 '\n\t-_sdmtrevl\x00\x1c\x7f"), max_size=40).map(str.encode)
RULES = [
    ("a", "b"), ("ab", "a"), ("Ġ", "a"), ("Ġa", "b"), ("1", "1"), ("11", "11"), ("Ġ", "Ġ"), ("a", "a"), ("aa", "aa"),
    ("'", "s"), ("s", "s"), ("Ċ", "Ċ"), ("l", "l"), ("v", "e"), ("Ã", "©"), ("Ã©", "Ã©"), ("-", "-"), ("b", "a"),
]  # fmt: skip


def level(rules: list[tuple[str, str]], *, without: str = "") -> ByteLevel:
    """Rules on all bytes but some."""
    tokens = dict.fromkeys([*(c for c in CHARACTERS.values() if c not in without), *map("".join, rules)])
    vocab = {token: number for number, token in enumerate(tokens)}
    return ByteLevel(vocab, BytePairs(listed_merges(rules, origin="the rules"), vocab))


LEVEL = level(RULES)


@given(st.lists(st.sampled_from([b"", b"a", b"bc", b"def"])))
def test_ids_are_gathered_from_a_cache(chunks: list[bytes]) -> None:
    asked: list[bytes] = []
    cache = ChunkCache(lambda chunk: (asked.append(chunk), tuple(chunk))[1])
    assert compiled.gather(cache, iter(chunks)) == [*b"".join(chunks)] == joined_ids(cache, chunks)
    assert sorted(asked) == sorted(set(chunks))


def test_what_fails_while_ids_are_gathered_is_raised() -> None:
    def refuse(chunk: bytes) -> tuple[int, ...]:
        raise VocabError(f"no id for {chunk!r}")

    with pytest.raises(VocabError, match="no id for b'a'"):
        compiled.gather(ChunkCache(refuse), [b"a"])
    with pytest.raises(TypeError, match="tuple"):
        compiled.gather({b"a": [1]}, [b"a"])
    with pytest.raises(TypeError, match="unhashable"):
        compiled.gather({}, [[]])


# --- Chunks that are cut and cached -----------------------------------------------------------------------------------

SPACES = st.text(st.sampled_from("a\xa0\x85\u1680\u2003\u2029\u202f\u205f\u3000\u2019\u3001é \n\t"), max_size=40)


class Table:
    """A table, and the chunks that were computed for it: each becomes its size, then its bytes."""

    def __init__(self, room: int = 2**20, weight: int = 1, longest: int = 64) -> None:
        self.asked: list[bytes] = []
        self.table = compiled.ChunkTable(self.ids, room, weight, longest)

    def ids(self, chunk: bytes) -> tuple[int, ...]:
        self.asked.append(chunk)
        return len(chunk), *chunk

    def of(self, text: bytes) -> list[int]:
        found = self.table.list_of(text)
        assert [*array("q", self.table.bytes_of(text))] == found
        return [*found]


@example(b"a" * 16 + b" " + b"a" * 15 + b" " + b"a" * 17 + b" ")
@given(st.binary() | ASCII | SPACES.map(str.encode))
def test_a_text_is_cut_as_the_pattern_cuts_it(text: bytes) -> None:
    chunks = [chunk for chunk in WIDE_CHUNK.findall(text) if chunk]
    table = Table()
    for _ in range(2):
        assert table.of(text) == [number for chunk in chunks for number in (len(chunk), *chunk)]
    assert all(table.asked.count(chunk) == 1 for chunk in chunks if len(chunk) <= 64)


def test_a_full_table_drops_what_was_not_met_lately() -> None:
    table = Table(room=8)  # four chunks of a byte
    for letter in "abcde" + "abcdefgh" + "hid":  # a, b and c were met last two generations ago
        table.of(letter.encode())
    assert table.asked == [*map(str.encode, "abcdefghi")]
    table.of(b"a")
    assert table.asked[9:] == [b"a"]


def test_thousands_of_chunks_of_any_length_are_cached() -> None:
    table = Table()
    chunks = [b" %d" % number + b"x" * (number % 40) for number in range(3000)]
    expected = [number for chunk in chunks for number in (len(chunk), *chunk)]
    assert table.of(b"".join(chunks)) == table.of(b"".join(chunks)) == expected
    assert table.asked == chunks
    assert table.of(b" " * 65) == table.of(b" " * 65) == [65, *b" " * 65]
    assert table.asked[3000:] == [b" " * 65] * 4


def test_ids_of_any_size_are_numbers() -> None:
    table = compiled.ChunkTable(lambda chunk: (len(chunk), 2**22, 2**31 - 1), 1000, 1, 64)
    assert table.list_of(b"a bc") == table.list_of(b"a bc") == [1, 2**22, 2**31 - 1, 3, 2**22, 2**31 - 1]
    assert table.list_of(b"") == []


@pytest.mark.parametrize(
    ("found", "error"), [([1], TypeError), ((-1,), OverflowError), ((2**31,), OverflowError), (("a",), TypeError)]
)
def test_what_is_no_id_is_refused(found: object, error: type[Exception]) -> None:
    table = compiled.ChunkTable(lambda chunk: (7,) if chunk == b"a" else found, 1000, 1, 64)
    for call in (table.list_of, table.bytes_of):
        with pytest.raises(error):
            call(b"a b")
    with pytest.raises(TypeError, match="bytes"):
        table.list_of("a")
    assert table.list_of(b"a") == [7]


def test_a_table_that_belongs_to_what_computes_its_ids_is_collected() -> None:
    table = Table()
    table.of(b"a")
    gone = ref(table)
    del table
    gc.collect()
    assert gone() is None


# --- Words and rules --------------------------------------------------------------------------------------------------


@example(b" ")
@example(b"a're'R 'll")
@given(ASCII)
def test_words_in_ascii_are_found_and_merged_as_in_python(text: bytes) -> None:
    assert LEVEL._merger is not None
    assert LEVEL.ids_of_ascii(text) == ids_of_parts(LEVEL.parts, [*ASCII_WORD.findall(text), b""])


@given(st.lists(st.text("ab1é中😀", max_size=12).map(str.encode), max_size=6))
def test_words_are_merged_as_in_python(words: list[bytes]) -> None:
    assert LEVEL._merger is not None
    data = SEPARATOR.join(words)
    assert LEVEL.ids_of_words(data) == ids_of_parts(LEVEL.parts, [*LEVEL.cut(data), b""])


@given(st.permutations(RULES), st.text("ab1s", max_size=300).map(str.encode))
def test_rules_apply_in_any_order_to_words_of_any_length(rules: list[tuple[str, str]], word: bytes) -> None:
    one = level(rules)
    assert one.ids_of_words(word) == ids_of_parts(one.parts, [*one.cut(word), b""])


def test_words_that_are_too_long_or_unknown_are_left_to_python() -> None:
    left: list[bytes] = []
    symbols = [None if byte == ord("c") else byte for byte in range(256)]
    merger = compiled.Merger(symbols, [97], [98], [256], lambda word: (left.append(word), [7])[1])
    assert merger.ids_of_ascii(b"ab" * 128 + b" abc ab") == (*[256] * 128, 7, 32, 256)
    assert merger.ids_of_words(b"ab" * 129) == (7,)
    assert left == [b" abc", b"ab" * 129]
    with pytest.raises(VocabError, match="no token for the byte 0x63"):
        level([("a", "b")], without="c").ids_of_ascii(b"abc")


def test_python_is_used_where_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_level, "compiled", None)
    plain = level(RULES)
    assert plain._merger is None
    assert plain.ids_of_ascii(b"ab aba 1111") == LEVEL.ids_of_ascii(b"ab aba 1111")
    assert plain.ids_of_words("éé\n".encode()) == LEVEL.ids_of_words("éé\n".encode())


def test_a_tokenizer_gives_the_same_where_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = dict.fromkeys([*CHARACTERS.values(), *map("".join, RULES), "<|endoftext|>"])
    vocab = {token: number for number, token in enumerate(tokens)}
    fast = GPT2Tokenizer(vocab, RULES)
    for module in (byte_level, tokenization):
        monkeypatch.setattr(module, "compiled", None)
    plain = GPT2Tokenizer(vocab, RULES)
    for text in ("ab aba\xa0 11 中é\u3000\n a", "a\ud83d\ude00 b\ud800", "  ab<|endoftext|> b", ""):
        for _ in range(2):
            assert fast.encode(text) == plain.encode(text)
            assert (
                fast(text, return_tensors="np")["input_ids"].tolist()
                == plain(text, return_tensors="np")["input_ids"].tolist()
            )
        assert fast.offsets_of(text) == plain.offsets_of(text)


def test_rules_that_are_no_ids_are_refused() -> None:
    def merger(symbols: list[int | None], *columns: list[int]) -> object:
        return compiled.Merger(symbols, *columns, list)

    assert merger([None] * 256, [], [], []).ids_of_words(b"") == ()
    with pytest.raises(ValueError, match="other lengths"):
        merger([0], [], [], [])
    with pytest.raises(ValueError, match="other lengths"):
        merger([0] * 256, [1], [], [])
    with pytest.raises(OverflowError):
        merger([-1] * 256, [], [], [])
    with pytest.raises(OverflowError, match="too large"):
        merger([2**31] * 256, [], [], [])
    with pytest.raises(TypeError):
        merger(["a"] * 256, [], [], [])


def test_nothing_is_leaked() -> None:
    def work() -> None:
        for _ in range(50):
            one = level([("a", "b")], without="c")
            one.ids_of_ascii(b"ab ab 'll" + b"a" * 300)
            compiled.gather(ChunkCache(one.ids_of_ascii), [b"ab", b" ab", b"ab"])
            table = compiled.ChunkTable(one.ids_of_ascii, 60, 1, 64)
            table.list_of(b"ab ab  b" + b" a" * 40)
            table.bytes_of(b"ab ab abababababababababababababa bab")
            with pytest.raises(VocabError):
                one.ids_of_words(b"c")
            with pytest.raises(VocabError):
                table.list_of(b"a b c")

    def blocks() -> int:
        work()
        gc.collect()
        return sys.getallocatedblocks()

    blocks()
    assert blocks() - blocks() < 100
