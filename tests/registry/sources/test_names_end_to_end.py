"""Every kind of name, from the name to a working model, against a server that serves as the hub and S3 do."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
from attrs import evolve
from click.testing import CliRunner

import registry
from registry import Card, FileSpec, WeightLoaderSpec, hookimpl
from registry.cache.cache import Cache
from registry.cli import main
from registry.download.fetch import cached_path
from registry.download.policy import Policy
from registry.errors import (
    FetchError,
    HTTPStatusError,
    IntegrityError,
    MissingFileError,
    NotCachedError,
    RegistryWarning,
    UnknownOptionError,
)
from registry.sources.files import Files
from registry.sources.resolve import resolve
from registry.zoo import (
    BertConfig,
    BertForPreTraining,
    BertTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    TransfoXLConfig,
    TransfoXLLMHeadModel,
)

COMMIT = "c" * 40


@pytest.fixture
def model(sizes: dict[str, int]) -> BertForPreTraining:
    torch.manual_seed(0)
    made = BertForPreTraining(BertConfig(**sizes))
    made.init_weights()
    return made.eval()


@pytest.fixture
def saved(model: BertForPreTraining, vocab_file: Path, tmp_path: Path) -> dict[str, bytes]:
    """The files of a tiny BERT, as a repository of the hub has them."""
    directory = registry.save(model, tmp_path / "saved", tokenizer=BertTokenizer(str(vocab_file), do_lower_case=True))
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "registry.json"}


@pytest.fixture
def hub(server, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The server, which now stands for the hub."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def declare(*files: FileSpec, **fields: Any) -> Card:
    values = {"name": "toy", "architecture": "bert", "task": "pretraining", **fields}
    card = Card(files=files, **values)
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (card,))), "site")
    registry.prefer("site")
    return card


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


# --- Repositories of the hub ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["me/tiny", "hub:me/tiny", "hub:me/tiny@main", f"hub:me/tiny@{COMMIT}"])
def test_a_repository_of_the_hub_loads(hub, other_server, saved, model, name: str) -> None:
    hub.hub("me/tiny", saved, commit=COMMIT, cdn=other_server)
    loaded = registry.load(name, "pretraining")
    assert same(loaded.model, model)
    assert loaded.tokenizer.tokenize("the cat") == ["the", "cat"]
    listings = [request for request in hub.requests if request.path.startswith("/api/models/")]
    assert len(listings) == 1, "one listing for each repository and revision"
    asked = {request.path for request in hub.requests if "/resolve/" in request.path}
    assert all(f"/resolve/{COMMIT}/" in path for path in asked), "all files of one commit"
    assert {path.rpartition("/")[2] for path in asked} <= set(saved), "only names that are in the listing"
    assert not [request for request in hub.requests if "HEAD" in request.method]


def test_a_repository_that_was_used_once_needs_no_server(hub, saved, model, audited) -> None:
    hub.hub("me/tiny", saved, commit=COMMIT)
    registry.load("me/tiny", "pretraining")
    hub.close()
    with audited() as events:
        assert same(registry.load("me/tiny", "pretraining").model, model)
    assert events == []


def test_a_branch_that_moves_is_followed_only_when_asked(hub, saved) -> None:
    hub.hub("me/tiny", saved, commit="a" * 40)
    first = registry.pull("me/tiny")
    changed = {**saved, "config.json": saved["config.json"].replace(b"{", b"{ ", 1)}
    hub.hub("me/tiny", changed, commit="b" * 40)
    assert registry.pull("me/tiny") == first
    with pytest.warns(RegistryWarning, match=r"config\.json"):
        second = registry.pull("me/tiny", update=True)
    assert (second / "config.json").read_bytes() == changed["config.json"]
    assert (first / "config.json").read_bytes() == saved["config.json"]


def test_a_sharded_repository_loads(hub, model, vocab_file: Path, tmp_path: Path) -> None:
    for format, count in (("safetensors", 3), ("torch", 3)):
        directory = registry.save(model, tmp_path / format, format=format, max_shard_size="40KB")
        files = {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "registry.json"}
        assert len(files) > count
        hub.hub(f"me/{format}", {**files, "notes.txt": b"not asked for"})
        assert same(registry.load_model(f"me/{format}"), model)
    assert not [request for request in hub.requests if request.path.endswith("notes.txt")]


def test_a_repository_with_only_a_bin_loads(hub, model, tmp_path: Path) -> None:
    directory = registry.save(model, tmp_path / "old", format="torch")
    hub.hub("me/old", {path.name: path.read_bytes() for path in directory.iterdir()})
    assert same(BertForPreTraining.from_pretrained("me/old"), model)


WRITERS = (
    GPT2LMHeadModel(GPT2Config(vocab_size=100, n_embd=32, n_layer=2, n_head=4)),
    OpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=100, n_embd=32, n_layer=2, n_head=4)),
    TransfoXLLMHeadModel(
        TransfoXLConfig(
            vocab_size=100,
            cutoffs=(40, 70),
            d_model=16,
            d_embed=16,
            n_head=2,
            d_head=8,
            d_inner=24,
            n_layer=2,
            div_val=2,
        )
    ),
)


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.config.architecture)
def test_a_repository_of_another_architecture_loads(hub, tmp_path: Path, writer) -> None:
    torch.manual_seed(0)
    writer.init_weights()
    directory = registry.save(writer, tmp_path / "writer")
    hub.hub("me/writer", {path.name: path.read_bytes() for path in directory.iterdir()})
    assert same(registry.load_model("hub:me/writer"), writer)


def test_a_repository_that_does_not_exist_is_told_with_the_reason(hub) -> None:
    with pytest.raises(HTTPStatusError, match="check the spelling") as error:
        registry.load("me/no-such")
    assert error.value.status == 401


def test_the_hubs_digest_is_held_against_the_bytes(hub, saved, tmp_path) -> None:
    hub.hub("me/tiny", saved)
    weights = f"/cdn/{sha(saved['model.safetensors'])}"
    hub.add(weights, bytes(len(saved["model.safetensors"])))
    with pytest.raises(IntegrityError, match="does not match its digest"):
        registry.load("me/tiny")
    small = f"/api/resolve-cache/models/me/tiny/{'a' * 40}/config.json"
    hub.add(small, saved["config.json"][::-1], etag=None, headers=hub.replies[small][0].headers)
    with pytest.raises(IntegrityError):
        cached_path("hub:me/tiny/config.json", tmp_path / "empty")


# --- Cards ------------------------------------------------------------------------------------------------------------


UNPINNED = "bert-base-german-cased"
"""A documented name of which neither a revision nor a digest is known."""


def test_a_documented_name_loads_from_the_hub(hub, saved, model) -> None:
    hub.hub(f"google-bert/{UNPINNED}", saved, commit=COMMIT)
    loaded = registry.load(UNPINNED)
    assert same(loaded.model, model)
    assert loaded.card is not None
    entry = Cache.at().entry(f"https://huggingface.co/google-bert/{UNPINNED}/resolve/main/config.json")
    assert entry is not None
    assert entry.revision == COMMIT


def test_a_card_can_be_had_at_a_revision(hub, saved, model) -> None:
    hub.hub("google-bert/bert-base-uncased", saved, branch="v1")
    assert same(registry.load("bert-base-uncased", revision="v1").model, model)
    assert set(registry.verify("bert-base-uncased", revision="v1").values()) == {"ok"}, "the card's are of another one"
    with pytest.raises(FetchError, match=r"Wanted: config\.json, model\.safetensors"):
        registry.load("bert-base-uncased")


def pinned(name: str) -> str:
    """The commit of the hub at which a documented name is."""
    return registry.info(name).files[0].urls[0].partition("@")[2].partition("/")[0]


def test_other_bytes_than_those_of_a_documented_name_are_refused(hub, saved) -> None:
    hub.hub("google-bert/bert-base-uncased", saved, commit=pinned("bert-base-uncased"))
    with pytest.raises(IntegrityError, match=r"config\.json[\s\S]*(the expected 570|does not match its digest)"):
        registry.load("bert-base-uncased")
    assert not list(Cache.at().entries()), "nothing of it is kept"
    assert all(pinned("bert-base-uncased") in request.path for request in hub.requests), "this commit and no branch"


def digested(name: str, files: dict[str, bytes], older: dict[str, bytes], s3: Any) -> Card:
    """A documented card with the sizes and digests of these files, and with older editions on another server."""
    card = registry.info(name)
    of_hub = [
        evolve(file, size=len(files[file.filename]), sha256=sha(files[file.filename]))
        for file in card.files
        if file.filename in files and file.urls[0].startswith("hub:")
    ]
    elsewhere = [
        FileSpec(role=file.role, filename=file.filename, urls=(s3.s3(f"/{file.filename}", data),), sha256=sha(data))
        for file in of_hub
        for data in [older[file.filename]]
    ]
    made = evolve(card, files=(*of_hub, *elsewhere), archives=())
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (made,))), "site")
    registry.prefer("site")
    return made


def test_the_bytes_of_a_documented_name_load_are_verified_and_then_need_no_server(
    hub, other_server, saved, model, audited, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.hub("google-bert/bert-base-uncased", saved, commit=pinned("bert-base-uncased"))
    digested("bert-base-uncased", saved, saved, other_server)
    assert same(registry.load("bert-base-uncased").model, model)
    with audited() as events:
        assert same(registry.load("bert-base-uncased", offline=True).model, model)
        assert set(registry.verify("bert-base-uncased").values()) == {"ok"}
    assert (events, other_server.requests) == ([], [])
    (tmp_path / "lock").write_text(CliRunner().invoke(main, ["lock", "bert-base-uncased"]).stdout)
    monkeypatch.setenv("REGISTRY_LOCK", str(tmp_path / "lock"))
    assert same(registry.load("bert-base-uncased").model, model)


def test_another_edition_of_a_file_loads_where_the_hub_is_out_of_reach(
    hub, other_server, saved, model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older files of S3 differ from the hub's: the digests of the hub's are not held against them."""
    older = {**saved, "config.json": saved["config.json"].replace(b"{", b"{ ", 1)}
    digested("bert-base-uncased", saved, older, other_server)
    assert same(registry.load("bert-base-uncased").model, model)
    assert Files(resolve("bert-base-uncased")).of()["config.json"].read_bytes() == older["config.json"]
    assert set(registry.verify("bert-base-uncased").values()) == {"ok"}
    (tmp_path / "lock").write_text(CliRunner().invoke(main, ["lock", "bert-base-uncased"]).stdout)
    monkeypatch.setenv("REGISTRY_LOCK", str(tmp_path / "lock"))
    assert same(registry.load("bert-base-uncased").model, model)


