# What compiled.c defines; it is not there where the package was built without a C compiler.
from collections.abc import Callable, Iterable
from typing import Any

def cut(text: bytes, /) -> list[bytes]: ...
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
