"""Archives as users meet them: by path, by URL, by name; unpacked once, kept, and whole whatever happens."""

import gzip
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable
from hashlib import md5, sha256
from pathlib import Path
from types import SimpleNamespace

import pytest

import registry
from registry import Card, FileSpec, hookimpl
from registry.cache.cache import Cache
from registry.download.policy import Policy
from registry.errors import (
    CacheFullError,
    CacheReadOnlyError,
    CorruptArchiveError,
    HTTPStatusError,
    IntegrityError,
    NotCachedError,
    UnsafeArchiveError,
)
from registry.sources.card import is_local
from registry.sources.files import Files
from registry.sources.resolve import resolve

Members = dict[str, bytes]


def packed(files: Members, directory: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(directory + name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def with_digest(url: str, archive: bytes) -> str:
    return f"{url}#sha256={sha256(archive).hexdigest()}"


@pytest.fixture
def model(tmp_path: Path, sizes: dict[str, int], vocab_file: Path) -> Members:
    """The first files of pytorch-pretrained-bert, bert_config.json and pytorch_model.bin, and a vocabulary."""
    from registry.zoo import BertConfig, BertForPreTraining

    directory = registry.save(BertForPreTraining(BertConfig(**sizes)), tmp_path / "saved", format="torch")
    config = {key: sizes[key] for key in sizes} | {"hidden_act": "gelu", "type_vocab_size": 2}
    return {
        "bert_config.json": json.dumps(config).encode(),
        "pytorch_model.bin": (directory / "pytorch_model.bin").read_bytes(),
        "vocab.txt": vocab_file.read_bytes(),
    }


@pytest.fixture
def toy() -> Members:
    """What may be a model, to those who do not read it."""
    return {"config.json": b"{}", "pytorch_model.bin": bytes(range(256)) * 4}


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called on, nobody opens a socket."""

    def forbid() -> None:
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("a socket was opened")

        monkeypatch.setattr(socket, "socket", refuse)
        monkeypatch.setattr(socket, "create_connection", refuse)

    return forbid


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def unpacked_directories(cache: Cache) -> list[Path]:
    directory = cache.home / "unpacked"
    return sorted(directory.iterdir()) if directory.is_dir() else []


# --- A path -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.tar.gz", "model.tgz", "model.zip"])
def test_an_archive_on_this_disk_loads(name: str, model: Members, tmp_path: Path) -> None:
    if name.endswith("zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for file, data in model.items():
                archive.writestr(f"uncased_L-2/{file}", data)
    else:
        (tmp_path / name).write_bytes(packed(model, directory="./"))
    loaded = registry.load(tmp_path / name, "pretraining")
    assert loaded.report.new == ()
    assert loaded.tokenizer.tokenize("the cat") == ["the", "cat"]
    again = registry.zoo.BertModel.from_pretrained(str(tmp_path / name))
    theirs = dict(loaded.model.bert.state_dict())
    assert all(bool((theirs[key] == value).all()) for key, value in again.state_dict().items())


def test_an_archive_is_hashed_and_unpacked_once_and_then_nothing_is_written(
    toy: Members, tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.tar.gz"
    path.write_bytes(packed(toy))
    first = Files(resolve(path)).of()
    assert {name: file.read_bytes() for name, file in first.items()} == toy
    digest = sha256(path.read_bytes()).hexdigest()
    assert [directory.name for directory in unpacked_directories(cache)] == [digest]
    before = {file: file.stat().st_mtime_ns for file in cache.directory.rglob("*")}
    os.utime(path, ns=(0, path.stat().st_mtime_ns))
    monkeypatch.setattr("registry.archives.unpacked.sha256_of", lambda *_: pytest.fail("hashed again"))
    monkeypatch.setattr("registry.archives.unpack.unpack", lambda *_, **__: pytest.fail("unpacked again"))
    assert Files(resolve(path)).of() == first
    assert {file: file.stat().st_mtime_ns for file in cache.directory.rglob("*")} == before


def test_an_archive_that_was_changed_is_unpacked_anew(toy: Members, tmp_path: Path, cache: Cache) -> None:
    path = tmp_path / "model.tar.gz"
    path.write_bytes(packed(toy))
    Files(resolve(path)).of()
    path.write_bytes(packed(toy | {"config.json": b'{"a": 1}'}))
    assert Files(resolve(path)).of()["config.json"].read_bytes() == b'{"a": 1}'
    assert len(unpacked_directories(cache)) == 2


@pytest.mark.parametrize("harm", ["remove", "truncate", "manifest"])
def test_an_unpacked_directory_that_was_harmed_is_made_anew(
    harm: str, toy: Members, tmp_path: Path, cache: Cache
) -> None:
    path = tmp_path / "model.tar.gz"
    path.write_bytes(packed(toy))
    file = Files(resolve(path)).of()["pytorch_model.bin"]
    manifest = file.parents[1] / "manifest.json"
    if harm == "remove":
        file.unlink()
    elif harm == "truncate":
        file.chmod(0o644)
        file.write_bytes(b"short")
    else:
        manifest.write_text('{"files": 5}')
    assert {name: found.read_bytes() for name, found in Files(resolve(path)).of().items()} == toy
    assert len(unpacked_directories(cache)) == 1


def test_two_files_of_the_same_bytes_share_what_was_unpacked(toy: Members, tmp_path: Path, cache: Cache) -> None:
    archive = packed(toy)
    for name in ("a.tar.gz", "b.tgz"):
        (tmp_path / name).write_bytes(archive)
        Files(resolve(tmp_path / name)).of()
    assert len(unpacked_directories(cache)) == 1


@pytest.mark.parametrize(
    ("left", "missing"),
    [
        (["pytorch_model.bin"], r"holds no model: a configuration \(config.json or .*\) is missing from its 1 file \("),
        (
            ["config.json"],
            r"holds no model: weights \(model.safetensors, .*\) is missing from its 1 file \(config.json\)",
        ),
        (["vocab.txt", "merges.txt"], r"holds no model: .* are missing from its 2 files \(merges.txt, vocab.txt\)"),
        ([], "is an archive without a file, and so without a model"),
    ],
)
def test_an_archive_without_a_model_is_corrupt_and_leaves_nothing(
    left: list[str], missing: str, toy: Members, tmp_path: Path, cache: Cache
) -> None:
    (tmp_path / "model.tar.gz").write_bytes(packed({name: toy.get(name, b"x") for name in left}))
    with pytest.raises(CorruptArchiveError, match=f"model.tar.gz {missing}"):
        registry.load(tmp_path / "model.tar.gz")
    assert unpacked_directories(cache) == []


def test_a_refused_archive_leaves_nothing(toy: Members, tmp_path: Path, cache: Cache) -> None:
    (tmp_path / "model.tar.gz").write_bytes(packed(toy | {"../x": b""}))
    with pytest.raises(UnsafeArchiveError):
        registry.load(tmp_path / "model.tar.gz")
    assert unpacked_directories(cache) == []


def test_an_archive_and_a_read_only_cache_name_the_variable(
    toy: Members, tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.tar.gz").write_bytes(packed(toy))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(CacheReadOnlyError, match="PYTORCH_PRETRAINED_BERT_CACHE"):
        Files(resolve(tmp_path / "model.tar.gz")).of()


# --- Faults while unpacking -------------------------------------------------------------------------------------------

LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
import registry
from registry.errors import CacheFullError
from registry.sources.files import Files
try:
    Files(registry.resolve(sys.argv[1])).of()
except CacheFullError as error:
    print(error.errno, "has no room" in str(error))
"""


def test_a_full_disk_leaves_nothing(toy: Members, tmp_path: Path, cache: Cache) -> None:
    path = tmp_path / "model.tar.gz"
    path.write_bytes(packed(toy | {"pytorch_model.bin": os.urandom(500_000)}))
    ended = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True)
    assert ended.stdout == "27 True\n"  # EFBIG
    assert unpacked_directories(cache) == []
    assert len(Files(resolve(path)).of()) == 2


@pytest.mark.parametrize("call", ["open", "mkdir", "rename", "fsync"])
def test_a_disk_that_fails_at_any_call_leaves_nothing(
    call: str, toy: Members, tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.tar.gz"
    path.write_bytes(packed(toy))
    (cache.home / "unpacked").mkdir(parents=True)
    codes: set[int | None] = set()
    for number in range(1, 20):
        calls = 0
        module = Path if call in ("mkdir", "rename") else os
        real = getattr(module, call)

        def failing(*arguments: object, **keywords: object) -> object:
            nonlocal calls
            if str(arguments[0]) != str(path):
                calls += 1
                if calls == number:  # noqa: B023
                    raise OSError(28, "No space left on device")
            return real(*arguments, **keywords)  # noqa: B023

        with monkeypatch.context() as patch:
            patch.setattr(module, call, failing)
            try:
                Files(resolve(path)).of()
            except CacheFullError as error:
                codes.add(error.errno)
            else:
                if calls < number:
                    break
        for directory in unpacked_directories(cache):  # what is there is whole
            assert {file.name: file.read_bytes() for file in (directory / "files").iterdir()} == toy
            subprocess.run(["rm", "-rf", str(directory)], check=True)
    assert codes == {28}
    assert {name: file.read_bytes() for name, file in Files(resolve(path)).of().items()} == toy


KILLED = """
import os, signal, sys
import registry
from registry.archives import unpack as archives
from registry.archives import unpacked as unpacking
from registry.sources.files import Files
module, name = {"write": (archives, "_write"), "manifest": (unpacking, "write_manifest")}[sys.argv[2]]
real = getattr(module, name)
def once(*arguments):
    real(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(module, name, once)
Files(registry.resolve(sys.argv[1])).of()
"""


@pytest.mark.parametrize("point", ["write", "manifest"])
def test_killed_while_unpacking_leaves_a_temporary_that_is_swept_after_a_day(
    point: str, toy: Members, tmp_path: Path, cache: Cache
) -> None:
    path = tmp_path / "model.tar.gz"
    path.write_bytes(packed(toy))
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path), point], check=False)
    assert ended.returncode == -signal.SIGKILL
    (left,) = unpacked_directories(cache)
    assert left.name.endswith(".tmp")
    assert {name: file.read_bytes() for name, file in Files(resolve(path)).of().items()} == toy
    cache.sweep()
    assert left.exists(), "its writer may be alive"
    old = time.time() - 25 * 3600
    os.utime(left, (old, old))
    cache.sweep()
    assert [directory.name for directory in unpacked_directories(cache)] == [sha256(path.read_bytes()).hexdigest()]