def on_s3(server, files: dict[str, bytes], names: dict[str, str]) -> dict[str, str]:
    return {name: server.s3(f"/models.huggingface.co/bert/{there}", files[name]) for name, there in names.items()}


def test_urls_are_tried_in_order_and_s3_after_the_hub(hub, other_server, saved, model, tmp_path: Path) -> None:
    directory = registry.save(model, tmp_path / "torch", format="torch")
    files = {**saved, "pytorch_model.bin": (directory / "pytorch_model.bin").read_bytes()}
    published = {
        "config.json": "toy-config.json",
        "vocab.txt": "toy-vocab.txt",
        "pytorch_model.bin": "toy-pytorch_model.bin",
    }
    urls = on_s3(other_server, files, published)
    hub.hub("me/toy", {"README.md": b"no model here"})
    specs = [
        FileSpec(role=role, filename=name, urls=(f"hub:me/toy/{name}", urls[name]), sha256=sha(files[name]))
        for role, name in (("config", "config.json"), ("weights", "pytorch_model.bin"), ("vocab", "vocab.txt"))
    ]
    safe = FileSpec(role="weights", filename="model.safetensors", urls=("hub:me/toy/model.safetensors",))
    declare(specs[0], safe, *specs[1:])
    assert same(registry.load("toy").model, model)
    order = [request.path.rpartition("/")[2] for request in (*hub.requests, *other_server.requests)]
    assert order == [
        *("config.json", "model.safetensors", "pytorch_model.bin", "vocab.txt"),
        *("toy-config.json", "toy-pytorch_model.bin", "toy-vocab.txt"),
    ]
    hub.forget()
    other_server.forget()
    assert same(registry.load("toy").model, model)
    assert not hub.requests + other_server.requests, "what is here goes before what would be preferred"


