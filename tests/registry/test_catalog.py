import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import registry
from registry import Card, FileSpec, LayerSpec, hookimpl
from registry.errors import PluginLoadError, UnknownLayerError, UnknownModelError

Install = Callable[..., Path]

CARDS = (
    Card(name="toy-small", architecture="toy", task="base", files=(), languages=("en",), aliases=("me/Smallest",)),
    Card(name="toy-large", architecture="toy", task="masked-lm", files=(), languages=("de", "en")),
    Card(name="other", architecture="other", task="base", files=()),
)

LAYERS = (
    LayerSpec(architecture="toy", name="pooler", cls="fractions:Fraction", summary="Divides."),
    LayerSpec(architecture="toy", name="broken", cls="fractions:Nothing", summary="Does nothing."),
    LayerSpec(architecture="other", name="pooler", cls="decimal:Decimal", summary="Counts."),
)


@pytest.fixture(autouse=True)
def _toys() -> None:
    toys = SimpleNamespace(registry_cards=hookimpl(lambda: CARDS), registry_layers=hookimpl(lambda: LAYERS))
    registry.register(toys, "toys")


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, ["toy-small", "toy-large", "other"]),
        ({"pattern": "toy-*"}, ["toy-small", "toy-large"]),
        ({"pattern": "*-l?rge"}, ["toy-large"]),
        ({"pattern": "arg"}, ["toy-large"]),
        ({"pattern": "TOY-SMALL"}, ["toy-small"]),
        ({"pattern": "me/*"}, ["toy-small"]),
        ({"pattern": "toy-[!s]*"}, ["toy-large"]),
        ({"pattern": "nothing"}, []),
        ({"architecture": "other"}, ["other"]),
        ({"task": "base"}, ["toy-small", "other"]),
        ({"language": "de"}, ["toy-large"]),
        ({"language": "en", "task": "base"}, ["toy-small"]),
        ({"cached": True}, []),
        ({"cached": False, "architecture": "other"}, ["other"]),
    ],
)
def test_models_are_listed_by_what_is_asked(conditions: dict[str, object], expected: list[str]) -> None:
    with registry.only("toys"):
        assert registry.list_models(**conditions) == expected


def test_a_model_whose_files_are_all_here_is_cached(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    file = FileSpec(role="config", filename="config.json", urls=((tmp_path / "config.json").as_uri(),))
    here = Card(name="here", architecture="toy", task="base", files=(file,))
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (here,))), "local")
    assert "here" in registry.list_models(cached=True)
    assert "here" not in registry.list_models(cached=False)


def test_info_gives_the_card() -> None:
    assert registry.info("toy-small") is CARDS[0]
    assert registry.info("me/Smallest") is CARDS[0]
    for name in ("toy-smal", "./", "hub:org/name"):
        with pytest.raises(UnknownModelError):
            registry.info(name)


def test_layers_are_listed() -> None:
    assert registry.list_layers("toy") == list(LAYERS[:2])
    assert set(LAYERS) <= set(registry.list_layers())
    assert registry.list_layers("nothing") == []


def test_a_layer_is_a_class() -> None:
    from fractions import Fraction

    assert registry.layer("toy", "pooler") is Fraction


def test_an_unknown_layer_is_answered_with_suggestions() -> None:
    with pytest.raises(
        UnknownLayerError, match=r"'toy' has no layer named 'poler'. Did you mean 'pooler'\?\nIts layers"
    ):
        registry.layer("toy", "poler")
    with pytest.raises(UnknownLayerError, match=r"declares layers of 'toi'. Did you mean 'toy'\?"):
        registry.layer("toi", "pooler")
    with pytest.raises(PluginLoadError, match="fractions:Nothing of the plugin toys failed: AttributeError"):
        registry.layer("toy", "broken")


def test_listing_imports_no_architecture(install: Install) -> None:
    install(
        "lazy-dist",
        "from registry import Card, ModelSpec, hookimpl\n@hookimpl\ndef registry_cards():\n"
        " yield Card(name='lazy', architecture='lazy', task='base', files=())\n@hookimpl\ndef registry_models():\n"
        " yield ModelSpec(architecture='lazy', task='base', cls='lazy_modeling:Lazy')\n",
        plugin="lazy",
    )
    assert "lazy" in registry.list_models()
    assert registry.info("lazy").architecture == "lazy"
    assert "lazy_modeling" not in sys.modules
