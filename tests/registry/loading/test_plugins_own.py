"""What plugins bring of their own: one-file models, roles, processors, tasks, formats that are chosen."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import attrs
import pytest
import torch
from attrs import frozen
from safetensors.torch import save_file
from torch import Tensor, nn

import registry
from registry import discovery
from registry.cli.run.trained import task_that_generates
from registry.config import Config
from registry.config.fields import size
from registry.errors import (
    MissingFileError,
    MissingTokenizerError,
    PluginIncompatibleError,
    UnknownTaskError,
    WeightsMismatchError,
)
from registry.files.atomic import content_writer
from registry.hookspecs import hookimpl
from registry.loading.model import Model
from registry.nn.outputs import ClassificationOutput
from registry.records import Card, ConfigSpec, FileSpec, ModelSpec, TokenizerSpec, WeightLoaderSpec
from registry.weights.names import Layout

BOX = "model.box"
"""A file with all of a model, as JSON."""


@frozen(kw_only=True)
class BoxConfig(Config):
    architecture: ClassVar[str] = "box"
    model_type: ClassVar[str] = "box"

    width: int = size(3)


class BoxModel(Model):
    config_class = BoxConfig
    layout = Layout(parts=("nothing.",))

    def __init__(self, config: BoxConfig) -> None:
        super().__init__(config)
        self.see = nn.Linear(config.width, 2, bias=False)
        self.init_weights()

    def init_module(self, module: nn.Module) -> None:
        for parameter in module.parameters(recurse=False):
            nn.init.normal_(parameter)

    def forward(self, pixel_values: Tensor) -> ClassificationOutput:
        return ClassificationOutput(None, self.see(pixel_values))


class MaskedModel(BoxModel):
    """One whose author keeps a mask with the weights."""

    def __init__(self, config: BoxConfig) -> None:
        super().__init__(config)
        self.register_buffer("mask", torch.ones(2))


class TalkingModel(BoxModel):
    """One that generates, for a task of its own."""

    context_size = 8
    new_cache = score = None


class Lens:
    """A processor that is not a tokenizer."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    @classmethod
    def from_files(cls, paths: Any) -> "Lens":
        for name, key in (("lens.json", None), (BOX, "lens")):
            if name in paths:
                keys = json.loads(paths[name].read_text())
                return cls((keys[key] if key else keys)["scale"])
        raise MissingTokenizerError("There is no lens.")

    def files(self) -> dict[str, Any]:
        return {"lens.json": content_writer(json.dumps({"scale": self.scale}))}


def is_box(paths: Any) -> bool:
    return BOX in paths


def config_in(paths: Any) -> Any:
    return json.loads(paths[BOX].read_text())["config"] if BOX in paths else None


def weights_in(paths: Any) -> dict[str, Tensor]:
    keys = json.loads(paths[BOX].read_text())["weights"]
    return {name: torch.tensor(numbers) for name, numbers in keys.items()}


WEIGHTS = {"see.weight": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]}


@pytest.fixture(autouse=True)
def _plugin(tmp_path: Path) -> Iterator[None]:
    here = __name__
    assert here in sys.modules
    files = [
        FileSpec(role="config", filename="config.json", urls=(f"file:{tmp_path}/card/config.json",)),
        FileSpec(role="weights", filename="model.safetensors", urls=(f"file:{tmp_path}/card/model.safetensors",)),
        FileSpec(role="lens", filename="lens.json", urls=(f"file:{tmp_path}/card/lens.json",)),
    ]
    config = ConfigSpec(
        architecture="box",
        cls=f"{here}:BoxConfig",
        model_types=("box",),
        default_task="image-classification",
        reader=f"{here}:config_in",
    )
    models = [
        ModelSpec(architecture="box", task="image-classification", cls=f"{here}:BoxModel"),
        ModelSpec(architecture="box", task="talk", cls=f"{here}:TalkingModel"),
        ModelSpec(architecture="box", task="masked", cls=f"{here}:MaskedModel", outputs={"logits": ("batch", 2)}),
    ]
    loader = WeightLoaderSpec(
        architecture="box", format="box", detect=f"{here}:is_box", loader=f"{here}:weights_in", filenames=(BOX,)
    )
    plugin = SimpleNamespace(
        registry_configs=hookimpl(lambda: [config]),
        registry_models=hookimpl(lambda: models),
        registry_tokenizers=hookimpl(
            lambda: [TokenizerSpec(architecture="box", cls=f"{here}:Lens", files={"lens": "lens.json"})]
        ),
        registry_weight_loaders=hookimpl(lambda: [loader]),
        registry_cards=hookimpl(
            lambda: [Card(name="our-box", architecture="box", task="image-classification", files=files)]
        ),
    )
    discovery.register(plugin, "box")
    yield
    discovery.unregister("box")


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """The one file."""
    keys = {"config": {"width": 3}, "weights": WEIGHTS, "lens": {"scale": 0.5}}
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / BOX).write_text(json.dumps(keys))
    return tmp_path / "one" / BOX