def test_a_mirror_that_lies_is_passed_by(hub, other_server, saved) -> None:
    config = saved["config.json"]
    hub.hub("me/toy", {"config.json": b'{"lies": 1}'})
    good = other_server.add("/config.json", config)
    declare(FileSpec(role="config", filename="config.json", urls=("hub:me/toy/config.json", good), sha256=sha(config)))
    assert Files(resolve("toy")).of()["config.json"].read_bytes() == config
    other_server.add("/config.json", b"lies, too")
    with pytest.raises(IntegrityError, match=r"does not match its digest[\s\S]*Wanted: files of model 'toy'"):
        Files(resolve("toy"), Policy(update=True)).of()


def test_files_that_nobody_has_are_told_with_every_answer(hub, other_server) -> None:
    dead = other_server.url
    other_server.close()
    urls = ("hub:me/toy/config.json", f"{dead}/config.json")
    declare(FileSpec(role="config", filename="config.json", urls=urls, sha256="0" * 64))
    with pytest.raises(NotCachedError) as error:
        Files(resolve("toy")).of()
    assert "answers 401" in str(error.value)
    assert "cannot be reached" in str(error.value)


# --- Other URLs -------------------------------------------------------------------------------------------------------


def test_a_directory_on_the_web_loads_and_is_asked_once(server, saved, model, audited) -> None:
    for name, body in saved.items():
        server.add(f"/models/tiny/{name}", body)
    loaded = registry.load(f"{server.url}/models/tiny", "pretraining")
    assert same(loaded.model, model)
    server.forget()
    with audited() as events:
        assert same(registry.load(f"{server.url}/models/tiny/", "pretraining").model, model)
    assert (events, server.requests) == ([], [])