def test_many_who_unpack_at_once_find_one_whole_directory(toy: Members, tmp_path: Path, cache: Cache) -> None:
    path = tmp_path / "model.tar.gz"
    path.write_bytes(packed(toy | {"pytorch_model.bin": os.urandom(2_000_000)}))
    code = (
        "import sys, hashlib, registry\nfrom registry.sources.files import Files\n"
        "sys.stdin.read(1)\npaths = Files(registry.resolve(sys.argv[1])).of()\n"
        "print(hashlib.sha256(paths['pytorch_model.bin'].read_bytes()).hexdigest())"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=-1, stdout=-1, text=True) for _ in range(4)
    ]
    found, stop = set(), threading.Event()

    def poll() -> None:
        while not stop.is_set():
            for directory in unpacked_directories(cache):
                if not directory.name.startswith("."):
                    found.add(frozenset(name for name in contents(directory)))

    reader = threading.Thread(target=poll)
    reader.start()
    time.sleep(0.5)
    for process in started:
        process.stdin.write("x")
        process.stdin.flush()
    answers = {process.communicate()[0] for process in started}
    stop.set()
    reader.join()
    assert len(answers) == 1
    assert found <= {frozenset({"manifest.json", "files/config.json", "files/pytorch_model.bin"})}
    assert len(unpacked_directories(cache)) == 1


