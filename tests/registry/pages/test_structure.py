"""The structure of a model, against the model itself."""

from typing import Any

import pytest
from torch import nn

import registry
from registry.catalog import search
from registry.errors import RegistryWarning
from registry.loading.meta import build
from registry.pages.structure import ModuleNode, module_tree, structure


def leaves(part: ModuleNode, path: str = "") -> list[tuple[str, ModuleNode]]:
    """Modules that own parameters, by their path; the first of several equal ones stands for all."""
    path = f"{path}.{part.name}".strip(".")
    below = [leaf for inner in part.children for leaf in leaves(inner, path)]
    return ([(path, part)] if part.shapes else []) + below


def test_the_modules_of_every_known_model_add_up_to_its_parameters() -> None:
    for card in search():
        found = structure(card)
        assert found is not None, card.name
        assert found.root.parameters == card.num_parameters, card.name
        assert found.exact, card.name
        assert sum(part.parameters for part in found.sections) == card.num_parameters, card.name


def test_names_are_those_of_the_weights() -> None:
    found = structure(registry.info("bert-base-uncased"))
    assert found is not None
    model = build(lambda: registry.zoo.BertForPreTraining(registry.zoo.BertConfig()))
    names = {name.replace(".layer.0.", ".layer.") for name in model.state_dict()}
    drawn = {f"{path}.{shape.split()[0]}" for path, part in leaves(found.root) for shape in part.shapes}
    assert drawn <= names
    assert {
        name for name in names if ".layer.1" not in name and not any(f".layer.{i}." in name for i in range(10))
    } == drawn


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 4)
        self.inner = nn.ModuleDict({"only": nn.ModuleList(nn.Linear(4, 4) for _ in range(3))})
        self.mixed = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 8)])
        self.dropout = nn.Dropout()
        self.scores = nn.Linear(4, 10, bias=False)
        self.scores.weight = self.words.weight


def test_equal_modules_are_one_node_and_shared_parameters_count_once() -> None:
    words, inner, mixed, scores = module_tree(Toy()).children
    assert (words.parameters, words.shapes) == (40, ("weight 10 × 4",))
    assert (inner.name, inner.class_name, inner.times, inner.each, inner.parameters) == (
        "inner.only",
        "Linear",
        3,
        20,
        60,
    )
    assert [(part.name, part.times, part.parameters) for part in mixed.children] == [("0", 2, 40), ("2", 1, 40)]
    assert (scores.tied, scores.parameters, scores.shapes) == (True, 0, ("weight 10 × 4",))
    assert module_tree(Toy()).parameters == sum(parameter.numel() for parameter in Toy().parameters())


def test_a_model_whose_sizes_are_not_known_is_drawn_with_the_defaults_and_says_so() -> None:
    card = registry.Card(name="unknown", architecture="bert", task="base", files=())
    found = structure(card)
    assert found is not None
    assert not found.exact
    assert found.root.class_name == "BertModel"
    assert structure(registry.Card(name="unknown", architecture="nothing", task="base", files=())) is None


def test_a_model_that_cannot_be_built_is_not_drawn_with_a_warning() -> None:
    card = registry.Card(name="odd", architecture="bert", task="base", files=(), config={"no_such_field": 1})
    with pytest.warns(RegistryWarning, match="odd is not drawn: TypeError: "):
        assert structure(card) is None


def test_the_largest_model_is_built_without_memory_for_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[nn.Module] = []

    def recording(make: Any) -> Any:
        built.append(build(make))
        return built[-1]

    monkeypatch.setattr("registry.pages.structure.build", recording)
    found = structure(registry.info("gpt2-xl"))
    assert found is not None
    assert found.root.parameters > 1_500_000_000, "6 GB"
    (model,) = built
    assert {parameter.device.type for parameter in model.parameters() if parameter.numel() > 100_000} == {"meta"}
