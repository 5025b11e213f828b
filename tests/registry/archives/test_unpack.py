"""Archives from anywhere, among them the known attacks: each gives its files, or a typed error."""

import gzip
import io
import os
import stat
import struct
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.archives import members
from registry.archives.unpack import unpack
from registry.errors import ArchiveError, ArchiveLimitError, CorruptArchiveError, UnsafeArchiveError

CONFIG, WEIGHTS = b'{"hidden_size": 24}', bytes(range(256)) * 40
FILES = {"config.json": CONFIG, "pytorch_model.bin": WEIGHTS}

Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object) -> Entry:
    """A member as ``tarfile`` writes it, of any kind and with any lie."""
    info = tarfile.TarInfo(name)
    info.size, info.type = len(data), kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tar(*entries: Entry, format: int = tarfile.PAX_FORMAT, end: bytes = bytes(1024)) -> bytes:
    blocks = (info.tobuf(format=format) + data + bytes(-len(data) % tarfile.BLOCKSIZE) for info, data in entries)
    return b"".join(blocks) + end


MODEL = [entry(name, data) for name, data in FILES.items()]


def emptied(directory: Path) -> Path:
    for path in directory.iterdir():
        path.unlink()
    return directory


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "unpacked"
    path.mkdir()
    return path


@pytest.fixture
def unpacked(tmp_path: Path, directory: Path) -> Callable[..., dict[str, bytes]]:
    """Write bytes as an archive, unpack it, and return what lies in the directory then."""

    def run(archive: bytes, name: str = "model.tar.gz") -> dict[str, bytes]:
        (tmp_path / name).write_bytes(archive)
        emptied(directory)
        found = unpack(tmp_path / name, directory)
        here = {path.name: path.read_bytes() for path in directory.iterdir()}
        assert set(here) == set(found)
        return here

    return run


Unpacked = Callable[..., dict[str, bytes]]


@pytest.fixture(autouse=True)
def _nothing_lands_elsewhere(tmp_path: Path) -> Iterator[None]:
    """Whatever an archive says, files appear only in the directory, and after an error only under numbers."""
    yield
    outside = {path.name for path in tmp_path.iterdir()} - {"unpacked", "cache"}
    assert all(name.startswith("model.") for name in outside), outside


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


# --- What is accepted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_a_model_is_unpacked_with_size_and_digest_of_each_file(format: int, tmp_path: Path, directory: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(gzip.compress(tar(*MODEL, format=format)))
    found = unpack(tmp_path / "model.tar.gz", directory)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == FILES
    sums = subprocess.run(
        ["sha256sum", *FILES], cwd=directory, capture_output=True, text=True, check=True
    ).stdout.split()
    assert [found[name].sha256 for name in FILES] == sums[::2]
    assert [found[name].size for name in FILES] == [len(CONFIG), len(WEIGHTS)]


def test_what_the_tar_command_writes_is_unpacked(tmp_path: Path, directory: Path) -> None:
    (tmp_path / "model.src").mkdir()
    for name, data in FILES.items():
        (tmp_path / "model.src" / name).write_bytes(data)
    for arguments in (["-C", "model.src", "."], ["-C", "model.src", *FILES], ["model.src"]):
        for format in ("gnu", "pax", "ustar", "v7"):
            archive = f"model.{format}.tar.gz"
            subprocess.run(["tar", "-czf", archive, f"--format={format}", *arguments], cwd=tmp_path, check=True)
            assert set(unpack(tmp_path / archive, emptied(directory))) == set(FILES)
            assert {path.name: path.read_bytes() for path in directory.iterdir()} == FILES


def test_one_directory_around_the_files_and_a_dot_before_them_are_accepted(unpacked: Unpacked) -> None:
    inside = [entry(f"./model/{name}", data) for name, data in FILES.items()]
    deeper = entry("model/code/inference.py", b"import os")
    archive = tar(entry("./", kind=tarfile.DIRTYPE), entry("./model/", kind=tarfile.DIRTYPE), *inside, deeper)
    assert unpacked(gzip.compress(archive)) == FILES


