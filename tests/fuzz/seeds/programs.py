"""Well-formed files and answers of sites, servers and other programs."""

import gzip
import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from tests.fuzz.inputs import Files
from tests.fuzz.seeds.made import SIZES, as_json

import registry
from registry.download import hub

DIGEST = hashlib.sha256(b"{}").hexdigest()
HUB = "https://huggingface.co"
COMMIT = "a" * 40


def lock_files() -> list[Files]:
    """A lock file of a card, a repository and a URL."""

    def at(url: str) -> dict[str, Any]:
        return {"config.json": {"url": url, "revision": COMMIT, "size": 2, "sha256": DIGEST}}

    file = next(file for file in registry.info("gpt2").files if file.role == "config")
    of_card = {"url": hub.canonical(file.urls[0]), "size": file.size or 2, "sha256": file.sha256 or DIGEST}
    models = {
        "gpt2": {"config.json": of_card},
        "hub:o/n": at(f"{HUB}/o/n/resolve/main/config.json"),
        "https://example.org/m": {
            "config.json": {"url": "https://example.org/m/config.json", "size": 2, "sha256": DIGEST}
        },
    }
    return [{"lock.json": as_json({"schema": 1, "models": models})}]


def listings() -> list[Files]:
    """What the hub answers for a repository, and files of it that name others."""
    names = [
        "config.json",
        "model.safetensors.index.json",
        "model-1.safetensors",
        "vocab.txt",
        "modules.json",
        "1_Pooling/config.json",
        "README.md",
    ]
    files = {
        "listing": as_json(
            {"id": "o/n", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names], "gated": False}
        ),
        "config.json": as_json(SIZES),
        "model.safetensors.index.json": as_json(
            {"metadata": {"total_size": 8}, "weight_map": {"a": "model-1.safetensors"}}
        ),
        "model-1.safetensors": bytes(8),
        "modules.json": as_json(
            [
                {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            ]
        ),
        "1_Pooling/config.json": as_json({"word_embedding_dimension": 4, "pooling_mode_mean_tokens": True}),
        "vocab.txt": b"a\n",
    }
    return [files]


def answers() -> list[Files]:
    """Answers of servers, one after another to the requests for one URL."""
    body = b'{"model_type": "bert"}'
    digest = hashlib.sha256(body).hexdigest()
    head = b"HTTP/1.1 %s\r\n%s\r\n\r\n"
    length = b"Content-Length: %d" % len(body)
    whole = head % (b"200 OK", b'Content-Type: application/json\r\nETag: "%s"\r\n%s' % (digest.encode(), length)) + body
    hub = head % (
        b"302 Found",
        b'Location: /there\r\nContent-Length: 0\r\nX-Repo-Commit: %s\r\nX-Linked-Etag: "%s"\r\nX-Linked-Size: %d'
        % (COMMIT.encode(), digest.encode(), len(body)),
    )
    cut = head % (b"200 OK", b'ETag: "x"\r\n' + length) + body[:8]
    rest = (
        head
        % (
            b"206 Partial Content",
            b'ETag: "x"\r\nContent-Range: bytes 8-%d/%d\r\nContent-Length: %d'
            % (len(body) - 1, len(body), len(body) - 8),
        )
        + body[8:]
    )
    chunked = head % (b"200 OK", b"Transfer-Encoding: chunked") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    packed = gzip.compress(body, mtime=0)
    zipped = head % (b"200 OK", b"Content-Encoding: gzip\r\nContent-Length: %d" % len(packed)) + packed
    busy = head % (b"429 Too Many Requests", b"Retry-After: 1\r\nContent-Length: 0\r\nX-Error-Message: slow down")
    page = head % (b"200 OK", b"Content-Type: text/html\r\nContent-Length: 22") + b"<!DOCTYPE html><title>"
    gone = head % (b"404 Not Found", b"Content-Length: 0\r\nX-Error-Code: EntryNotFound")
    in_order = [
        *([whole], [hub, whole], [cut, rest], [chunked], [zipped], [busy, whole], [page], [gone]),
        *([hub, cut, rest], [hub, hub, whole]),
    ]
    return [{str(number): answer for number, answer in enumerate(answers, 1)} for answers in in_order]


