"""``Files``: the files of a source, asked for by role, once."""

from pathlib import Path

from registry.download.policy import Policy
from registry.sources.files import Files
from registry.sources.resolve import resolve


def test_the_files_of_a_directory_are_remembered(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    files = Files(resolve(tmp_path), Policy())
    assert files.of("config") == {"config.json": tmp_path / "config.json"}
    (tmp_path / "vocab.txt").write_text("a")
    assert files.of("config") == {"config.json": tmp_path / "config.json"}
    assert set(files.of()) == {"config.json", "vocab.txt"}