@pytest.mark.parametrize("suffix", ["tar.gz", "zip"])
def test_what_lies_below_the_files_or_was_added_by_a_macintosh_is_left_out(suffix: str, unpacked: Unpacked) -> None:
    names = {
        **FILES,
        "._config.json": b"junk",
        "code/inference.py": b"import os",
        "__MACOSX/._config.json": b"junk",
    }
    packed = (
        zipped(*names.items())
        if suffix == "zip"
        else gzip.compress(tar(*(entry(name, data) for name, data in names.items())))
    )
    assert unpacked(packed, f"model.{suffix}") == FILES


def test_long_names_and_exact_times_are_read_in_both_formats(tmp_path: Path, directory: Path) -> None:
    name = "model-" + "x" * 150 + ".bin"
    for format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        archive = tar(entry(name, WEIGHTS, mtime=12345.678), entry("ä.json", CONFIG), format=format)
        (tmp_path / "model.tar.gz").write_bytes(gzip.compress(archive))
        assert set(unpack(tmp_path / "model.tar.gz", emptied(directory))) == {name, "ä.json"}


def test_modes_owners_and_times_are_our_own(unpacked: Unpacked, directory: Path) -> None:
    odd = [
        entry("config.json", CONFIG, mode=0o4777, uid=12345, gid=54321, mtime=-11644473600),
        entry("pytorch_model.bin", WEIGHTS, mode=0, mtime=253402300799),
    ]
    before = time.time() - 5
    assert unpacked(gzip.compress(tar(*odd))) == FILES
    for path in directory.iterdir():
        status = path.stat()
        assert stat.S_IMODE(status.st_mode) == 0o444 & ~_umask()
        assert status.st_uid == os.getuid()
        assert before < status.st_mtime < time.time() + 5


def _umask() -> int:
    code = "import os; print(os.umask(0))"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


# --- Names ------------------------------------------------------------------------------------------------------------

LEADS_ELSEWHERE = [
    *("../x", "a/../x", "a/../../x", "..", "/etc/x", "//host/share/x", "C:x", "C:\\x", "\\\\host\\x", "a\\b"),
    *("x\0y", "a//b", "a/./b", ".", "x\n", "config.json:stream", "x" * 201),
]


@pytest.mark.parametrize("name", LEADS_ELSEWHERE)
def test_a_name_that_leads_elsewhere_is_refused(name: str, unpacked: Unpacked, directory: Path) -> None:
    with pytest.raises(UnsafeArchiveError, match=r"model.tar.gz holds"):
        unpacked(gzip.compress(tar(*MODEL, entry("c", pax_headers={"path": name}))))
    assert all(path.name.isdigit() for path in directory.iterdir())


@pytest.mark.parametrize("name", ["", "config.json/"])
def test_a_file_that_is_named_as_a_directory_is_refused(name: str, unpacked: Unpacked) -> None:
    with pytest.raises(UnsafeArchiveError):
        unpacked(gzip.compress(tar(entry("c", pax_headers={"path": name}))))


@pytest.mark.parametrize("name", [name for name in LEADS_ELSEWHERE if "\0" not in name])
def test_a_name_in_a_zip_that_leads_elsewhere_is_refused(name: str, unpacked: Unpacked) -> None:
    with pytest.raises(UnsafeArchiveError):
        unpacked(zipped(("config.json", CONFIG), (name, b"x")), "model.zip")


def test_a_name_in_a_zip_that_goes_on_after_a_nul_is_refused(unpacked: Unpacked) -> None:
    archive = zipped(("config.json", CONFIG), ("xAy", b"x")).replace(b"xAy", b"x\0y")
    with pytest.raises(UnsafeArchiveError):
        unpacked(archive, "model.zip")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab./\\:C\0 é"), max_size=6), max_size=4))
