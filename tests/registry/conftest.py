"""Pretend installations: distributions of metadata and one module, in folders of their own on ``sys.path``."""

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry import discovery

Install = Callable[..., Path]

TOY = """
from registry import Card, hookimpl

@hookimpl
def registry_cards():
    yield Card(name="toy", architecture="toy", task="base", files=())
"""


@pytest.fixture(autouse=True)
def _fresh_discovery() -> Iterator[None]:
    """Leave nothing of one test's plugins to the next."""
    discovery.refresh()
    yield
    discovery.prefer()
    discovery._registered.clear()
    discovery.refresh()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a pretended distribution with one plugin; returns the folder that is now on ``sys.path``.

    ``plugin`` is the name of the entry point and of the module, which holds ``source``; ``metadata`` and
    ``entry_points`` replace the text of those files.  Each installation goes before the earlier ones on ``sys.path``.
    """
    numbers = itertools.count()

    def install(
        distribution: str,
        source: str = TOY,
        *,
        plugin: str = "toy_plugin",
        version: str = "1.0",
        value: str | None = None,
        metadata: str | None = None,
        entry_points: str | bytes | None = None,
    ) -> Path:
        site = tmp_path / f"site-{next(numbers)}"
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        if metadata is None:
            metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        if entry_points is None:
            entry_points = f"[registry.v1]\n{plugin} = {value or plugin}\n"
        (info / "METADATA").write_text(metadata)
        (info / "entry_points.txt").write_bytes(
            entry_points if isinstance(entry_points, bytes) else entry_points.encode()
        )
        (site / f"{plugin}.py").write_text(source)
        monkeypatch.syspath_prepend(site)
        discovery.refresh()
        return site

    yield install
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]