def test_a_directory_on_the_web_without_a_model_is_told_and_not_remembered(server, saved) -> None:
    with pytest.raises(MissingFileError, match="holds no configuration"):
        registry.load(f"{server.url}/models/tiny")
    for name, body in saved.items():
        server.add(f"/models/tiny/{name}", body)
    assert registry.load(f"{server.url}/models/tiny").config.vocab_size


def test_a_file_on_the_web_is_that_file(server, saved) -> None:
    url = server.add("/model.safetensors", saved["model.safetensors"])
    assert list(Files(resolve(url)).of()) == ["model.safetensors"]
    assert cached_path(url).read_bytes() == saved["model.safetensors"]
    with pytest.raises(MissingFileError):
        cached_path("no-such-file.bin")
    assert cached_path(__file__) == Path(__file__)


# --- Weights in a format of a plugin ----------------------------------------------------------------------------------


class Sealed:
    """A plugin that reads BERT's weights behind a seal of six bytes."""

    @hookimpl
    def registry_weight_loaders(self) -> list[WeightLoaderSpec]:
        names = {"detect": f"{__name__}:is_sealed", "loader": f"{__name__}:unsealed"}
        return [WeightLoaderSpec(architecture="bert", format="sealed", filenames=("model.sealed",), **names)]


def is_sealed(paths: Any) -> bool:
    return "model.sealed" in paths