def test_no_name_whatever_writes_outside(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    home = tmp_path_factory.mktemp("names")
    (home / "in").mkdir()
    archive = tar(*(entry("c", b"data", pax_headers={"path": name}) for name in names))
    (home / "model.tar.gz").write_bytes(gzip.compress(archive))
    try:
        found = set(unpack(home / "model.tar.gz", home / "in"))
    except UnsafeArchiveError:
        found = set()
        assert all(path.name.isdigit() for path in (home / "in").iterdir())
    else:
        assert {path.name for path in (home / "in").iterdir()} == found
    assert {path.name for path in home.iterdir()} == {"in", "model.tar.gz"}


TWICE = [
    ("config.json", "config.json"),
    ("config.json", "./config.json"),
    ("config.json", "Config.JSON"),
    ("caf\N{LATIN SMALL LETTER E WITH ACUTE}.json", "cafe\N{COMBINING ACUTE ACCENT}.json"),
    ("model", "model/config.json"),
    ("model/a", "Model/b"),
]


@pytest.mark.parametrize(("first", "second"), TWICE)
def test_one_name_twice_is_refused(first: str, second: str, unpacked: Unpacked) -> None:
    with pytest.raises(UnsafeArchiveError, match="differ in which one counts"):
        unpacked(gzip.compress(tar(entry(first, b"1"), entry(second, b"2"))))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("first", "second"), TWICE)
def test_one_name_twice_in_a_zip_is_refused(first: str, second: str, unpacked: Unpacked) -> None:
    with pytest.raises(UnsafeArchiveError, match="differ in which one counts"):
        unpacked(zipped((first, b"1"), (second, b"2")), "model.zip")


# --- Kinds of members -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["config.json", "/etc/passwd", "../x"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_are_refused(kind: bytes, target: str, unpacked: Unpacked) -> None:
    with pytest.raises(UnsafeArchiveError, match=r"link, 'l'; no model needs one"):
        unpacked(gzip.compress(tar(*MODEL, entry("l", kind=kind, linkname=target))))


def test_a_link_in_a_zip_is_refused(unpacked: Unpacked) -> None:
    link = zipfile.ZipInfo("l")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(UnsafeArchiveError, match="link or device"):
        unpacked(zipped((link, b"/etc/passwd")), "model.zip")


@pytest.mark.parametrize("kind", [*b"34675SMVDNAXZ\xff"])
def test_devices_pipes_and_unknown_members_are_refused(kind: int, unpacked: Unpacked) -> None:
    data = b"data" if kind == ord("5") else b""  # a directory with content
    with pytest.raises(UnsafeArchiveError):
        unpacked(gzip.compress(tar(*MODEL, entry("m", data, kind=bytes([kind])))))


def test_a_sparse_file_is_refused_in_every_format(unpacked: Unpacked) -> None:
    for headers in ({"GNU.sparse.major": "1"}, {"GNU.sparse.map": "0,1", "GNU.sparse.size": "1099511627776"}):
        with pytest.raises(UnsafeArchiveError, match="sparse"):
            unpacked(gzip.compress(tar(entry("m", b"data", pax_headers=headers))))


# --- Attacks that were published --------------------------------------------------------------------------------------


def test_the_published_attacks_on_extraction_have_nothing_to_work_with(unpacked: Unpacked) -> None:
    deep = "d" * 60
    attacks = {
        "CVE-2007-4559": [entry("../escaped", b"x")],
        "CVE-2024-12718": [entry("..", kind=tarfile.DIRTYPE, mode=0o777)],
        "CVE-2025-4138": [entry("l", kind=tarfile.SYMTYPE, linkname="../" * 40 + "etc")],
        "CVE-2025-4330": [
            entry("a", kind=tarfile.SYMTYPE, linkname="b/" * 200 + ".."),
            entry("h", kind=tarfile.LNKTYPE, linkname="a"),
        ],
        "CVE-2025-4435": [entry("x", b"1", kind=tarfile.FIFOTYPE), entry("x", b"2")],
        "CVE-2025-4517": [
            *(entry("/".join([deep] * n), kind=tarfile.DIRTYPE) for n in range(1, 17)),
            entry("/".join([deep] * 16) + "/l", kind=tarfile.SYMTYPE, linkname="../" * 16),
            entry("escape", kind=tarfile.SYMTYPE, linkname="/".join([deep] * 16) + "/l/../../escaped"),
            entry("escape", b"overwritten"),
        ],
    }
    for attack in attacks.values():
        with pytest.raises(UnsafeArchiveError):
            unpacked(gzip.compress(tar(*attack, *MODEL)))


