"""Files and directories that are old or new."""

import errno
import os
import time
from pathlib import Path

import pytest

from registry.files.atomic import (
    STALE_AFTER,
    content_writer,
    remove_stale,
    replace_file,
    temporaries_of,
    temporary_path,
    write_directory,
    write_new,
)


def failing(_path: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def failing_after_a_file(directory: Path) -> None:
    (directory / "a").write_text("half")
    failing(directory)


def test_a_file_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, content_writer("old"))
    path.chmod(0o640)
    replace_file(path, content_writer(b"new"))
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_failure_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, failing)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"file": "old"}


def test_text_is_written_with_its_line_ends(tmp_path: Path) -> None:
    replace_file(tmp_path / "file", content_writer("é\r\n\n"))
    assert (tmp_path / "file").read_bytes() == b"\xc3\xa9\r\n\n"


@pytest.mark.parametrize("shape", ["text", "context"])
def test_a_full_disk_has_its_number_whatever_a_library_made_of_it(tmp_path: Path, shape: str) -> None:
    def writer(_path: Path) -> None:
        if shape == "text":
            raise RuntimeError("I/O error: No space left on device (os error 28)")  # as safetensors does
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise RuntimeError("unexpected position 64 vs 0")  # noqa: B904  # as torch does

    with pytest.raises(OSError, match="No space left") as error:
        write_new(tmp_path / "file", writer)
    assert error.value.errno == errno.ENOSPC


def test_an_error_that_is_not_of_the_disk_comes_through(tmp_path: Path) -> None:
    def writer(_path: Path) -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        replace_file(tmp_path / "file", writer)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        write_directory(tmp_path / "d", failing_after_a_file)
    assert list(tmp_path.iterdir()) == []
    write_directory(tmp_path / "d", lambda directory: (directory / "a").write_text("all") and None)
    assert (tmp_path / "d" / "a").read_text() == "all"
    assert list(tmp_path.iterdir()) == [tmp_path / "d"]


def test_of_two_that_make_a_directory_the_first_wins(tmp_path: Path) -> None:
    def fill(directory: Path) -> None:
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "a").write_text("first")
        (directory / "a").write_text("second")

    with pytest.raises(FileExistsError):
        write_directory(tmp_path / "d", fill)
    assert (tmp_path / "d" / "a").read_text() == "first"
    assert list(tmp_path.iterdir()) == [tmp_path / "d"]


def test_every_file_is_synced_before_its_directory_gets_its_name(tmp_path: Path, monkeypatch) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def synced(handle: int) -> None:
        steps.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        fsync(handle)

    def renamed(source: Path, target: Path) -> Path:
        steps.append(f"rename to {target.name}")
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)

    def fill(directory: Path) -> None:
        (directory / "inner").mkdir()
        (directory / "inner" / "b").write_text("b")
        (directory / "a").write_text("a")

    write_directory(tmp_path / "d", fill)
    before, after = steps[: steps.index("rename to d")], steps[steps.index("rename to d") + 1 :]
    assert {"a", "b", "inner"} < set(before)
    assert len(before) == 4
    assert after == [tmp_path.name]


def test_only_temporaries_of_a_day_ago_are_removed(tmp_path: Path) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    old, young, sibling = (temporary_path(path) for path in (directory / "a", directory / "b", directory))
    of_others = [directory / ".mine.tmp", temporary_path(tmp_path / "other")]
    sibling.mkdir()
    (sibling / "a").write_text("half")
    for path in (old, young, *of_others):
        path.write_text("half")
    long_ago = time.time() - STALE_AFTER - 60
    for path in (old, sibling, *of_others):
        os.utime(path, (long_ago, long_ago))
    assert set(temporaries_of(directory)) == {old, young, sibling}
    remove_stale(temporaries_of(directory))
    assert set(tmp_path.rglob("*")) == {directory, young, *of_others}


def test_a_stale_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    link = temporary_path(tmp_path / "a")
    link.symlink_to(tmp_path / "precious")
    os.utime(link, (1, 1), follow_symlinks=False)
    remove_stale([link, tmp_path / "gone"])
    assert list(tmp_path.iterdir()) == [tmp_path / "precious"]
