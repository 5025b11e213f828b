"""The conformance kit, applied to plugins that declare less than an architecture of text, or another one."""

from collections.abc import Callable
from typing import Any

import pytest

from registry.testing.inputs import padded, random_ids

Run = Callable[..., Any]

CARDS_PLUGIN = """
from registry import Card, FileSpec, hookimpl

ROLES = {"config": "config.json", "weights": "model.safetensors", "vocab": "vocab.txt"}
FILES = [FileSpec(role=role, filename=name) for role, name in ROLES.items()]


@hookimpl
def registry_cards():
    yield Card.on_hub("me/our-bert", FILES, revision="v1", name="our-bert", architecture="bert", task="base")
"""

HEAD_PLUGIN = """
from registry import ModelSpec, hookimpl


@hookimpl
def registry_models():
    yield ModelSpec(
        architecture="bert", task="word-lengths", cls="my_tiny.head:BertForLengths",
        outputs={"logits": ("batch", "tokens")},
    )
"""

HEAD = """
from attrs import evolve
from torch import nn

from registry.loading.model import Model
from registry.nn.outputs import ClassificationOutput
from registry.zoo import BertConfig, BertModel


class BertForLengths(Model):
    config_class = BertConfig
    layout = evolve(BertModel.layout, parts=(*BertModel.layout.parts, "lengths."))
    init_module = BertModel.init_module

    def __init__(self, config):
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.lengths = nn.Linear(config.hidden_size, 1)
        self.lengths.apply(self.init_module)

    def forward(self, input_ids, *, attention_mask=None):
        read = self.bert(input_ids, attention_mask=attention_mask)
        return ClassificationOutput(None, self.lengths(read.last_hidden_state).squeeze(-1))
"""

FORMAT_PLUGIN = """
from registry import WeightLoaderSpec, hookimpl


@hookimpl
def registry_weight_loaders():
    yield WeightLoaderSpec(
        architecture="bert", format="listed", detect="my_tiny.listed:detect", loader="my_tiny.listed:load",
        filenames=("weights.json",),
    )
"""

FORMAT = """
from registry.errors import CorruptWeightsError
from registry.files.strict_json import read_json_object

NAME = "weights.json"


def detect(paths):
    return NAME in paths


def load(paths):
    import torch

    keys = read_json_object(paths[NAME], limit=10**7, error=CorruptWeightsError)
    return {name: torch.tensor(numbers) for name, numbers in keys.items()}
"""

EYES_PLUGIN = """
from registry import ConfigSpec, ModelSpec, TokenizerSpec, hookimpl


@hookimpl
def registry_configs():
    yield ConfigSpec(
        architecture="my-eyes", cls="my_tiny.eyes_config:EyesConfig", model_types=("my-eyes",),
        default_task="image-classification",
    )


@hookimpl
def registry_models():
    yield ModelSpec(architecture="my-eyes", task="image-classification", cls="my_tiny.eyes:Eyes")


@hookimpl
def registry_tokenizers():
    files = {"processor": "preprocessor_config.json"}
    yield TokenizerSpec(architecture="my-eyes", cls="my_tiny.eyes_config:Patches", files=files)
"""

EYES_CONFIG = """
import json
from typing import ClassVar

from attrs import frozen

from registry.config import Config
from registry.config.fields import size
from registry.errors import MissingTokenizerError
from registry.files.atomic import content_writer
from registry.files.strict_json import read_json_object


@frozen(kw_only=True)
class EyesConfig(Config):
    architecture: ClassVar[str] = "my-eyes"
    model_type: ClassVar[str] = "my-eyes"

    patch: int = size(4)


class Patches:
    def __init__(self, patch):
        self.patch = patch

    @classmethod
    def from_files(cls, paths):
        if "preprocessor_config.json" not in paths:
            raise MissingTokenizerError("There is no preprocessor_config.json.")
        return cls(read_json_object(paths["preprocessor_config.json"])["patch"])

    def files(self):
        return {"preprocessor_config.json": content_writer(json.dumps({"patch": self.patch}))}
"""

EYES = """
from torch import nn

from registry.loading.model import Model
from registry.nn.losses import classification_loss
from registry.nn.outputs import ClassificationOutput
from registry.weights.names import Layout

from .eyes_config import EyesConfig


class Eyes(Model):
    config_class = EyesConfig
    layout = Layout(parts=("classifier.",))

    def __init__(self, config):
        super().__init__(config)
        self.see = nn.Conv2d(3, 8, config.patch, config.patch)
        self.classifier = nn.Linear(8, config.num_labels)
        self.init_weights()

    def init_module(self, module):
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)

    def forward(self, pixel_values, *, labels=None):
        logits = self.classifier(self.see(pixel_values).flatten(2).mean(-1))
        loss = None if labels is None else classification_loss(logits, labels, "labels")
        return ClassificationOutput(loss, logits)
"""

