"""Tokens and passwords: used where they belong, shown nowhere."""

import base64
import io
import logging
import os
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import registry
from registry.cache.cache import Cache
from registry.cli import main
from registry.download import hub
from registry.download.fetch import fetch
from registry.download.http import get
from registry.download.policy import Policy
from registry.errors import (
    CacheError,
    CardFileError,
    ConfigError,
    FetchError,
    HTTPStatusError,
    LockError,
    RegistryError,
    UnknownModelError,
)
from registry.pages.catalog import write_catalog
from registry.sources.files import Files
from registry.sources.resolve import resolve
from registry.zoo import BertConfig, BertModel

TOKEN = "hf_S3CRET"  # of nobody
FILE = "/me/toy/resolve/main/model.bin"


@pytest.fixture
def mirror(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The server, which stands for the hub."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


def everything(problem: BaseException) -> str:
    """All that an error may show: message, repr, traceback, and what a process that gets it pickled shows."""
    again = pickle.loads(pickle.dumps(problem))
    return "".join([str(problem), repr(problem), *traceback.format_exception(problem), str(again), repr(again)])


# --- The token --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [TOKEN, f"{TOKEN}\n", f" {TOKEN}\r\n"])
def test_white_space_around_a_token_is_taken_off(mirror: Any, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HF_TOKEN", value)
    mirror.add(FILE, b"weights")
    assert fetch("hub:me/toy/model.bin", Policy()).read_bytes() == b"weights"
    assert mirror.headers(FILE)[0]["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("value", [f"{TOKEN} x", f"{TOKEN}\nx", f"{TOKEN}ü", f"{TOKEN}\x7f"])
def test_a_token_that_can_be_none_is_refused_with_its_variable_and_not_shown(
    mirror: Any, monkeypatch: pytest.MonkeyPatch, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HF_TOKEN", value)
    with pytest.raises(ConfigError, match="variable HF_TOKEN does not hold a token") as caught:
        registry.load("me/toy")
    assert "S3CRET" not in everything(caught.value) + caplog.text
    assert mirror.count() == 0


def test_the_token_of_hf_auth_login_is_used_for_the_hub_only(
    mirror: Any, other_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf/token").write_text("hf_stored\n")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    mirror.add(FILE, b"weights")
    fetch("hub:me/toy/model.bin", Policy())
    fetch(other_server.add("/model.bin", b"other"), Policy())
    assert mirror.headers(FILE)[0]["Authorization"] == "Bearer hf_stored"
    assert "Authorization" not in other_server.headers("/model.bin")[0]


def test_the_places_of_a_token_have_an_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert hub.token() is None
    (tmp_path / "home/.cache/huggingface").mkdir(parents=True)
    (tmp_path / "home/.cache/huggingface/token").write_text("hf_default")
    assert hub.token() == "hf_default"
    (tmp_path / "token").write_text("hf_path")
    monkeypatch.setenv("HF_TOKEN_PATH", f"{tmp_path}/token\n")
    assert hub.token() == "hf_path"
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", "hf_older")
    assert hub.token() == "hf_older"
    monkeypatch.setenv("HF_TOKEN", "hf_newer")
    assert hub.token() == "hf_newer"


def test_a_token_file_that_is_damaged_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    (tmp_path / "token").write_text(f"{TOKEN} and more")
    with pytest.raises(ConfigError, match=str(tmp_path / "token")) as caught:
        hub.token()
    assert "S3CRET" not in everything(caught.value)
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    assert hub.token() is None


def test_a_gated_repository_says_what_to_accept_and_where_the_token_goes(mirror: Any, reply: Any) -> None:
    said = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to model me/toy is restricted."}
    mirror.add(FILE, reply(b"", 403, headers=said))
    with pytest.raises(HTTPStatusError) as caught:
        fetch("hub:me/toy/model.bin", Policy())
    assert caught.value.message.endswith("is restricted.")
    assert "https://huggingface.co/me/toy" in str(caught.value.hint)
    assert "hf auth login" in str(caught.value.hint)
    mirror.add("/api/models/me/toy/revision/main", reply(b"", 401, headers=said))
    with pytest.raises(HTTPStatusError, match="accept its terms on "):
        Files(resolve("me/toy")).of()


# --- Passwords in URLs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["unreachable", "404", "closed", "proxy", "bad proxy", "odd scheme"])
def test_a_password_is_in_no_error(
    server: Any, reply: Any, naps: list[float], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    url = f"{server.url}/x.bin".replace("//", "//me:S3CRET%21@") + "?Signature=S3CRET"
    if kind == "404":
        server.add("/x.bin", reply(b"", 404))
    elif kind == "closed":
        server.add("/x.bin", reply(raw=b""))
    elif kind == "odd scheme":
        url = url.replace("http:", "ftp:")
    else:
        url = "http://me:S3CRET%21@127.0.0.1:9/x.bin?Signature=S3CRET"
    if "proxy" in kind:
        proxy = "http://me:S3CRET@127.0.0.1:9" if kind == "proxy" else "nonsense://me:S3CRET@host"
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("http_proxy", proxy)
        url = "http://models.example/x.bin"
    with pytest.raises((FetchError, UnknownModelError)) as caught:
        fetch(url, Policy())
    assert "S3CRET" not in everything(caught.value)
    with pytest.raises((FetchError, UnknownModelError)) as caught:
        registry.load(url)
    assert "S3CRET" not in everything(caught.value)


@pytest.mark.parametrize(
    "url", ["hub:me?token=S3CRET", "me:S3CRET@host/x", "http://me:S3CRET@[::1/x", "git+ssh://a:S3CRET@b"]
)
def test_a_name_that_is_no_url_shows_no_password_either(url: str) -> None:
    for use in (registry.load, registry.resolve, registry.pull, registry.cached_path, registry.verify):
        with pytest.raises(RegistryError) as caught:
            use(url)
        assert "S3CRET" not in everything(caught.value)


def test_a_password_is_in_no_repr_and_no_file(server: Any, cache: Cache, tmp_path: Path) -> None:
    url = server.url.replace("//", "//me:S3CRET@") + "/toy"
    server.add("/toy/config.json", b'{"model_type": "bert"}')
    source = resolve(url)
    assert "S3CRET" not in repr(source) + str(source)
    assert source.url == url, "which is still what is asked"
    Files(source).of("config")
    assert "S3CRET" not in repr(get(f"{url}/config.json", {}))
    stored = b"".join(path.read_bytes() for path in cache.directory.rglob("*") if path.is_file())
    assert b"config.json" in stored
    assert b"S3CRET" not in stored
    with pytest.raises(FetchError) as caught:
        registry.load_model(url)
    assert "S3CRET" not in everything(caught.value)


def test_the_commands_show_no_password() -> None:
    for options in ([], ["--json"]):
        result = CliRunner().invoke(main, ["resolve", "https://me:S3CRET@example.org/toy?key=S3CRET", *options])
        assert result.exit_code == 0
        assert "example.org/toy" in result.output
        assert "S3CRET" not in result.output
    result = CliRunner().invoke(main, ["cache", "rm", "https://me:S3CRET@example.org/toy"])
    assert result.exit_code != 0
    assert "S3CRET" not in result.output


SECRET_NAMES = [
    "https://me:S3CRET@example.org/toy?key=S3CRET",
    "https://me:S3CRET@ex\u2100mple.org/toy",  # a letter that stands for a/c
    "ssh://me:S3CRET@example.org/toy",
    "me:S3CRET@example.org/me/toy",
    "//me:S3CRET@example.org/toy",
]


@pytest.mark.parametrize("command", ["info", "resolve", "pull"])
@pytest.mark.parametrize("name", SECRET_NAMES)
def test_no_command_shows_the_password_of_a_name_that_means_nothing(command: str, name: str) -> None:
    result = CliRunner().invoke(main, [command, name], env={"REGISTRY_OFFLINE": "1"})
    assert "S3CRET" not in result.output
    with pytest.raises((FetchError, UnknownModelError)) as caught:
        registry.load_config(name, offline=True)
    assert "S3CRET" not in everything(caught.value)


def test_what_a_server_says_of_urls_is_shown_without_their_secrets(server: Any, reply: Any) -> None:
    said = "see https://me:S3CRET@example.org/x?sig=S3CRET, or (http://example.org/y?S3CRET)"
    server.add("/x.bin", reply(b"", 404, headers={"X-Error-Message": said}))
    with pytest.raises(HTTPStatusError, match=r"see https://example\.org/x\?sig=\.\.\.") as caught:
        fetch(f"{server.url}/x.bin", Policy())
    assert "S3CRET" not in everything(caught.value)


@pytest.mark.parametrize(
    "models", ["[models.a]\nmirrors=['{url}', 3]", "[models.'{url}']\narchitecture='bert'\ntask='x'"]
)
def test_a_card_file_that_is_wrong_shows_no_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: str
) -> None:
    (tmp_path / "cards.toml").write_text(models.format(url="https://me:S3CRET@example.org/x?sig=S3CRET"))
    monkeypatch.setenv("REGISTRY_CARDS", str(tmp_path / "cards.toml"))
    with pytest.raises(CardFileError) as caught:
        registry.list_models()
    assert "S3CRET" not in everything(caught.value)


def test_the_log_of_urllib3_has_no_secrets_of_our_requests(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    server.add("/x.bin", b"x")
    with caplog.at_level(logging.DEBUG):
        fetch(f"{server.url.replace('//', '//me:S3CRET@')}/x.bin?Signature=S3CRET", Policy())
    assert "GET /x.bin?Signature=..." in caplog.text
    assert "S3CRET" not in caplog.text


def test_a_saved_directory_and_a_lock_file_hold_no_password(server: Any, tmp_path: Path, sizes: dict[str, int]) -> None:
    model = BertModel(BertConfig(**sizes))
    model.init_weights()
    for path in registry.save(model, tmp_path / "model").iterdir():
        server.add(f"/toy/{path.name}", path.read_bytes())
    url = server.url.replace("//", "//me:S3CRET@") + "/toy"
    loaded = registry.load(url)
    assert "S3CRET" not in f"{loaded.report}{loaded.report!r}{loaded!r}"
    saved = loaded.save(tmp_path / "again")
    result = CliRunner().invoke(main, ["lock", url], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "/toy/model.safetensors" in result.output
    assert not any(b"S3CRET" in path.read_bytes() for path in saved.iterdir())
    assert "S3CRET" not in result.output


# --- The endpoint -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["127.0.0.1:8", "mirror.example", "ftp://mirror.example", "https://", "http://a b"])
def test_an_endpoint_that_is_no_url_is_refused_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, server: Any, value: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", value)
    with pytest.raises(ConfigError, match="variable HF_ENDPOINT is"):
        registry.load("me/toy")
    assert fetch(server.add("/x.bin", b"x"), Policy()).read_bytes() == b"x", "other servers are not concerned"


def test_white_space_around_an_endpoint_is_taken_off(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f" {server.url}/\n")
    server.add(FILE, b"x")
    assert fetch("hub:me/toy/model.bin", Policy()).read_bytes() == b"x"


def test_a_password_in_an_endpoint_is_not_shown(server: Any, monkeypatch: pytest.MonkeyPatch, reply: Any) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url.replace("//", "//me:S3CRET@"))
    server.add("/api/models/me/toy/revision/main", b'{"unlike": "the hub"}')
    with pytest.raises(FetchError) as caught:
        Files(resolve("me/toy")).of()
    assert "S3CRET" not in everything(caught.value)
    server.add("/api/models/me/other/revision/main", reply(b"", 404))
    with pytest.raises(HTTPStatusError) as refused:
        Files(resolve("me/other")).of()
    assert "S3CRET" not in everything(refused.value)


def test_a_mirror_without_a_listing_names_the_variable_and_a_way(mirror: Any, reply: Any) -> None:
    mirror.add("/api/models/me/toy/revision/main", reply(b"", 404))
    mirror.add("/me/toy/resolve/main/config.json", b'{"model_type": "bert"}')
    with pytest.raises(HTTPStatusError, match="HF_ENDPOINT") as caught:
        registry.load_config("me/toy")
    way = str(caught.value.hint).rpartition(" ")[2]
    assert registry.load_config(way).model_type == "bert"


def test_a_mirror_under_a_path_may_pass_on_the_redirects_of_the_hub(
    server: Any, reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/art/")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    passed_on = "/api/resolve-cache/models/me/toy/0123/model.bin?etag=1"
    for name, location in (("a", passed_on), ("b", f"/art{passed_on}"), ("c", "/store/model.bin")):
        server.add(f"/art/me/{name}/resolve/main/model.bin", reply(b"", 307, location=location))
        server.add("/store/model.bin" if name == "c" else f"/art{passed_on.partition('?')[0]}", name.encode())
        assert fetch(f"hub:me/{name}/model.bin", Policy()).read_bytes() == name.encode()


def test_output_without_a_terminal_holds_no_token(mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        with pytest.raises(HTTPStatusError):
            fetch("hub:me/toy/model.bin", Policy())
    finally:
        logging.getLogger().removeHandler(handler)
        logging.getLogger().setLevel(logging.WARNING)
    assert TOKEN not in stream.getvalue()
    assert stream.getvalue()


# --- What servers want ------------------------------------------------------------------------------------------------


def test_a_password_is_sent_without_its_percent_codes_and_follows_to_the_same_server_only(
    server: Any, other_server: Any, reply: Any
) -> None:
    wanted = "Basic " + base64.b64encode("mä:p@ss:w/rd".encode()).decode()
    there, away = server.add("/there.bin", b"x"), other_server.add("/away.bin", b"y")
    server.add("/same.bin", reply(b"", 302, location=there))
    server.add("/other.bin", reply(b"", 302, location=away))
    base = server.url.replace("//", "//m%C3%A4:p%40ss%3Aw%2Frd@")
    assert fetch(f"{base}/same.bin", Policy()).read_bytes() == b"x"
    assert fetch(f"{base}/other.bin", Policy()).read_bytes() == b"y"
    for path in ("/same.bin", "/there.bin", "/other.bin"):
        assert server.headers(path)[0]["Authorization"] == wanted
    assert "Authorization" not in other_server.headers("/away.bin")[0]


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_certificates_that_are_missing_are_called_that(name: str, monkeypatch: pytest.MonkeyPatch, server: Any) -> None:
    monkeypatch.setenv(name, "/no/such.pem")
    with pytest.raises(FetchError, match=rf"{name} names '/no/such\.pem', which does not exist") as caught:
        fetch("https://127.0.0.1:9/x.bin", Policy())
    assert not isinstance(caught.value, CacheError)
    assert fetch(server.add("/x.bin", b"x"), Policy()).read_bytes() == b"x", "http: needs none"


def test_certificates_that_are_none_are_called_that(
    tls_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "bad.pem"))
    with pytest.raises(FetchError, match="TLS") as caught:
        fetch(tls_server.add("/x.bin", b"x"), Policy())
    assert not isinstance(caught.value, CacheError)


def test_the_variable_of_openssl_counts_too(tls_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", os.environ["REQUESTS_CA_BUNDLE"] + "\n")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    assert fetch(tls_server.add("/x.bin", b"x"), Policy()).read_bytes() == b"x"


# --- Cards ------------------------------------------------------------------------------------------------------------

CARD = """
[models.house]
architecture = "bert"
task = "base"
mirrors = ["https://alice:S3CRET@127.0.0.1:9/private"]
archives = ["https://alice:S3CRET@127.0.0.1:9/house.zip"]
files = [{role = "config", filename = "config.json", urls = ["https://127.0.0.1:9/config.json?sig=S3CRET&S3CRET"]}]
"""


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card whose URLs hold secrets."""
    (tmp_path / "cards.toml").write_text(CARD)
    monkeypatch.setenv("REGISTRY_CARDS", str(tmp_path / "cards.toml"))
    registry.refresh()


@pytest.mark.parametrize(
    "command",
    [
        ["pull", "house"],
        ["verify", "house"],
        ["lock", "house"],
        ["info", "house"],
        ["info", "house", "--json"],
        ["list", "house", "--json"],
        ["resolve", "house", "--json"],
        ["cache", "rm", "house"],
        ["inspect", "house"],
    ],
)
def test_no_command_shows_a_secret_of_a_card(house: None, naps: list[float], command: list[str]) -> None:
    result = CliRunner().invoke(main, command)
    assert result.output
    assert "S3CRET" not in result.output


def test_no_page_error_or_repr_shows_a_secret_of_a_card(house: None, naps: list[float], tmp_path: Path) -> None:
    card = registry.info("house")
    assert any("alice:S3CRET@" in url for url in card.files[0].urls), "which is what is fetched"
    assert "S3CRET" not in repr(card)
    for options in ({}, {"offline": True}):
        with pytest.raises(FetchError) as caught:
            registry.load("house", **options)
        assert "S3CRET" not in everything(caught.value)
    write_catalog(tmp_path / "site", [card])
    assert not any(b"S3CRET" in path.read_bytes() for path in (tmp_path / "site").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "wrong",
    [
        'mirrors = "https://me:S3CRET@a.org"',
        'archives = ["https://me:S3CRET@a.org/x"]',
        "mirrors = ['ftp://a:S3CRET@b']",
    ],
)
def test_a_card_that_is_wrong_shows_no_secret(wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = CARD.replace('mirrors = ["https://alice:S3CRET@127.0.0.1:9/private"]', "")
    text = text.replace('archives = ["https://alice:S3CRET@127.0.0.1:9/house.zip"]', wrong)
    (tmp_path / "cards.toml").write_text(text)
    monkeypatch.setenv("REGISTRY_CARDS", str(tmp_path / "cards.toml"))
    registry.refresh()
    with pytest.raises(CardFileError) as caught:
        registry.info("house")
    assert "S3CRET" not in everything(caught.value)


def test_a_report_for_a_bug_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://me:S3CRET@mirror.example")
    monkeypatch.setenv("HF_TOKEN", "hf_S3CRET")
    result = CliRunner().invoke(main, ["env"])
    assert "mirror.example" in result.output
    assert "S3CRET" not in result.output


def test_a_lock_that_differs_shows_no_secret(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.url.replace("//", "//me:S3CRET@") + "/model.bin?sig=S3CRET"
    server.add("/model.bin", b"x")
    lock = tmp_path / "registry.lock"
    lock.write_text(CliRunner().invoke(main, ["lock", url]).stdout.replace('"size": 1', '"size": 2'))
    assert "S3CRET" not in lock.read_text()
    monkeypatch.setenv("REGISTRY_LOCK", str(lock))
    with pytest.raises(LockError, match="the size of") as caught:
        Files(resolve(url)).of()
    assert "S3CRET" not in everything(caught.value)
    listed = CliRunner().invoke(main, ["cache", "list", "--json"]).stdout
    assert "model.bin" in listed
    assert "S3CRET" not in listed
