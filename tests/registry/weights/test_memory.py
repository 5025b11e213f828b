"""Copies of tensors in memory of large pages, and which files are in memory."""

import mmap
import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from registry.weights.mapped import is_cached
from registry.weights.memory import copied

WIDE = torch.arange(3 * 1024 * 1024, dtype=torch.float32).view(1024, 3, 1024)
"""12 MB, of which each slice along the axis in the middle is two large pages."""


def _refused(*_arguments: object, **_keywords: object) -> mmap.mmap:
    raise OSError("Cannot allocate memory")


@pytest.mark.parametrize("mapping", [mmap.mmap, _refused])
def test_a_copy_of_columns_is_a_tensor_of_its_own(
    mapping: Callable[..., mmap.mmap], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mmap, "mmap", mapping)
    for dtype in (torch.float32, torch.bfloat16):
        made = copied(WIDE[:, 1], dtype)
        assert made.is_contiguous()
        assert made.equal(WIDE[:, 1].to(dtype))
        again = deepcopy(made)
        made.zero_()
        assert again.equal(WIDE[:, 1].to(dtype))


def test_a_file_with_pages_that_are_not_in_memory_is_not_cached(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1024 * 1024))
    if not is_cached(path):
        pytest.skip("this system does not count the pages of a file in memory")
    os.truncate(path, 2 * 1024 * 1024)
    assert not is_cached(path)