def unsealed(paths: Any) -> Any:
    return safetensors.torch.load(paths["model.sealed"].read_bytes().removeprefix(b"sealed"))


@pytest.fixture
def sealed(saved) -> dict[str, bytes]:
    """The files of a tiny BERT whose weights only a plugin reads."""
    rest = {name: body for name, body in saved.items() if name != "model.safetensors"}
    return {**rest, "model.sealed": b"sealed" + saved["model.safetensors"], "notes.sealed": b"other"}


def test_a_plugins_format_is_fetched_by_its_filenames_from_the_hub(hub, other_server, sealed, model, audited) -> None:
    hub.hub("me/sealed", sealed, commit=COMMIT, cdn=other_server)
    with pytest.raises(MissingFileError, match=r"No weights that can be read are among the files"):
        registry.load("me/sealed", "pretraining")
    registry.register(Sealed(), "sealed")
    assert same(registry.load("me/sealed", "pretraining").model, model)
    assert not [request.path for request in hub.requests if request.path.endswith("notes.sealed")]
    with audited() as events:
        assert same(registry.load("me/sealed", "pretraining", offline=True).model, model)
    assert events == []


def test_a_plugins_format_is_fetched_by_its_filenames_from_a_directory_on_the_web(server, sealed, model) -> None:
    registry.register(Sealed(), "sealed")
    for name, body in sealed.items():
        server.add(f"/models/tiny/{name}", body)
    assert same(registry.load(f"{server.url}/models/tiny", "pretraining").model, model)


def test_weights_in_a_format_of_the_core_go_before_those_of_a_plugin(hub, other_server, sealed, saved, model) -> None:
    registry.register(Sealed(), "sealed")
    hub.hub("me/both", {**saved, **sealed}, commit=COMMIT, cdn=other_server)
    assert same(registry.load("me/both", "pretraining").model, model)
    assert not [request.path for request in hub.requests if request.path.endswith(".sealed")]


# --- pull -------------------------------------------------------------------------------------------------------------


def test_what_was_pulled_is_a_directory_that_loads(hub, saved, model) -> None:
    hub.hub("me/tiny", saved)
    directory = registry.pull("me/tiny")
    assert {path.name for path in directory.iterdir()} == set(saved)
    assert same(registry.load(directory, "pretraining").model, model)
    weights = directory / "model.safetensors"
    assert weights.stat().st_ino == Cache.at().blob(sha(weights.read_bytes())).stat().st_ino, "it takes no room"


def test_a_pulled_directory_keeps_the_options_of_its_card(hub, saved) -> None:
    files = {name: body for name, body in saved.items() if name != "tokenizer_config.json"}
    hub.hub(f"google-bert/{UNPINNED}", files)
    tokenizer = registry.load_tokenizer(registry.pull(UNPINNED))
    assert tokenizer.tokenize("Paris") == ["Paris"]
    assert tokenizer.max_len == 512


def test_options_of_a_card_are_written_under_their_published_keys(hub, saved) -> None:
    hub.hub("me/toy", {"vocab.txt": saved["vocab.txt"]})
    options = {"do_lower_case": True, "max_len": 99, "additional_special_tokens": ["[HOUSE]"]}
    declare(FileSpec(role="vocab", filename="vocab.txt", urls=("hub:me/toy/vocab.txt",)), tokenizer=options)
    assert json.loads((registry.pull("toy") / "tokenizer_config.json").read_text()) == {
        "do_lower_case": True,
        "model_max_length": 99,
        "extra_special_tokens": ["[HOUSE]"],
    }