@pytest.mark.parametrize("size", [-512, -1024, -(2**40)])
def test_a_size_below_zero_is_refused(size: int, unpacked: Unpacked) -> None:
    for lie in (entry("m", size=size), entry("m", pax_headers={"size": str(size)})):
        info, _ = lie
        blocks = info.tobuf(format=tarfile.GNU_FORMAT if info.size < 0 else tarfile.PAX_FORMAT)
        with pytest.raises(ArchiveError):
            unpacked(gzip.compress(blocks + tar(*MODEL)))
    header = bytearray(entry("x", kind=tarfile.XHDTYPE)[0].tobuf(format=tarfile.USTAR_FORMAT))
    header[124:136] = b"\xff" * 10 + struct.pack(">h", size % -30000)
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 8 * 32)
    with pytest.raises(ArchiveError):
        unpacked(gzip.compress(bytes(header) + tar(*MODEL)))


# --- Sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_description_of_a_gibibyte_is_refused_unread(kind: bytes, unpacked: Unpacked) -> None:
    info, _ = entry("x", kind=kind, size=2**30)
    archive = gzip.compress(info.tobuf(format=tarfile.USTAR_FORMAT) + bytes(2**20), 1)
    tracemalloc.start()
    with pytest.raises(ArchiveLimitError, match="describes its members in more than"):
        unpacked(archive)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_descriptions_are_limited_together(unpacked: Unpacked) -> None:
    described = (entry(f"{n}", pax_headers={"comment": "x" * 100_000}) for n in range(11))
    with pytest.raises(ArchiveLimitError):
        unpacked(gzip.compress(tar(*described)))


def test_a_thousand_members_are_enough(unpacked: Unpacked) -> None:
    archive = tar(*(entry(f"d/d/{n}") for n in range(1001)), format=tarfile.USTAR_FORMAT)
    with pytest.raises(ArchiveLimitError, match="more than 1,000"):
        unpacked(gzip.compress(archive))
    with pytest.raises(ArchiveLimitError, match="more than 1,000"):
        unpacked(zipped(*((f"d/d/{n}", b"") for n in range(1001))), "model.zip")


def test_what_is_said_of_all_members_may_not_name_them(unpacked: Unpacked) -> None:
    comment = tarfile.TarInfo.create_pax_global_header({"comment": "0123"})  # as git archive writes
    assert unpacked(gzip.compress(comment + tar(*MODEL))) == FILES
    for said in ({"path": "x"}, {"size": "1"}):
        with pytest.raises(UnsafeArchiveError, match="one name or size"):
            unpacked(gzip.compress(tarfile.TarInfo.create_pax_global_header(said) + tar(*MODEL)))


