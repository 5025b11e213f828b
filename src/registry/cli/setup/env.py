"""``registry env``."""

import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata

import click

import registry
from registry._version import __version__
from registry.cli.output import json_option, print_fields, print_json
from registry.download.advice import OFFLINE
from registry.errors import RegistryError
from registry.files.urls import without_secrets

PACKAGES = (
    *("torch", "numpy", "safetensors", "pluggy", "attrs", "regex", "sentencepiece", "requests", "filelock"),
    *("transformers", "tokenizers", "ftfy", "spacy"),
)
"""Distributions whose versions may explain a bug."""

SETTINGS = ("REGISTRY_", "PYTORCH_PRETRAINED_BERT_", "TORCH_HOME", "ENV_TORCH_HOME", "XDG_CACHE_HOME", "HF_", "CUDA_")
"""Prefixes of environment variables that matter."""

PROXIES = (
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
)
"""Variables that decide how servers are reached."""

CACHE = ("PYTORCH_PRETRAINED_BERT_CACHE", "TORCH_HOME", "ENV_TORCH_HOME", "XDG_CACHE_HOME", "ENV_XDG_CACHE_HOME")
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")

SECRET = ("TOKEN", "KEY", "SECRET", "PASSWORD")


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Print versions, settings and plugins, for a bug report.

    Each setting is shown with the variable that it comes from.  Values of secrets are not printed.
    """
    (print_json if as_json else print_fields)(environment())


def environment() -> Mapping[str, str | None]:
    """The details of this computer that may explain a bug, in the order of the report."""
    from registry.cache.directories import cache_directory

    return {
        "registry": __version__,
        "installed in": os.path.dirname(os.path.dirname(registry.__file__)),  # noqa: PTH120  # only printed
        "python": f"{platform.python_version()} ({platform.python_implementation()}, {sys.executable})",
        "platform": f"{platform.platform()}, {os.cpu_count()} CPUs",
        **{name: _version(name) for name in PACKAGES},
        "cache": f"{cache_directory()} (from {_first_set(CACHE) or 'the default'})",
        "hub": _hub(),
        "token": _token(),
        "downloads": f"forbidden by {found}" if (found := _first_set(OFFLINE)) else "allowed",
        **{name: _shown(name) for name in sorted(os.environ) if name.startswith(SETTINGS) or name.upper() in PROXIES},
        "plugins": _plugins(),
    }


def _first_set(names: tuple[str, ...]) -> str | None:
    """The first of these variables that decides something."""
    from registry.files.environment import variable

    return next((name for name in names if variable(name) not in (None, "0", "off", "no", "false")), None)


def _hub() -> str:
    from registry.download import hub

    try:
        return f"{without_secrets(hub.endpoint())} (from {_first_set(('HF_ENDPOINT',)) or 'the default'})"
    except RegistryError as problem:
        return problem.message


def _token() -> str:
    """Where the token of the hub is; never the token."""
    from registry.download import hub

    try:
        found = hub.token()
    except RegistryError as problem:
        return problem.message
    return "none" if found is None else f"from {_first_set(TOKENS) or hub.token_path()} (not shown)"


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except Exception:  # noqa: BLE001  # not installed, or damaged metadata
        return "not installed"


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