def metadata() -> list[Files]:
    """The metadata of distributions with plugins."""
    entries = b"[console_scripts]\nx = x:main\n\n[registry.v1]\ntoy = toy.plugin\nother=a.b\n"
    return [
        {
            "toy-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n\nText.\n",
            "toy-1.0.dist-info/entry_points.txt": entries,
            "toy-2.0.dist-info/METADATA": b"Name: toy\nVersion: 2.0rc1\n",
            "toy-2.0.dist-info/entry_points.txt": entries,
        },
        {
            "Toy.egg-info/PKG-INFO": b"Name: Toy\nVersion: 1!2.0.post1.dev3+x\n",
            "Toy.egg-info/entry_points.txt": entries,
        },
    ]


CARDS = b"""
[models.our-encoder]
architecture = "bert"
task = "masked-lm"
aliases = ["ours"]
mirrors = ["https://models.example.org/our-encoder"]
languages = ["en", "de"]
license = "apache-2.0"
description = "One of ours."
source = "https://example.org"
num_parameters = 100
tokenizer = {do_lower_case = true, max_len = 512}
files = [
    {role = "config", filename = "config.json", sha256 = "%s", size = 2},
    {role = "weights", filename = "model.safetensors"},
    {role = "vocab", filename = "vocab.txt", urls = ["https://example.org/vocab.txt"]},
]

[models.packed]
architecture = "gpt2"
task = "causal-lm"
archives = ["https://example.org/m.tar.gz"]

[models.bert-base-uncased]
mirrors = ["https://models.example.org/bert-base-uncased"]
files = [{filename = "vocab.txt", sha256 = "%s"}]
""" % (DIGEST.encode(), DIGEST.encode())


def card_files() -> list[Files]:
    """A site's file of cards."""
    return [{"cards.toml": CARDS}]


def caches() -> list[Files]:
    """The records of a cache, of the hub's client and of pytorch-pretrained-bert."""
    from registry.cache.layout import CacheLayout

    layout = CacheLayout(Path("cache"))
    url = f"{HUB}/o/n/resolve/{COMMIT}/config.json"
    other, absent = "https://example.org/m/config.json", "https://example.org/m/vocab.txt"
    old = f"cache/{hashlib.sha256(other.encode()).hexdigest()}.{hashlib.sha256(b'x').hexdigest()}"
    entry = {
        "schema": 1,
        "url": url,
        "size": 2,
        "sha256": DIGEST,
        "mtime_ns": 5,
        "etag": "x",
        "revision": COMMIT,
        "source": url,
        "fetched": "2026-11-25T08:00:00+00:00",
    }
    unpacked = f"cache/.registry/v1/unpacked/{'b' * 64}"
    return [
        {
            layout.ref(url).as_posix(): as_json(entry),
            layout.blob(DIGEST).as_posix(): b"{}",
            layout.ref(absent).as_posix(): as_json({"schema": 1, "url": absent, "absent": 404}),
            layout.ref(f"{HUB}/o/n/resolve/main").as_posix(): as_json(
                {"schema": 1, "url": f"{HUB}/o/n/resolve/main", "commit": COMMIT}
            ),
            f"{unpacked}/manifest.json": as_json(
                {"schema": 1, "files": {"config.json": {"size": 2, "sha256": DIGEST}}}
            ),
            f"{unpacked}/files/config.json": b"{}",
            old: b"old",
            f"{old}.json": as_json({"url": other, "etag": '"x"'}),
            "hub/models--o--n/refs/main": COMMIT.encode(),
            f"hub/models--o--n/snapshots/{COMMIT}/config.json": b"{}",
            f"hub/models--o--n/blobs/{DIGEST}": b"{}",
        }
    ]


def texts() -> list[Files]:
    """Files of texts, as ``registry.bulk`` takes them."""
    array = io.BytesIO()
    np.save(array, np.array(["the cat", "sat", ""]))
    rows = b'{"text": "the cat", "id": 1}\n{"text": "sat", "id": 2}\n'
    return [{"a.txt": b"the cat\r\nsat\n"}, {"a.jsonl": rows}, {"a.npy": array.getvalue()}]


def names() -> list[Files]:
    """Names of models and URLs, one a line."""
    lines = [
        "bert-base-uncased", "organization/name", "hub:o/n@v1", f"{HUB}/o/n/blob/main/config.json", "pkg:dist/path/x",
        "https://user:p%40ss@example.org:8443/a/model.safetensors?sig=secret#sha256=" + "0" * 64,
        "https://[::1]:80/a.zip", "file:model", "./directory", "~/x", "http://bücher.example/a", "s3://bucket/key",
        "C:\\models\\x", "\\\\host\\share",
    ]  # fmt: skip
    return [{"names": "\n".join(lines).encode()}]
