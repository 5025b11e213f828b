"""What an update costs when a commit of a hub repository changed only its README."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from tests.registry.server import Server

from registry.sources.pull import pull_files

MOST = 20_000
"""Bytes."""
HEADERS = 1000
"""Bytes of the headers of an answer, at most."""
SHARD = 3_000_000
"""Bytes of each file of weights, of which there are three."""


def report(directory: Path, kills: int, seconds: float, seed: int) -> Iterator[str]:
    """Print the bytes and requests of an update; yields what must not be."""
    shards = {f"model-0000{number}-of-00003.safetensors": bytes([number]) * SHARD for number in (1, 2, 3)}
    model = {
        "config.json": b'{"model_type": "bert"}',
        "vocab.txt": b"[UNK]\n",
        "model.safetensors.index.json": json.dumps({"weight_map": {name: name for name in shards}}).encode(),
        **shards,
    }
    server = Server()
    with patch.dict(os.environ, {"HF_ENDPOINT": server.url}):
        for commit in "ab":
            server.forget()
            server.hub("me/toy", {**model, "README.md": commit.encode()}, commit=commit * 40)
            update = commit == "b"
            states = pull_files("me/toy", update=update, cache_dir=directory, offline=False, progress=False).files
    received = sum(server.sent.values()) + HEADERS * server.count()
    print(f"A commit that changes only README.md, weights of {3 * SHARD:,} bytes: {received:,} bytes received in "
          f"{server.count()} answers, headers included")  # fmt: skip
    server.close()
    if received > MOST or set(states.values()) != {"unchanged"}:
        yield f"update: {received:,} bytes, {states}"