def test_a_gzip_bomb_stops_at_200_times_its_size(tmp_path: Path, directory: Path) -> None:
    size = 256 * 2**20
    engine = zlib.compressobj(9, wbits=31)
    with (tmp_path / "model.tar.gz").open("wb") as file:
        file.write(engine.compress(entry("pytorch_model.bin", size=size)[0].tobuf()))
        for _ in range(size // 2**20):
            file.write(engine.compress(bytes(2**20)))
        file.write(engine.compress(bytes(1024)) + engine.flush())
    packed = (tmp_path / "model.tar.gz").stat().st_size
    with pytest.raises(ArchiveLimitError, match="200 times its own size"):
        unpack(tmp_path / "model.tar.gz", directory)
    assert sum(path.stat().st_size for path in directory.iterdir()) <= 200 * packed < size


def test_more_than_eight_gibibytes_are_refused_by_their_header(unpacked: Unpacked) -> None:
    with pytest.raises(ArchiveLimitError):
        unpacked(gzip.compress(tar(entry("pytorch_model.bin", size=2**40))))


def test_a_small_archive_may_hold_zeros(unpacked: Unpacked) -> None:
    assert unpacked(gzip.compress(tar(entry("pytorch_model.bin", bytes(500_000)))))


# --- Damage -----------------------------------------------------------------------------------------------------------


def test_a_member_that_is_shorter_than_it_says_is_corrupt(unpacked: Unpacked) -> None:
    for declared in (len(WEIGHTS) + 1, len(WEIGHTS) + 100_000):
        with pytest.raises(CorruptArchiveError):
            unpacked(gzip.compress(tar(entry("pytorch_model.bin", WEIGHTS, size=declared))))


def test_an_archive_cut_at_any_byte_is_corrupt(tmp_path: Path, directory: Path) -> None:
    archive = gzip.compress(tar(entry("config.json", CONFIG), entry("pytorch_model.bin", bytes(range(200)))))
    assert len(archive) < 1000
    for cut in range(len(archive)):
        (tmp_path / "model.tar.gz").write_bytes(archive[:cut])
        with pytest.raises(CorruptArchiveError):
            unpack(tmp_path / "model.tar.gz", emptied(directory))


def test_a_zip_cut_at_any_byte_is_corrupt(tmp_path: Path, directory: Path) -> None:
    archive = zipped(*FILES.items())
    for cut in range(len(archive)):
        (tmp_path / "model.zip").write_bytes(archive[:cut])
        with pytest.raises(CorruptArchiveError):
            unpack(tmp_path / "model.zip", directory)


@pytest.mark.parametrize("end", [b"", bytes(512), bytes(1023)])
def test_a_tar_without_its_end_is_corrupt(end: bytes, unpacked: Unpacked) -> None:
    with pytest.raises(CorruptArchiveError):
        unpacked(gzip.compress(tar(*MODEL, end=end)))


def test_a_description_of_nothing_is_corrupt(unpacked: Unpacked) -> None:
    last = entry("m", pax_headers={"path": "config.json"})[0].tobuf(format=tarfile.PAX_FORMAT)[:1024]
    with pytest.raises(CorruptArchiveError, match="does not end"):
        unpacked(gzip.compress(tar(*MODEL, end=last + bytes(1024))))


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_gzip_trailer_that_is_cut_or_wrong_is_corrupt(cut: int, unpacked: Unpacked) -> None:
    archive = gzip.compress(tar(*MODEL, end=bytes(20_000)))
    with pytest.raises(CorruptArchiveError):
        unpacked(archive[:-cut])
    wrong = bytearray(archive)
    wrong[-cut] ^= 1
    with pytest.raises(CorruptArchiveError):
        unpacked(bytes(wrong))


def test_any_flipped_bit_in_the_content_is_corrupt(tmp_path: Path, directory: Path) -> None:
    archive = gzip.compress(tar(entry("config.json", CONFIG), entry("pytorch_model.bin", bytes(range(200)))), 0)
    for byte in range(10, len(archive), 37):  # after gzip's own header, whose time and system say nothing
        damaged = bytearray(archive)
        damaged[byte] ^= 1 << byte % 8
        (tmp_path / "model.tar.gz").write_bytes(damaged)
        with pytest.raises(ArchiveError):
            unpack(tmp_path / "model.tar.gz", emptied(directory))


@pytest.mark.parametrize("junk", [b"\0", b"junk", gzip.compress(b"", mtime=0), gzip.compress(tar(*MODEL), mtime=0)])
def test_what_follows_the_gzip_stream_is_corrupt(junk: bytes, unpacked: Unpacked) -> None:
    with pytest.raises(CorruptArchiveError, match="continues after the end"):
        unpacked(gzip.compress(tar(*MODEL)) + junk)


def test_what_follows_the_end_of_the_tar_is_corrupt(unpacked: Unpacked) -> None:
    for junk in (b"junk", tar(*MODEL)):
        with pytest.raises(CorruptArchiveError, match="does not end"):
            unpacked(gzip.compress(tar(*MODEL) + bytes(8192) + junk))


def test_what_stands_before_or_after_a_zip_is_corrupt(unpacked: Unpacked) -> None:
    archive = zipped(*FILES.items())
    for joined in (archive + b"\0", archive + archive, archive + b"PK", b"PK\3\4" + archive):
        with pytest.raises(CorruptArchiveError):
            unpacked(joined, "model.zip")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "an empty file"),
        (b"\n<!DOCTYPE html><html>Sign in</html>", "an HTML page"),
        (zipped(*FILES.items()), "a zip archive"),
        (tar(*MODEL), "a tar archive that is not compressed"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a git-lfs pointer"),
        (CONFIG, "a JSON file"),
        (b"\x80\x02}q\0.", "a pickle"),
        (b"MZ", "an unknown file"),
    ],
)
def test_what_is_no_archive_is_named(content: bytes, kind: str, unpacked: Unpacked) -> None:
    with pytest.raises(CorruptArchiveError, match=f"model.tar.gz is not what its name says: it is {kind}"):
        unpacked(content)