ENTRY_POINTS = """[registry.v1]
my-cards = my_tiny.cards_plugin
my-head = my_tiny.head_plugin
my-format = my_tiny.format_plugin
my-eyes = my_tiny.eyes_plugin
"""

TESTS = """
import json

import torch

from my_tiny.eyes_config import Patches
from registry.testing import Conformance

BERT = {
    "vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20,
    "max_position_embeddings": 16,
}


class TestCards(Conformance):
    plugin = "my-cards"
    architecture = "bert"


class TestHead(Conformance):
    plugin = "my-head"
    architecture = "bert"
    config = BERT
    unsupported = {"left-padding": "positions are absolute, counted from the first column"}


class TestFormat(Conformance):
    plugin = "my-format"
    architecture = "bert"
    config = BERT

    def write_checkpoint(self, format, model, directory):
        numbers = {name: tensor.tolist() for name, tensor in model.state_dict().items()}
        (directory / "weights.json").write_text(json.dumps(numbers))


class TestEyes(Conformance):
    plugin = "my-eyes"
    config = {"patch": 2}
    unsupported = {"cards": "it is for this test alone"}

    def make_tokenizer(self, directory):
        return Patches(2)

    def make_inputs(self, task):
        return {"pixel_values": torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))}
"""

FILES = {
    "src/my_tiny/cards_plugin.py": CARDS_PLUGIN,
    "src/my_tiny/head_plugin.py": HEAD_PLUGIN,
    "src/my_tiny/head.py": HEAD,
    "src/my_tiny/format_plugin.py": FORMAT_PLUGIN,
    "src/my_tiny/listed.py": FORMAT,
    "src/my_tiny/eyes_plugin.py": EYES_PLUGIN,
    "src/my_tiny/eyes_config.py": EYES_CONFIG,
    "src/my_tiny/eyes.py": EYES,
    "entry_points.txt": ENTRY_POINTS,
    "tests/test_conformance.py": TESTS,
}


@pytest.mark.slow
def test_plugins_that_declare_a_part_of_an_architecture_pass_what_is_about_them(run: Run, capsys: Any) -> None:
    outcome = run(FILES, "-m", "not another_process", "-rs")
    assert outcome.failed == outcome.not_begun == set(), capsys.readouterr().out
    assert "test_its_names_resolve_to_its_own_cards" in outcome.passed
    assert "test_outputs_have_the_fields_and_shapes_of_the_task" in outcome.passed
    assert "test_padding_on_the_right_changes_nothing" in outcome.passed
    assert "test_damaged_weights_are_refused" in outcome.passed
    printed = capsys.readouterr().out
    for reason in (
        "my-cards declares no model or format of weights for bert",
        "my-head declares no tokenizer for bert",
        "my-format declares no configuration for bert",
        "the processor of my-eyes is a Patches, which is not a tokenizer",
        "the inputs of 'image-classification' are pixel_values",
    ):
        assert reason in printed


@pytest.mark.slow
def test_a_head_that_breaks_its_promise_is_found(run: Run) -> None:
    changes = {**FILES, "src/my_tiny/head.py": HEAD.replace(".squeeze(-1)", "")}
    outcome = run(changes, "-k", "TestHead and outputs_have")
    assert outcome.failed == {"test_outputs_have_the_fields_and_shapes_of_the_task"}


@pytest.mark.slow
def test_a_processor_that_raises_any_error_for_a_damaged_file_is_found(run: Run) -> None:
    reads, raises = "read_json_object(", "(lambda path: json.loads(path.read_text()))("
    changes = {**FILES, "src/my_tiny/eyes_config.py": EYES_CONFIG.replace(reads, raises)}
    outcome = run(changes, "-k", "TestEyes and damaged_vocabulary")
    assert outcome.failed == {"test_a_damaged_vocabulary_is_refused"}


def test_padding_is_that_of_the_configuration() -> None:
    from registry.zoo import BertConfig

    config = BertConfig(vocab_size=5, pad_token_id=3)
    ids = random_ids(config, "base")
    assert set(ids.unique().tolist()) == {1, 2, 4}
    found, mask = padded(ids, "left", 3)
    assert (found == 3).equal(mask == 0)


@pytest.mark.slow
def test_the_first_failure_is_told_in_full_and_the_others_in_a_line(run: Run, files: Any, capsys: Any) -> None:
    config = files["src/my_tiny/config.py"]
    assert "@frozen(kw_only=True)\n" in config
    changes = {"src/my_tiny/config.py": config.replace("@frozen(kw_only=True)\n", "")}
    outcome = run(changes, "-m", "not another_process", "--tb=short")
    assert len(outcome.not_begun) > 20
    printed = capsys.readouterr().out
    assert "Put @frozen(kw_only=True) above `class MyTinyConfig`" in printed
    assert printed.count("This check cannot run: the tiny configuration cannot be made, see test_") > 20
    assert printed.count("Traceback") + printed.count("PluginIncompatibleError:") < 10
