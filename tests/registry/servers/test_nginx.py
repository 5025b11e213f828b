"""Against nginx: directories as people serve them, and the layout of the hub."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import registry
from registry.download import retries
from registry.download.fetch import Policy, fetch
from registry.errors import (
    FetchError,
    HTTPStatusError,
    MissingFileError,
    RegistryWarning,
    UnexpectedContentError,
    UnsafeURLError,
)

SLEEP = retries.sleep
"""As it is before a fixture takes its place."""


def is_complete(name: str, model: Path) -> bool:
    """Whether a name loads with the weights and the tokenizer of the model, and again without a connection."""
    expected = registry.load(model)
    for options in ({}, {"offline": True}):
        loaded = registry.load(name, **options)
        assert loaded.tokenizer.tokenize("paris is nice") == expected.tokenizer.tokenize("paris is nice")
        state = expected.model.state_dict()
        assert all(value.equal(state[key]) for key, value in loaded.model.state_dict().items())
    return True


@pytest.mark.parametrize("path", ["toy", "toy/", "weak/toy"])
def test_a_directory_loads_and_is_not_requested_again(nginx: SimpleNamespace, model: Path, path: str) -> None:
    assert is_complete(f"{nginx.url}/{path}", model)
    nginx.requests()
    registry.load(f"{nginx.url}/{path}")
    assert nginx.requests() == []


@pytest.mark.parametrize("limited", ["limited", "busy"])
def test_limits_of_rate_are_waited_out(
    nginx: SimpleNamespace, model: Path, monkeypatch: pytest.MonkeyPatch, limited: str
) -> None:
    monkeypatch.setattr(retries, "sleep", lambda seconds: SLEEP(seconds / 3))
    nginx.requests()
    assert is_complete(f"{nginx.url}/{limited}/toy", model)
    statuses = [line.split('" ')[1].split()[0] for line in nginx.requests()]
    assert {"429", "503"} & set(statuses)


def test_a_password_with_percent_codes_opens_and_follows_redirects(nginx: SimpleNamespace, model: Path) -> None:
    with pytest.raises(HTTPStatusError, match="401") as caught:
        registry.load(f"{nginx.url}/private/toy")
    assert "user:password@" in str(caught.value.hint)
    base = nginx.url.replace("//", "//m%40x:p%40ss%3Aw%2Frd@")
    assert is_complete(f"{base}/private/toy", model)
    assert fetch(f"{base}/moved/toy/config.json", Policy()).read_bytes() == (model / "config.json").read_bytes()


def test_our_own_certificates_are_needed_and_enough(
    nginx: SimpleNamespace, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FetchError, match="failed TLS certificate verification"):
        registry.load(f"{nginx.secure}/toy")
    for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(nginx.ca))
        assert fetch(f"{nginx.secure}/toy/config.json?{name}", Policy()).is_file()
        monkeypatch.delenv(name)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(nginx.ca))
    assert is_complete(f"{nginx.secure}/toy", model)
    with pytest.raises(UnsafeURLError, match="which is not encrypted"):
        fetch(f"{nginx.secure}/down/x", Policy())


def test_a_file_that_may_not_be_read_is_named(nginx: SimpleNamespace) -> None:
    with pytest.warns(RegistryWarning, match=r"403 Forbidden for vocab\.txt"):
        loaded = registry.load(f"{nginx.url}/forbidden/toy")
    assert loaded.model is not None
    with pytest.raises(MissingFileError, match=r"403 Forbidden for config\.json"):
        registry.load(f"{nginx.url}/closed/toy")


def test_a_front_page_in_place_of_missing_files_is_no_file(nginx: SimpleNamespace, model: Path) -> None:
    with pytest.warns(RegistryWarning, match="answers with a page for"):
        loaded = registry.load(f"{nginx.url}/front/toy")
    assert loaded.tokenizer.tokenize("paris is") == ["paris", "is"]
    with pytest.raises(UnexpectedContentError):
        registry.load(f"{nginx.url}/front/nothing")


def test_weights_that_come_compressed_are_refused(nginx: SimpleNamespace) -> None:
    with pytest.raises(FetchError, match=r"sent with Content-Encoding: gzip") as caught:
        registry.load(f"{nginx.url}/packed/toy")
    assert "turn compression off for model files" in str(caught.value)


def test_redirects_without_end_end(nginx: SimpleNamespace) -> None:
    nginx.requests()
    with pytest.raises(FetchError, match="redirected more than 5 times"):
        fetch(f"{nginx.url}/loop/x.bin", Policy())
    assert len(nginx.requests()) == 6


# --- The layout of the hub --------------------------------------------------------------------------------------------


def test_a_repository_loads_through_a_compressed_listing(hub: SimpleNamespace, model: Path) -> None:
    assert is_complete("me/toy", model)
    hub.requests()
    registry.load("me/toy")
    assert hub.requests() == []


def test_a_token_opens_a_gated_repository_and_goes_nowhere_else(
    hub: SimpleNamespace, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for token in (None, "hf_bad"):
        if token is not None:
            monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(HTTPStatusError, match="401") as caught:
            registry.load("me/gated")
        assert "HF_TOKEN" in str(caught.value.hint)
    monkeypatch.setenv("HF_TOKEN", "hf_good\n")
    assert is_complete("me/gated", model)


def test_content_that_is_here_is_not_fetched_from_the_other_host(hub: SimpleNamespace, model: Path) -> None:
    first = fetch(f"{hub.url}/toy/model.safetensors", Policy())
    hub.requests()
    assert fetch("hub:me/toy/model.safetensors", Policy()) == first
    assert len(hub.requests()) == 1


# --- Another program's cache ------------------------------------------------------------------------------------------


def test_what_the_hubs_client_wrote_is_used_and_stays(hub: SimpleNamespace, hf: Any, model: Path) -> None:
    hf("from huggingface_hub import snapshot_download; print(snapshot_download('me/toy'))")
    hub.requests()
    assert is_complete("me/toy", model)
    assert hub.requests() == []
    stored = hf("from huggingface_hub import scan_cache_dir; print(scan_cache_dir().size_on_disk)")
    hf(
        "from huggingface_hub import scan_cache_dir; c = scan_cache_dir(); "
        "c.delete_revisions(*[r.commit_hash for repo in c.repos for r in repo.revisions]).execute()"
    )
    hub.requests()
    assert int(stored) > 0
    assert is_complete("me/toy", model), "it is fetched again"
    assert hub.requests()
    hf("from huggingface_hub import snapshot_download; snapshot_download('me/toy')")
    assert is_complete("me/toy", model)