# --- A URL ------------------------------------------------------------------------------------------------------------


def test_an_archive_at_a_url_loads_and_then_needs_no_network(
    model: Members, server: "object", no_sockets: Callable[[], None]
) -> None:
    url = server.s3("/bert/model.tar.gz", packed(model))
    loaded = registry.zoo.BertForPreTraining.from_pretrained(url)
    assert loaded.load_report.new == ()
    assert server.count() == 1
    no_sockets()
    assert registry.load(url).tokenizer.tokenize("the cat") == ["the", "cat"]
    assert registry.load(url, offline=True).config.hidden_size == 24


def test_an_archive_at_a_url_is_not_fetched_offline(server: "object") -> None:
    url = server.add("/model.tar.gz", b"")
    with pytest.raises(NotCachedError):
        registry.load(url, offline=True)
    with pytest.raises(HTTPStatusError):
        registry.load(server.url + "/other.tar.gz")
    assert server.count("/model.tar.gz") == 0


def test_a_page_in_place_of_an_archive_is_not_kept(model: Members, server: "object", reply: type) -> None:
    page = b"<!DOCTYPE html><html>Sign in to the network</html>"
    url = server.add("/model.tar.gz", reply(page), reply(packed(model)))
    with pytest.raises((CorruptArchiveError, registry.RegistryError), match="HTML"):
        registry.load(url)
    assert registry.load(url).config.hidden_size == 24