def test_a_model_is_pulled_and_verified_in_the_cache_in_which_it_is_loaded(hub, saved, model, tmp_path: Path) -> None:
    hub.hub("me/tiny", saved, branch="v1")
    mine = {"cache_dir": tmp_path / "mine", "revision": "v1"}
    directory = registry.pull("hub:me/tiny", progress=False, **mine)
    assert directory.is_relative_to(tmp_path / "mine")
    hub.close()
    assert registry.pull("hub:me/tiny", offline=True, **mine) == directory
    assert same(registry.load("hub:me/tiny", "pretraining", offline=True, **mine).model, model)
    assert set(registry.verify("hub:me/tiny", **mine).values()) == {"ok"}
    assert not Cache.at().directory.exists(), "the other cache was not touched"
    with pytest.raises(NotCachedError):
        registry.pull("hub:me/tiny", offline=True, revision="v1")


def test_one_file_is_fetched_as_every_door_fetches(hub, saved, tmp_path: Path) -> None:
    hub.hub("me/tiny", saved, commit="a" * 40)
    hub.hub("me/tiny", {"config.json": b"{}"}, commit="b" * 40, branch="v1")
    path = cached_path("hub:me/tiny/config.json", tmp_path / "mine", revision="v1", progress=False)
    assert path.read_bytes() == b"{}"
    assert path.is_relative_to(tmp_path / "mine")
    assert cached_path("hub:me/tiny/config.json").read_bytes() == saved["config.json"]
    with pytest.raises(NotCachedError):
        cached_path("hub:me/tiny/vocab.txt", offline=True)
    with pytest.raises(UnknownOptionError, match="has no revisions"):
        cached_path("https://user:secret@example.org/x", revision="v1")


@pytest.mark.filterwarnings("default")  # the command prints them
def test_an_update_says_what_changed_and_reads_no_body_of_what_did_not(hub, other_server, saved) -> None:
    hub.hub(f"google-bert/{UNPINNED}", saved, cdn=other_server)
    run = lambda *more: CliRunner().invoke(main, ["pull", UNPINNED, *more])  # noqa: E731
    first = json.loads(run("--json").output)
    assert set(first["files"].values()) == {"fetched"}
    assert set(json.loads(run("--json").output)["files"].values()) == {"unchanged"}
    other_server.forget()
    assert set(json.loads(run("--update", "--json").output)["files"].values()) == {"unchanged"}
    assert not other_server.sent.total(), "the digest on the hub's first answer says that nothing changed"
    changed = {**saved, "vocab.txt": saved["vocab.txt"].replace(b"Paris", b"Praha")}
    hub.hub(f"google-bert/{UNPINNED}", changed, commit="b" * 40, cdn=other_server)
    result = run("--update")
    assert result.exit_code == 0
    assert "vocab.txt          changed" in result.stdout
    assert "config.json        unchanged" in result.stdout
    assert result.stderr.count("warning:") == 1
    assert "vocab.txt changed" in result.stderr
    directory = Path(result.stdout.splitlines()[-1])
    assert (directory / "vocab.txt").read_bytes() == changed["vocab.txt"]


# --- Sentence-transformers --------------------------------------------------------------------------------------------


def test_modules_of_a_repository_are_fetched_with_it_and_used_offline(
    hub: Any, saved: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    listing = json.dumps([{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in modules])
    pooling = json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False})
    hub.hub("org/st", {**saved, "modules.json": listing.encode(), "1_Pooling/config.json": pooling.encode()})
    directory = registry.pull("org/st")
    assert (directory / "1_Pooling" / "config.json").read_text() == pooling
    monkeypatch.setenv("REGISTRY_OFFLINE", "1")
    for name in ("org/st", directory):
        loaded = registry.load(name, "base")
        assert loaded.sentence_modules is not None
        assert (loaded.sentence_modules.pooling, loaded.sentence_modules.normalizes) == (("cls",), True)
        hidden = loaded.model(**loaded.tokenizer(["a"], return_tensors="pt")).last_hidden_state[0, 0]
        torch.testing.assert_close(loaded.embed(["a"])[0], hidden / hidden.norm())
