"""Fixtures of every test."""

from pathlib import Path

import pytest

pytest_plugins = ["registry.testing.plugin"]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep every test away from this machine's caches, and the reference away from the hub."""
    monkeypatch.setenv("PYTORCH_PRETRAINED_BERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("REGISTRY_OFFLINE", "1")