def test_a_damaged_archive_is_fetched_anew_the_next_time(toy: Members, server: "object", reply: type) -> None:
    whole = packed(toy)
    url = server.add("/model.tar.gz", reply(whole[:-9]), reply(whole))
    with pytest.raises(CorruptArchiveError):
        Files(resolve(url)).of()
    assert {name: file.read_bytes() for name, file in Files(resolve(url)).of().items()} == toy


# --- A name -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ancient(model: Members, server: "object") -> Card:
    """A card with the first files of pytorch-pretrained-bert; of its newer ones, the vocabulary is left."""
    weights, config = (
        FileSpec(role=role, filename=name, urls=(f"hub:me/ancient/{name}",))
        for role, name in (("weights", "model.safetensors"), ("config", "config.json"))
    )
    digest = sha256(model["vocab.txt"]).hexdigest()
    vocab_url = server.s3("/ancient-vocab.txt", model["vocab.txt"])
    vocab = FileSpec(role="vocab", filename="vocab.txt", urls=("hub:me/ancient/vocab.txt", vocab_url), sha256=digest)
    archived = packed({name: model[name] for name in ("bert_config.json", "pytorch_model.bin")})
    card = Card(
        name="ancient",
        architecture="bert",
        task="pretraining",
        files=(config, weights, vocab),
        archives=(
            f"{server.url}/gone.tar.gz#sha256={'0' * 64}",
            with_digest(server.s3("/ancient.tar.gz", archived), archived),
        ),
        tokenizer={"do_lower_case": True},
    )
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (card,))), "ancient-names")
    return card


def test_a_name_whose_archive_alone_is_left_loads_and_then_needs_no_network(
    ancient: Card, server: "object", monkeypatch: pytest.MonkeyPatch, no_sockets: Callable[[], None]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    assert not is_local(ancient)
    loaded = registry.load("ancient")
    assert loaded.report.new == ()
    assert loaded.config.hidden_size == 24
    assert loaded.tokenizer.tokenize("The cat") == ["the", "cat"]
    assert server.count("/ancient.tar.gz") == 1
    assert is_local(ancient)
    no_sockets()
    again = registry.load("ancient")
    assert all(bool((again.model.state_dict()[k] == v).all()) for k, v in loaded.model.state_dict().items())
    assert set(registry.verify("ancient")) == {"bert_config.json", "pytorch_model.bin", "vocab.txt"}


def test_a_name_whose_files_are_there_needs_no_archive(
    ancient: Card, model: Members, server: "object", monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    saved = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    registry.save(registry.load_model(tmp_path / "saved"), tmp_path / "safe")
    server.hub(
        "me/ancient",
        {
            "config.json": saved["config.json"],
            "model.safetensors": (tmp_path / "safe" / "model.safetensors").read_bytes(),
            "vocab.txt": model["vocab.txt"],
        },
    )
    assert registry.load("ancient").report.new == ()
    assert server.count("/ancient.tar.gz") == 0


def test_a_name_offline_tells_of_its_archive_too(ancient: Card) -> None:
    with pytest.raises(NotCachedError, match="registry pull ancient") as error:
        registry.load("ancient", offline=True)
    assert "/ancient.tar.gz" in str(error.value.details)


def test_pytorch_pretrained_berts_own_archive_is_used_where_it_lies(
    ancient: Card, model: Members, server: "object", cache: Cache, no_sockets: Callable[[], None]
) -> None:
    from pytorch_pretrained_bert.file_utils import get_from_cache

    kept = Path(get_from_cache(ancient.archives[1].partition("#")[0], str(cache.directory)))
    vocabulary = Path(get_from_cache(ancient.files[2].urls[1], str(cache.directory)))
    before = {path: path.stat().st_mtime_ns for path in (kept, vocabulary)}
    server.forget()
    no_sockets()
    assert registry.load("ancient").tokenizer.tokenize("The cat") == ["the", "cat"]
    assert server.count() == 0
    assert {path: path.stat().st_mtime_ns for path in (kept, vocabulary)} == before
    assert not (cache.home / "blobs").exists(), "nothing was copied"


def test_a_documented_name_loads_from_what_pytorch_pretrained_bert_kept_in_its_older_directory(
    model: Members, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_sockets: Callable[[], None]
) -> None:
    from pytorch_pretrained_bert.file_utils import url_to_filename

    card = registry.info("bert-base-uncased")
    archive = packed({name: model[name] for name in ("bert_config.json", "pytorch_model.bin")})
    vocabulary = next(url for file in card.files if file.role == "vocab" for url in file.urls if "amazonaws" in url)
    directory = tmp_path / "home" / ".pytorch_pretrained_bert"
    directory.mkdir(parents=True)
    for url, data in ((card.archives[0], archive), (vocabulary, model["vocab.txt"])):
        etag = f'"{md5(data).hexdigest()}"'
        path = directory / url_to_filename(url, etag)
        path.write_bytes(data)
        path.with_name(path.name + ".json").write_text(json.dumps({"url": url, "etag": etag}))
    no_sockets()
    loaded = registry.load("bert-base-uncased")
    assert loaded.report.new == ()
    assert loaded.tokenizer.tokenize("The cat") == ["the", "cat"]
    assert registry.list_models(cached=True, architecture="bert")[0] == "bert-base-uncased"


def test_a_card_that_describes_no_files_has_those_of_its_archive(model: Members, server: "object") -> None:
    archive = packed(model)
    card = bare(with_digest(server.add("/bare.tar.gz", archive), archive))
    loaded = registry.load("bare")
    assert loaded.tokenizer.tokenize("the cat") == ["the", "cat"]
    assert is_local(card)


def bare(url: str) -> Card:
    """Declare the model ``bare``, all of whose files are in an archive."""
    card = Card(name="bare", architecture="bert", task="pretraining", files=(), archives=(url,))
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (card,))), "bare-names")
    return card


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".zip"])
def test_a_card_may_have_any_kind_of_archive(suffix: str, model: Members, server: "object") -> None:
    archive = packed(model)
    if suffix == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as opened:
            for name, data in model.items():
                opened.writestr(name, data)
        archive = buffer.getvalue()
    bare(with_digest(server.add(f"/bare{suffix}", archive), archive))
    assert registry.load("bare").tokenizer.tokenize("the cat") == ["the", "cat"]
    Card(name="x", architecture="bert", task="base", files=(), archives=(f"https://example.org/x{suffix}",))


