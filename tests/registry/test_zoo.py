from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

import registry
from registry import ConfigSpec, ModelSpec, TokenizerSpec, discovery, hookimpl, zoo
from registry.errors import PluginConflictError

Install = Callable[..., Path]


def classes(module: str) -> SimpleNamespace:
    """A plugin that declares three classes of a module."""
    return SimpleNamespace(
        registry_configs=hookimpl(lambda: [ConfigSpec(architecture="toy", cls=f"{module}:Fraction", model_types=())]),
        registry_models=hookimpl(lambda: [ModelSpec(architecture="toy", task="base", cls=f"{module}:math")]),
        registry_tokenizers=hookimpl(lambda: [TokenizerSpec(architecture="toy", cls=f"{module}:Decimal", files={})]),
    )


def test_declared_classes_are_imported_by_name() -> None:
    registry.register(classes("fractions"), "toys")
    import decimal
    import fractions
    import math

    from registry.zoo import Decimal, Fraction
    from registry.zoo import math as model

    assert (Fraction, Decimal, model) == (fractions.Fraction, decimal.Decimal, math)
    assert {"Fraction", "Decimal", "math"} <= set(dir(zoo))
    assert registry.zoo is zoo
    every: dict[str, object] = {}
    exec("from registry.zoo import *", every)
    assert {name for name in every if name != "__builtins__"} == set(dir(zoo))


def test_first_party_classes_are_found_without_importing_third_parties(install: Install) -> None:
    install("toy-dist", "raise SystemExit")
    assert zoo.BertConfig.__name__ == "BertConfig"


def test_a_name_that_no_plugin_declares_is_answered_with_suggestions() -> None:
    assert not hasattr(zoo, "__wrapped__")
    assert not hasattr(zoo, "Nothing")
    with pytest.raises(AttributeError, match=r"declares a class 'BertConfg'. Did you mean 'BertConfig'"):
        zoo.BertConfg  # noqa: B018
    with pytest.raises(ImportError, match="BertConfg"):
        from registry.zoo import BertConfg  # noqa: F401


def test_two_third_parties_with_one_class_name_are_an_error_when_it_is_used() -> None:
    registry.register(classes("fractions"), "toys")
    registry.register(classes("_pydecimal"), "games")
    assert "Decimal" in dir(zoo)
    for use in (lambda: zoo.Decimal, lambda: exec("from registry.zoo import Decimal")):
        with pytest.raises(PluginConflictError, match=r"'toys'.*'games'"):
            use()
    discovery.prefer("games")
    assert zoo.Decimal is import_module("_pydecimal").Decimal
