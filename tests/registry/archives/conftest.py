"""Tests of this directory may use the network of this machine."""

import pytest


@pytest.fixture(autouse=True)
def _loopback(loopback: None) -> None:
    """Loopback may be used, without proxies."""
