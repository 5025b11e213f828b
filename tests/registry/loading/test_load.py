"""The one way from files to a model: every door leads to it, and it asks everything once."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import registry
from registry import discovery
from registry.config.config import Config
from registry.errors import UnknownOptionError, WeightsMismatchError
from registry.loading.classes import ClassArguments
from registry.loading.load import given_weights, load_into
from registry.loading.model import Model
from registry.loading.options import LoadOptions
from registry.sources.files import Files
from registry.zoo import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel, BertTokenizer

DOORS: dict[str, Callable[..., Any]] = {
    "load": registry.load,
    "load_model": registry.load_model,
    "load_tokenizer": registry.load_tokenizer,
    "load_config": registry.load_config,
    "Model.from_pretrained": BertModel.from_pretrained,
    "Tokenizer.from_pretrained": BertTokenizer.from_pretrained,
    "Config.from_pretrained": BertConfig.from_pretrained,
}
"""Every public door that fetches the files of a model."""

KEYWORDS = {"cache_dir": Path("/nowhere"), "offline": True, "revision": "v1", "progress": False}


@pytest.fixture
def folder(tmp_path: Path, sizes: dict[str, int], vocab_file: Path) -> Path:
    """A saved masked language model."""
    model = BertForMaskedLM(BertConfig(**sizes))
    return registry.save(model, tmp_path / "saved", tokenizer=BertTokenizer(str(vocab_file)))


class Asked(Exception):  # noqa: N818  # it ends a load where files would be fetched
    """Files were asked for."""


@pytest.mark.parametrize("keyword", KEYWORDS)
@pytest.mark.parametrize("door", DOORS)
def test_every_door_takes_the_keywords_of_fetching(door: str, keyword: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def of(files: Files, *_roles: str) -> None:
        raise Asked(files)

    monkeypatch.setattr(Files, "of", of)
    with pytest.raises(Asked) as caught:
        DOORS[door]("all-minilm-l6-v2", **{keyword: KEYWORDS[keyword]})
    files = caught.value.args[0]
    taken = files.source.revision if keyword == "revision" else getattr(files.policy, keyword)
    assert taken == KEYWORDS[keyword]


def test_a_load_asks_everything_once(
    folder: Path, asked: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What plugins declare of the architecture, and the files of each role."""
    architectures: list[str] = []
    lookup = discovery.architecture
    monkeypatch.setattr(discovery, "architecture", lambda name: (architectures.append(name), lookup(name))[1])
    made: list[Files] = []
    make = Files.__init__
    monkeypatch.setattr(Files, "__init__", lambda self, *given: (made.append(self), make(self, *given))[1])
    loaded = registry.load(folder)
    assert type(loaded.model) is BertForMaskedLM
    assert loaded.tokenizer.vocab_size == len(loaded.tokenizer)
    assert architectures == ["bert"]
    assert len(made) == 1
    roles = [role for question in asked for role in question]
    assert sorted(roles) == ["config", "merges", "special_tokens", "tokenizer", "tokenizer_config", "vocab", "weights"]


@pytest.mark.parametrize("door", [registry.load, registry.load_model, BertModel.from_pretrained])
def test_the_garbage_collector_pauses_while_a_model_is_loaded(
    folder: Path, door: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    during: list[bool] = []
    monkeypatch.setattr(BertModel, "after_loading", lambda self: during.append(gc.isenabled()))
    door(folder, *(["base"] if door != BertModel.from_pretrained else []), allow_missing="pooler.*")
    assert during == [False]
    assert gc.isenabled()
    with pytest.raises(UnknownOptionError):
        door(folder, nonsense=1)
    assert gc.isenabled()


# --- Keywords of a class ----------------------------------------------------------------------------------------------


class Halved(BertForSequenceClassification):  # type: ignore[misc, valid-type]  # the zoo is dynamic
    """A class with a keyword of its own for loading."""

    def after_loading(self, *, factor: float = 1.0) -> None:
        """Multiply the classifier's weights."""
        with torch.no_grad():
            self.classifier.weight.mul_(factor)


def test_keywords_go_to_the_first_that_has_them() -> None:
    given = {"num_labels": 3, "factor": 0.5, "hidden_dropout_prob": 0.0}
    divided = ClassArguments.of(Halved, (), given)
    assert dict(divided.constructor) == {"num_labels": 3}
    assert dict(divided.after_loading) == {"factor": 0.5}
    assert dict(divided.overrides) == {"hidden_dropout_prob": 0.0}
    with pytest.raises(UnknownOptionError, match="Did you mean 'factor'"):
        ClassArguments.of(Halved, (), {"factr": 0.5})


def test_a_class_acts_on_its_own_keywords_once_the_weights_are_there(folder: Path) -> None:
    state = BertForSequenceClassification.from_pretrained(folder, num_labels=2).state_dict()
    halved = Halved.from_pretrained(folder, state_dict=state, factor=0.5)
    assert torch.equal(halved.classifier.weight, state["classifier.weight"] / 2)
    assert torch.equal(Halved.from_pretrained(folder, state_dict=state).classifier.weight, state["classifier.weight"])


def test_a_state_dict_is_the_callers_also_by_the_one_way(folder: Path) -> None:
    files = Files.named(folder)
    state = BertModel.from_pretrained(folder, allow_missing="pooler.*").state_dict()
    model = load_into(
        BertModel, files, ClassArguments.of(BertModel, (), {}), LoadOptions(), checkpoint=given_weights(state, files)
    )
    assert str(files.source) in model.load_report.source
    assert all(tensor.data_ptr() != state[name].data_ptr() for name, tensor in model.state_dict().items())
    with pytest.raises(WeightsMismatchError, match="a state_dict, configured by"):
        BertModel.from_pretrained(folder, state_dict={})


def test_an_architecture_must_say_how_its_weights_are_initialized(sizes: dict[str, int]) -> None:
    class Silent(Model):
        config_class: Any = Config

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.linear = torch.nn.Linear(1, 1)

        layout = BertModel.layout

    with pytest.raises(NotImplementedError, match="Silent"):
        Silent(BertConfig(**sizes)).init_weights()