def test_a_tar_gz_that_is_called_a_zip_is_named(unpacked: Unpacked) -> None:
    with pytest.raises(CorruptArchiveError, match="it is a gzip file"):
        unpacked(gzip.compress(tar(*MODEL)), "model.zip")
    with pytest.raises(CorruptArchiveError):
        unpacked(gzip.compress(CONFIG))


# --- Zip --------------------------------------------------------------------------------------------------------------


def edited(archive: bytes, at: bytes, offset: int, value: bytes) -> bytes:
    """The archive with ``value`` written ``offset`` bytes after the first ``at``."""
    place = archive.index(at) + offset
    return archive[:place] + value + archive[place + len(value) :]


LOCAL, CENTRAL = b"PK\3\4", b"PK\1\2"


def test_a_zip_is_unpacked_stored_or_deflated_or_written_to_a_pipe(tmp_path: Path, directory: Path) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # sizes then stand behind the bytes
        for name, data in FILES.items():
            archive.writestr(name, data)
    forced = io.BytesIO()
    with zipfile.ZipFile(forced, "w") as archive, archive.open("config.json", "w", force_zip64=True) as file:
        file.write(CONFIG)
    for content in (zipped(*FILES.items()), zipped(*FILES.items(), method=zipfile.ZIP_STORED), pipe.getvalue()):
        (tmp_path / "model.zip").write_bytes(content)
        unpack(tmp_path / "model.zip", emptied(directory))
        assert {path.name: path.read_bytes() for path in directory.iterdir()} == FILES
    (tmp_path / "model.zip").write_bytes(forced.getvalue())
    assert unpack(tmp_path / "model.zip", emptied(directory)).keys() == {"config.json"}


def test_members_of_a_zip_that_lie_over_each_other_are_refused(unpacked: Unpacked) -> None:
    archive = zipped(("a.bin", b"x" * 100), ("b.bin", b"x" * 100), method=zipfile.ZIP_STORED)
    second = archive.index(CENTRAL, archive.index(CENTRAL) + 1)
    place = second + 42
    both_first = archive[:place] + bytes(4) + archive[place + 4 :]  # b's bytes are a's
    with pytest.raises(ArchiveError):
        unpacked(both_first, "model.zip")
    with pytest.raises(UnsafeArchiveError, match="overlap"):
        unpacked(_quoted_overlap(), "model.zip")


def _quoted_overlap() -> bytes:
    """Two members, the first of which quotes the header of the second as its own stored content (Fifield, 2019)."""
    data = b"x" * 50
    inner = zipfile.ZipInfo("b.bin")
    inner.file_size = inner.compress_size = len(data)
    inner.CRC = zlib.crc32(data)
    quoted = inner.FileHeader(False) + data
    archive = zipped(("a.bin", quoted), ("b.bin", data), method=zipfile.ZIP_STORED)
    second = archive.index(CENTRAL, archive.index(CENTRAL) + 1)
    return archive[: second + 42] + struct.pack("<L", archive.index(quoted)) + archive[second + 46 :]


