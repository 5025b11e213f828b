"""Files of vectors are written as the rows come, whatever their format."""

import sys
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from registry.cli.run.vectors import FORMATS, write_vectors
from registry.errors import SaveError

ROWS, WIDTH, BATCHES = 64, 512, 5


@pytest.mark.parametrize("ending", FORMATS)
def test_every_batch_is_written_before_the_next_is_asked_for(ending: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    sizes: list[int] = []
    earlier: list[weakref.ref[Tensor]] = []

    def batches() -> Iterator[tuple[Sequence[str], Tensor]]:
        for _ in range(BATCHES):
            vectors = torch.rand(ROWS, WIDTH)
            earlier.append(weakref.ref(vectors))
            yield ["text"] * ROWS, vectors
            del vectors
            sizes.append(path.stat().st_size)
            assert [vectors() for vectors in earlier[:-1]] == [None] * (len(earlier) - 1)

    write_vectors(path, FORMATS[ending], ROWS * BATCHES, WIDTH, batches())
    written = path.stat().st_size
    assert len(sizes) == BATCHES
    for number, size in enumerate(sizes, 1):
        assert abs(size - written * number / BATCHES) < written / BATCHES / 4, "but for a buffer of some kilobytes"


def test_without_numpy_its_format_is_refused_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy.lib", None)
    with pytest.raises(SaveError, match="needs numpy"):
        FORMATS["npy"].header(1, 1)
    assert FORMATS["safetensors"].header(1, 1)
