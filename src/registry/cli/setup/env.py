"""``registry env``."""

import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata

import click

from registry._version import __version__
from registry.cli.output import json_option, print_fields, print_json
from registry.files.urls import without_secrets

PACKAGES = (
    *("torch", "safetensors", "pluggy", "attrs", "regex", "sentencepiece", "requests", "filelock"),
    *("transformers", "tokenizers", "numpy", "ftfy", "spacy"),
)
"""Distributions whose versions may explain a bug."""

SETTINGS = ("REGISTRY_", "PYTORCH_PRETRAINED_BERT_", "TORCH_HOME", "ENV_TORCH_HOME", "XDG_CACHE_HOME", "HF_", "CUDA_")
"""Prefixes of environment variables that matter."""

SECRET = ("TOKEN", "KEY", "SECRET", "PASSWORD")


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Print the details for a bug report: versions, settings and plugins.

    Only the registry and its plugins are imported; values of secrets are not printed.
    """
    (print_json if as_json else print_fields)(environment())


def environment() -> Mapping[str, str | None]:
    """The details of this computer that may explain a bug, in the order of the report."""
    from registry.cache.directories import cache_directory

    return {
        "registry": __version__,
        "installed in": os.path.dirname(os.path.dirname(__file__)),  # noqa: PTH120  # only printed
        "python": f"{platform.python_version()} ({platform.python_implementation()}, {sys.executable})",
        "platform": platform.platform(),
        **{name: _version(name) for name in PACKAGES},
        "cache": str(cache_directory()),
        **{name: _shown(name) for name in sorted(os.environ) if name.startswith(SETTINGS)},
        "plugins": _plugins(),
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except Exception:  # noqa: BLE001  # not installed, or damaged metadata
        return None


def _shown(setting: str) -> str:
    if any(word in setting for word in SECRET):
        return "(set, not shown)"
    return without_secrets(os.environ[setting]) or "(empty)"


def _plugins() -> str:
    from registry.catalog import plugins

    def described(name: str, origin: str, state: str) -> str:
        return f"{name} ({origin})" if state == "loaded" else f"{name} ({origin}, {state})"

    return ", ".join(
        described(plugin.name, f"{plugin.distribution} {plugin.version}", plugin.state) for plugin in plugins()
    )