@pytest.mark.parametrize("alone", [True, False], ids=["the file", "its directory"])
def test_one_file_is_a_whole_model(box: Path, alone: bool, tmp_path: Path) -> None:
    loaded = registry.load(box if alone else box.parent)
    assert loaded.model.see.weight.tolist() == WEIGHTS["see.weight"]
    assert loaded.config == BoxConfig(width=3)
    assert isinstance(loaded.processor, Lens)
    again = registry.load(loaded.save(tmp_path / "saved"))
    assert again.processor.scale == 0.5
    assert again.model.see.weight.equal(loaded.model.see.weight)


def test_what_no_reader_knows_has_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("?")
    with pytest.raises(MissingFileError, match="has no configuration"):
        registry.load(tmp_path)


def test_a_processor_is_no_tokenizer(box: Path) -> None:
    loaded = registry.load(box)
    with pytest.raises(MissingTokenizerError, match=r"a Lens, which is not a tokenizer\.\n.*loaded\.processor"):
        loaded.tokenizer  # noqa: B018  # raises
    assert registry.load_tokenizer(box).scale == 0.5


def test_the_roles_of_a_card_are_those_that_the_plugin_declares(tmp_path: Path) -> None:
    model = BoxModel(BoxConfig())
    registry.save(model, tmp_path / "card", tokenizer=Lens(2.0))
    assert registry.load("our-box").processor.scale == 2.0
    assert registry.files_of("our-box", "lens") == {"lens.json": tmp_path / "card" / "lens.json"}


def test_one_of_several_formats_is_chosen(box: Path) -> None:
    save_file({"see.weight": torch.zeros(2, 3)}, box.parent / "model.safetensors")
    torch.save({"see.weight": torch.ones(2, 3)}, box.parent / "pytorch_model.bin")
    found = {name: registry.load_model(box.parent, format=name).see.weight[0, 0].item() for name in ("box", "torch")}
    assert found == {"box": 1.0, "torch": 1.0}
    assert registry.load(box.parent).model.see.weight.sum() == 0
    assert BoxModel.from_pretrained(box.parent, format="torch").see.weight.sum() == 6
    with pytest.raises(MissingFileError, match="No weights that can be read"):
        registry.load(box.parent, format="numpy")


def test_the_words_of_the_hub_are_understood_as_tasks(tmp_path: Path, sizes: dict[str, int]) -> None:
    from registry.zoo import BertConfig, BertForMaskedLM

    saved = registry.save(BertForMaskedLM(BertConfig(**sizes)), tmp_path / "bert")
    assert type(registry.load_model(saved, "fill-mask")) is BertForMaskedLM
    assert registry.list_models(task="text-generation") == registry.list_models(task="causal-lm") != []
    with pytest.raises(UnknownTaskError, match="'text-generation'"):
        registry.load_model(saved, "text-generation")


def test_a_buffer_that_is_missing_in_the_file_is_called_one(box: Path) -> None:
    with pytest.raises(WeightsMismatchError, match=r"mask are buffers of MaskedModel: .* persistent=False"):
        registry.load(box, "masked")


def test_a_configuration_without_its_decorator_is_refused_by_name() -> None:
    class Forgotten(Config):
        architecture: ClassVar[str] = "forgotten"
        model_type: ClassVar[str] = "forgotten"
        width: int = size(3)

    with pytest.raises(PluginIncompatibleError, match=r"Put @frozen\(kw_only=True\) above `class Forgotten`"):
        Forgotten()


def test_a_plugin_is_preferred_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Card(name="gpt2", architecture="box", task="image-classification", files=())
    discovery.register(SimpleNamespace(registry_cards=hookimpl(lambda: [other])), "mine")
    try:
        assert registry.info("gpt2").architecture == "gpt2"
        monkeypatch.setenv("REGISTRY_PREFER", "unknown, mine")
        assert registry.info("gpt2").architecture == "box"
        registry.prefer("gpt2")
        assert registry.info("gpt2").architecture == "gpt2"
    finally:
        registry.prefer()
        discovery.unregister("mine")


def test_a_card_of_the_hub_has_its_revision() -> None:
    file = FileSpec(role="config", filename="config.json")
    card = Card.on_hub("me/box", [file], revision="v1", name="box", architecture="box", task="base")
    assert (card.revision, card.files[0].urls) == ("v1", ("hub:me/box@v1/config.json",))
    assert attrs.evolve(card, revision=None).revision is None
    with pytest.raises(ValueError, match=r"Card\.revision must be"):
        attrs.evolve(card, revision="a b")


@pytest.mark.parametrize("axes", ["batch", ("batch", "width"), (1.5,)])
def test_the_axes_of_an_output_are_known_words(axes: Any) -> None:
    with pytest.raises(ValueError, match="The axes of 'logits' must be a tuple of sizes and of batch"):
        ModelSpec(architecture="box", task="own", cls="m:C", outputs={"logits": axes})


def test_generate_takes_the_task_of_an_architecture_of_its_own(tmp_path: Path, box: Path) -> None:
    assert task_that_generates(str(box)) == "causal-lm"  # which it lacks, as the error then says
    saved = registry.save(TalkingModel(BoxConfig()), tmp_path / "talking")
    assert task_that_generates(str(saved)) == "talk"
