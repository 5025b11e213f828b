# What compiled.c defines; it is not there where the package was built without a C compiler.
from collections.abc import Callable, Iterable
from typing import Any

def gather(cache: dict[Any, tuple[int, ...]], chunks: Iterable[Any], /) -> list[int]: ...

class Merger:
    def __new__(
        cls,
        symbols: list[int | None],
        firsts: list[int],
        seconds: list[int],
        merged: list[int],
        otherwise: Callable[[bytes], Iterable[int]],
        /,
    ) -> Merger: ...
    def ids_of_ascii(self, text: bytes, /) -> tuple[int, ...]: ...
    def ids_of_words(self, words: bytes, /) -> tuple[int, ...]: ...

class ChunkTable:
    def __new__(
        cls, tokenize: Callable[[bytes], tuple[int, ...]], room: int, weight: int, longest: int, /
    ) -> ChunkTable: ...
    def list_of(self, text: bytes, /) -> list[int]: ...
    def bytes_of(self, text: bytes, /) -> bytes: ...