def test_an_http_archive_of_a_card_without_a_digest_is_refused_and_nothing_is_loaded(
    model: Members, server: "object"
) -> None:
    url = server.add("/bare.tar.gz", packed(model))
    with pytest.raises(ValueError, match=r"can be modified in transit.*sha256"):
        bare(url)
    with pytest.raises(registry.RegistryError):
        registry.load_model("bare")
    assert server.count() == 0


def test_an_archive_with_another_digest_than_promised_is_refused(
    model: Members, server: "object", cache: Cache
) -> None:
    bare(f"{server.add('/bare.tar.gz', packed(model))}#sha256={'0' * 64}")
    with pytest.raises(IntegrityError, match="does not match its digest"):
        registry.load_model("bare")
    assert list(cache.entries()) == []
    assert unpacked_directories(cache) == []


def test_an_archive_in_the_cache_is_compared_with_a_digest_that_is_promised_later(
    toy: Members, server: "object"
) -> None:
    archive = packed(toy)
    url = server.add("/toy.tar.gz", archive)
    assert set(Files(resolve(url)).of()) == set(toy)
    with pytest.raises(NotCachedError):
        Files(resolve(f"{url}#sha256={'0' * 64}"), Policy(offline=True)).of()
    assert set(Files(resolve(with_digest(url, archive)), Policy(offline=True)).of()) == set(toy)


def test_an_archive_is_read_as_its_directory_is_when_no_plugin_is_enabled(
    toy: Members, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy["config.json"] = b'{"model_type": "bert"}'
    (tmp_path / "model.tar.gz").write_bytes(packed(toy))
    (tmp_path / "model").mkdir()
    for name, data in toy.items():
        (tmp_path / "model" / name).write_bytes(data)
    monkeypatch.setenv("REGISTRY_PLUGINS", "")
    errors = []
    for name in ("model", "model.tar.gz"):
        registry.refresh()
        with pytest.raises(registry.RegistryError) as error:
            registry.load_config(tmp_path / name)
        errors.append((type(error.value), error.value.message.partition("config.json")[2]))
    assert errors[0] == errors[1]
    assert errors[0][0] is not CorruptArchiveError


def test_the_gzip_of_a_pickle_is_never_run(tmp_path: Path) -> None:
    evil = b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR."
    (tmp_path / "model.tar.gz").write_bytes(packed({"config.json": b"{}", "pytorch_model.bin": evil}))
    with pytest.raises(registry.RegistryError):
        registry.load(tmp_path / "model.tar.gz")
    (tmp_path / "other.tar.gz").write_bytes(gzip.compress(evil))
    with pytest.raises(CorruptArchiveError):
        registry.load(tmp_path / "other.tar.gz")
    assert not (tmp_path / "ran").exists()
