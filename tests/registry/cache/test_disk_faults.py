"""What a disk does wrong, and what must then happen."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.cache.cache import Cache
from registry.download.fetch import Policy, fetch
from registry.errors import (
    CacheCorruptError,
    CacheError,
    CacheFullError,
    CacheReadOnlyError,
    NotCachedError,
    RegistryWarning,
)
from registry.files import atomic as durable

BODY = bytes(range(256)) * 8192  # 2 MiB
SHA = hashlib.sha256(BODY).hexdigest()


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def fail(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, number: int, *, only: str = "") -> list[int]:
    """Make every call of a function fail with this error; returns a list that grows by one at each."""
    calls: list[int] = []

    def failing(*arguments: object, **_keywords: object) -> None:
        calls.append(1)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(owner, name, failing)
    return calls


# --- Full disks -------------------------------------------------------------------------------------------------------


def test_a_full_disk_keeps_what_was_there_and_frees_what_was_coming(server, small_disk) -> None:
    disk = small_disk("size=1m")
    old = fetch(server.add("/old.bin", b"old" * 1000), Policy(cache_dir=disk))
    url = server.add("/model.bin", server.replies["/old.bin"][0].__class__(BODY, chunked=True))  # of no known size
    with pytest.raises(CacheFullError, match="no room") as error:
        fetch(url, Policy(cache_dir=disk))
    assert error.value.errno == errno.ENOSPC
    assert old.read_bytes() == b"old" * 1000
    assert not files(disk / ".registry/v1/partial")
    assert shutil.disk_usage(disk).free > 900_000


def test_a_disk_that_is_full_at_the_last_moment_is_not_believed(server, cache, monkeypatch) -> None:
    url = server.add("/model.bin", BODY)
    fail(monkeypatch, os, "fsync", errno.ENOSPC)
    with pytest.raises(CacheFullError):
        fetch(url, Policy())
    assert not files(cache.home / "blobs") | files(cache.home / "refs") | files(cache.home / "partial")


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EFBIG])
def test_a_quota_is_a_full_disk(server, cache: Cache, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    url = server.add("/model.bin", BODY)
    fail(monkeypatch, os, "fsync", number)
    with pytest.raises(CacheFullError) as error:
        fetch(url, Policy())
    assert error.value.errno == number


def test_a_limit_on_the_size_of_files_is_a_full_disk(server, cache: Cache) -> None:
    url = server.add("/model.bin", BODY)
    code = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
import registry
from registry.errors import CacheFullError
try: registry.cached_path({url!r})
except CacheFullError as error: print(error.errno)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == f"{errno.EFBIG}\n"
    assert not files(cache.home / "partial")


def test_a_file_that_will_not_fit_is_told_before_it_is_fetched(server, small_disk) -> None:
    disk = small_disk("size=1m")
    url = server.add("/model.bin", BODY)
    with pytest.raises(CacheFullError):
        fetch(url, Policy(cache_dir=disk))
    assert server.sent["/model.bin"] < len(BODY) or not files(disk / ".registry/v1/partial")
    assert not files(disk / ".registry/v1/partial")
    small = server.add("/small.bin", b"fits")
    path = fetch(small, Policy(cache_dir=disk))
    (disk / "filler").write_bytes(b"x" * (shutil.disk_usage(disk).free))
    assert fetch(small, Policy(cache_dir=disk)) == path, "what is here needs no room"


def test_a_disk_without_names_left_is_full(server, small_disk) -> None:
    disk = small_disk("size=10m,nr_inodes=14")
    old = fetch(server.add("/old.bin", b"old"), Policy(cache_dir=disk))

    def fill() -> None:
        for number in range(20):
            fetch(server.add(f"/{number}.bin", b"%d" % number), Policy(cache_dir=disk))

    with pytest.raises(CacheFullError):
        fill()
    assert old.read_bytes() == b"old"


# --- Disks that must not, or cannot, be written -----------------------------------------------------------------------


def test_what_is_cached_is_used_without_a_write(server, cache: Cache, audited) -> None:
    url = server.add("/model.bin", BODY)
    path = fetch(url, Policy())
    with audited() as events:
        assert fetch(url, Policy()) == path
        assert fetch(url, Policy(), sha256=SHA, size=len(BODY)) == path
    assert events == []


def test_a_cache_on_a_read_only_disk_serves(server, small_disk) -> None:
    disk = small_disk("size=4m")
    url = server.add("/model.bin", BODY)
    path = fetch(url, Policy(cache_dir=disk))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert fetch(url, Policy(cache_dir=disk)) == path
    with pytest.raises(CacheReadOnlyError) as error:
        fetch(server.add("/new.bin", b"new"), Policy(cache_dir=disk))
    assert error.value.errno == errno.EROFS


def test_what_is_missing_in_a_read_only_cache_is_told_with_the_way_out(server, nobody: Path) -> None:
    url = server.add("/model.bin", BODY)
    home = nobody / "cache"
    path = fetch(url, Policy(cache_dir=home))
    for folder in (home, *filter(Path.is_dir, home.rglob("*"))):
        folder.chmod(0o555)
    assert fetch(url, Policy(cache_dir=home)) == path
    with pytest.raises(CacheReadOnlyError, match="PYTORCH_PRETRAINED_BERT_CACHE"):
        fetch(server.add("/new.bin", b"new"), Policy(cache_dir=home))
    for folder in (home, *filter(Path.is_dir, home.rglob("*"))):
        folder.chmod(0o755)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_however_a_disk_says_no_it_is_read_only(server, cache, monkeypatch, number: int) -> None:
    url = server.add("/model.bin", BODY)
    fail(monkeypatch, Path, "mkdir", number)
    with pytest.raises(CacheReadOnlyError) as error:
        fetch(url, Policy())
    assert error.value.errno == number


@pytest.mark.parametrize("obstacle", ["file", "dangling link", "no home"])
def test_a_cache_that_is_no_folder_is_told(server, tmp_path: Path, monkeypatch, obstacle: str) -> None:
    folder: Path | None = tmp_path / "cache-place"
    if obstacle == "file":
        folder.touch()
    elif obstacle == "dangling link":
        folder.symlink_to(tmp_path / "nowhere")
    else:
        folder = None
        for name in ("PYTORCH_PRETRAINED_BERT_CACHE", "HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where no user is known
        monkeypatch.chdir(tmp_path)
    with pytest.raises(CacheError, match="cache"):
        fetch(server.add("/model.bin", BODY), Policy(cache_dir=folder))
    assert not (tmp_path / "~").exists()


def test_a_cache_of_another_user_can_be_read(server, nobody: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can be two users")
    home = nobody / "cache"
    url = server.add("/model.bin", BODY)
    os.seteuid(0)
    path = fetch(url, Policy(cache_dir=home))
    os.seteuid(65534)
    assert path.stat().st_uid == 0
    assert fetch(url, Policy(cache_dir=home)).read_bytes() == BODY
    with pytest.raises(CacheReadOnlyError):
        fetch(server.add("/new.bin", b"new"), Policy(cache_dir=home))
    os.seteuid(0)


@pytest.mark.parametrize("umask", [0o077, 0o002, 0o000])
def test_modes_follow_the_umask_and_give_nobody_else_the_right_to_write(server, cache: Cache, umask: int) -> None:
    url = server.add("/model.bin", BODY)
    code = f"import os; os.umask({umask}); import registry; print(registry.cached_path({url!r}))"
    path = Path(subprocess.check_output([sys.executable, "-c", code], text=True).strip())
    assert path.stat().st_mode & 0o777 == 0o444 & ~umask
    assert path.parent.stat().st_mode & 0o777 == 0o775 & ~umask
    assert cache.ref(url).stat().st_mode & 0o777 == 0o664 & ~umask


# --- Damage -----------------------------------------------------------------------------------------------------------


def damage(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize("data", [BODY[:-1], BODY + b"x", b""])
def test_a_blob_of_another_size_is_fetched_anew(server, cache: Cache, data: bytes) -> None:
    url = server.add("/model.bin", BODY)
    path = fetch(url, Policy())
    damage(path, data)
    with pytest.raises(CacheCorruptError, match="registry pull"):
        fetch(url, Policy(offline=True))
    with pytest.warns(RegistryWarning, match="downloaded again"):
        assert fetch(url, Policy()).read_bytes() == BODY
    assert server.count() == 2
    assert len(files(cache.home / "quarantine")) == 1


def test_a_flipped_bit_is_found_though_the_size_is_right(server, cache: Cache) -> None:
    url = server.add("/model.bin", BODY)
    path = fetch(url, Policy())
    damage(path, b"\xff" + BODY[1:])
    with pytest.raises(CacheCorruptError):
        fetch(url, Policy(offline=True))
    with pytest.warns(RegistryWarning, match="downloaded again"):
        assert fetch(url, Policy()).read_bytes() == BODY


def test_a_blob_that_was_only_copied_is_hashed_once(server, cache: Cache, audited) -> None:
    url = server.add("/model.bin", BODY)
    path = fetch(url, Policy())
    os.utime(path, (1, 1))
    assert fetch(url, Policy(offline=True)) == path
    with audited() as events:
        assert fetch(url, Policy(offline=True)) == path
    assert events == []


BROKEN = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\0" * 200,
    b'{"schema": 1}',
    b'{"schema": 1, "url": 5, "sha256": "x"}',
    b"\xff\xfe",
]


@pytest.mark.parametrize("data", BROKEN)
def test_a_broken_ref_is_a_miss(server, cache: Cache, data: bytes) -> None:
    url = server.add("/model.bin", BODY)
    path = fetch(url, Policy())
    cache.ref(url).write_bytes(data)
    assert fetch(url, Policy()) == path
    assert server.count() == 2
    assert cache.entry(url).sha256 == SHA


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=200), st.integers(0, 400)))
def test_any_bytes_in_place_of_a_ref_are_a_miss(server, cache: Cache, data: bytes | int) -> None:
    url = server.add("/model.bin", b"body")
    path = fetch(url, Policy())
    whole = cache.ref(url).read_bytes()
    cache.ref(url).write_bytes(data if isinstance(data, bytes) else whole[:data])
    assert cache.find(url) in (None, path)
    cache.ref(url).write_bytes(whole)


def test_a_ref_without_its_blob_is_a_miss(server, cache: Cache) -> None:
    url = server.add("/model.bin", BODY)
    fetch(url, Policy()).unlink()
    with pytest.raises(NotCachedError):
        fetch(url, Policy(offline=True))
    assert fetch(url, Policy()).read_bytes() == BODY


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "dangling link"])
def test_what_is_no_regular_file_is_no_blob(server, cache: Cache, tmp_path: Path, kind: str) -> None:
    url = server.add("/model.bin", BODY)
    path = fetch(url, Policy())
    path.unlink()
    (tmp_path / "elsewhere").write_bytes(BODY)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / ("elsewhere" if kind == "link" else "nowhere"))
    with pytest.raises(CacheCorruptError):
        fetch(url, Policy(offline=True))
    with pytest.warns(RegistryWarning):
        assert fetch(url, Policy()).read_bytes() == BODY
    assert not path.is_symlink()


def test_a_pipe_in_place_of_a_ref_does_not_make_us_wait(cache: Cache) -> None:
    cache.ref("https://x/").parent.mkdir(parents=True)
    os.mkfifo(cache.ref("https://x/"))
    assert cache.entry("https://x/") is None


# --- Names and renames ------------------------------------------------------------------------------------------------


def test_temporaries_lie_on_the_disk_of_the_cache(server, small_disk, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = small_disk("size=4m")
    monkeypatch.setenv("TMPDIR", str(disk.parent))
    assert fetch(server.add("/model.bin", BODY), Policy(cache_dir=disk)).read_bytes() == BODY
    with pytest.raises(OSError, match="cross-device"):
        os.rename(disk / ".registry", disk.parent / "x")  # what could have happened


def test_no_name_is_longer_than_a_disk_allows(server, cache: Cache) -> None:
    url = server.add("/" + "long" * 500 + ".bin", BODY)
    fetch(url, Policy())
    cache.unpack("0" * 64, lambda folder: (folder / "file").write_text("x"))
    assert max(len(path.name) for path in cache.home.rglob("*")) <= 120
    assert max(len(str(path.relative_to(cache.home))) for path in cache.home.rglob("*")) <= 150


def test_names_need_no_capitals(server, cache: Cache) -> None:
    upper, lower = server.add("/Model.bin", b"upper"), server.add("/model.bin", b"lower")
    assert fetch(upper, Policy()).read_bytes() == b"upper"
    assert fetch(lower, Policy()).read_bytes() == b"lower"
    names = {path.name for path in cache.home.rglob("*")} - {"CACHEDIR.TAG"}
    assert all(name == name.lower() for name in names)


def test_a_failed_fsync_is_not_tried_again(server, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.add("/model.bin", BODY)
    calls = fail(monkeypatch, os, "fsync", errno.EIO)
    with pytest.raises(CacheError) as error:
        fetch(url, Policy())
    assert error.value.errno == errno.EIO
    assert len(calls) == 1
    assert not files(cache.home / "blobs") | files(cache.home / "refs")


def test_a_rename_is_tried_again_for_a_moment(server, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, calls = Path.replace, []

    def busy(source: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) < 4:
            raise PermissionError(errno.EACCES, "in use")
        return rename(source, target)

    monkeypatch.setattr(Path, "replace", busy)
    assert fetch(server.add("/model.bin", BODY), Policy()).read_bytes() == BODY


def test_a_blob_that_is_in_use_is_good_enough(server, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "PATIENCE", 0.1)
    path = fetch(server.add("/model.bin", BODY), Policy())
    rename = Path.replace

    def in_use(source: Path, target: Path) -> Path:
        if target == path:
            raise PermissionError(errno.EACCES, "in use")
        return rename(source, target)

    monkeypatch.setattr(Path, "replace", in_use)
    again = server.add("/again.bin", BODY)
    assert fetch(again, Policy()) == path
    damage(path, b"other")
    with pytest.raises(CacheReadOnlyError):
        fetch(server.add("/third.bin", BODY), Policy())
    shutil.rmtree(cache.home)


def test_a_cache_that_is_deleted_meanwhile_is_made_again(server, reply, cache: Cache) -> None:
    class Deleting:
        def __iter__(self) -> Iterator[bytes]:
            yield BODY[:1000]
            shutil.rmtree(cache.directory)
            yield BODY[1000:]

    url = server.add("/model.bin", reply(Deleting(), length=str(len(BODY))))
    assert fetch(url, Policy()).read_bytes() == BODY
    assert server.count() == 1
    assert fetch(url, Policy(offline=True)).read_bytes() == BODY


def test_what_is_removed_while_it_is_read_stays_readable(server, cache: Cache) -> None:
    url = server.add("/model.bin", BODY)
    with fetch(url, Policy()).open("rb") as reader:
        cache.forget(url)
        cache.sweep()
        assert cache.blob(SHA).exists(), "too young to be swept"
        os.utime(cache.blob(SHA), (1, 1))
        cache.sweep()
        assert not cache.blob(SHA).exists()
        assert reader.read() == BODY


def test_no_decision_but_sweeping_asks_the_clock(server, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.add("/model.bin", BODY)
    path = fetch(url, Policy())
    for moment in (2**33, 1):
        os.utime(path, (moment, moment))
        os.utime(cache.ref(url), (moment, moment))
        assert fetch(url, Policy(offline=True)) == path
    cache.sweep()
    assert path.exists(), "it is named, however old it looks"