def test_encrypted_and_unknown_methods_are_refused(unpacked: Unpacked) -> None:
    archive = zipped(("config.json", CONFIG))
    for lie in (
        edited(edited(archive, LOCAL, 6, b"\1\0"), CENTRAL, 8, b"\1\0"),
        edited(edited(archive, LOCAL, 8, b"\x63\0"), CENTRAL, 10, b"\x63\0"),
        zipped(("config.json", CONFIG), method=zipfile.ZIP_BZIP2),
        zipped(("config.json", CONFIG), method=zipfile.ZIP_LZMA),
    ):
        with pytest.raises(UnsafeArchiveError, match="encrypted, or compressed by another method"):
            unpacked(lie, "model.zip")


def test_a_zip_whose_directory_tells_another_story_is_corrupt(unpacked: Unpacked) -> None:
    archive = zipped(("config.json", CONFIG), method=zipfile.ZIP_STORED)
    for lie in (
        edited(archive, LOCAL, 30, b"Config"),  # another name
        edited(archive, LOCAL, 14, b"abcd"),  # another checksum
        edited(archive, CENTRAL, 16, b"abcd"),
        edited(archive, LOCAL, 18, b"\1"),  # other sizes
        edited(archive, CENTRAL, 20, b"\1"),
        edited(archive, CENTRAL, 24, b"\1"),
        edited(archive, LOCAL, 8, b"\x08\0"),  # another method
        edited(archive, CENTRAL, 42, b"\x05"),  # another place
        edited(archive, CENTRAL, 42, b"\xff\xff\xff\xff"),  # a place of zip64, and no such field
        edited(archive, CENTRAL, 24, b"\xff\xff\xff\xff"),
        edited(archive, CONFIG, 0, b"["),  # other bytes
        edited(archive, b"PK\5\6", 10, b"\2"),  # another number of members
        edited(archive, b"PK\5\6", 16, b"\0"),
    ):
        with pytest.raises(ArchiveError):
            unpacked(lie, "model.zip")


def test_no_flipped_bit_of_a_zip_gives_other_content(tmp_path: Path, directory: Path) -> None:
    archive = zipped(("config.json", CONFIG), ("vocab.txt", b"[UNK]\n"))
    for byte in range(len(archive)):
        damaged = bytearray(archive)
        damaged[byte] ^= 1 << byte % 8
        (tmp_path / "model.zip").write_bytes(damaged)
        try:
            found = unpack(tmp_path / "model.zip", emptied(directory))
        except ArchiveError:
            pass
        else:
            contents = [(directory / name).read_bytes() for name in found]
            assert contents == [CONFIG, b"[UNK]\n"][: len(contents)]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_bytes_changed_at_random_give_typed_errors_only(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    home = tmp_path_factory.mktemp("mutated")
    (home / "in").mkdir()
    suffix = data.draw(st.sampled_from(["zip", "tar.gz"]))
    plain = tar(entry("config.json", CONFIG))[:3072]
    original = bytearray(zipped(("config.json", CONFIG)) if suffix == "zip" else plain)
    for _ in range(data.draw(st.integers(1, 4))):
        original[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    (home / f"model.{suffix}").write_bytes(bytes(original) if suffix == "zip" else gzip.compress(bytes(original), 1))
    try:
        unpack(home / f"model.{suffix}", home / "in")
    except ArchiveError:
        pass
    assert {path.name for path in home.iterdir()} == {"in", f"model.{suffix}"}


def test_a_zip_bomb_is_refused_by_its_directory(unpacked: Unpacked) -> None:
    bomb = zipped(("pytorch_model.bin", bytes(32 * 2**20)))
    with pytest.raises(ArchiveLimitError, match="200 times its own size"):
        unpacked(bomb, "model.zip")


def test_a_zip_bomb_that_lies_of_its_size_stops_there(unpacked: Unpacked, directory: Path) -> None:
    bomb = zipped(("pytorch_model.bin", bytes(32 * 2**20)))
    small = struct.pack("<L", 100)
    with pytest.raises(CorruptArchiveError):
        unpacked(edited(edited(bomb, LOCAL, 22, small), CENTRAL, 24, small), "model.zip")
    assert sum(path.stat().st_size for path in directory.iterdir()) <= 100


def test_the_limits_are_those_of_the_rules() -> None:
    assert members.limit(10) == 2**20
    assert members.limit(2**30) == 8 * 2**30
    assert members.limit(2**20) == 200 * 2**20
