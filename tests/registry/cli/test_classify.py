"""``registry classify``: files that a processor reads, for any task whose records promise a label of each."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from attrs import frozen
from torch import Tensor, nn

import registry
from plugins.bert.config import BertConfig
from plugins.bert.finetuning import BertForSequenceClassification
from plugins.bert.tokenization import BertTokenizer
from registry import discovery
from registry.config import Config
from registry.config.fields import problem_type, size
from registry.errors import MissingTokenizerError
from registry.files.atomic import content_writer
from registry.hookspecs import hookimpl
from registry.loading.model import Model
from registry.nn.outputs import ClassificationOutput
from registry.records import OUTPUTS, TASKS, ConfigSpec, ModelSpec, TokenizerSpec
from registry.weights.names import Layout


@frozen(kw_only=True)
class EarConfig(Config):
    architecture: ClassVar[str] = "ear"
    model_type: ClassVar[str] = "ear"

    width: int = size(3)
    problem_type: str | None = problem_type()


class EarModel(Model):
    config_class = EarConfig
    layout = Layout(parts=("nothing.",))

    def __init__(self, config: EarConfig) -> None:
        super().__init__(config)
        self.hear = nn.Linear(config.width, config.num_labels, bias=False)
        self.init_weights()

    def init_module(self, module: nn.Module) -> None:
        for parameter in module.parameters(recurse=False):
            nn.init.eye_(parameter)

    def forward(self, levels: Tensor) -> ClassificationOutput:
        return ClassificationOutput(None, self.hear(levels))


class DeafModel(EarModel):
    """One for a task that promises no labels."""


class Levels:
    """A processor of files with a number in each line."""

    @classmethod
    def from_files(cls, paths: Any) -> "Levels":
        if "levels.json" not in paths:
            raise MissingTokenizerError("There is no levels.json.")
        return cls()

    def files(self) -> dict[str, Any]:
        return {"levels.json": content_writer("{}")}

    def __call__(self, files: list[Path]) -> dict[str, Tensor]:
        return {"levels": torch.tensor([[float(line) for line in file.read_text().split()] for file in files])}


@pytest.fixture(autouse=True)
def _plugin() -> Iterator[None]:
    here = __name__
    assert here in sys.modules
    labels = {"logits": ("batch", "labels")}
    models = [
        ModelSpec(architecture="ear", task="sound-classification", cls=f"{here}:EarModel", outputs=labels),
        ModelSpec(architecture="ear", task="silence", cls=f"{here}:DeafModel"),
    ]
    config = ConfigSpec(
        architecture="ear", cls=f"{here}:EarConfig", model_types=("ear",), default_task="sound-classification"
    )
    tokenizer = TokenizerSpec(architecture="ear", cls=f"{here}:Levels", files={"levels": "levels.json"})
    plugin = SimpleNamespace(
        registry_configs=hookimpl(lambda: [config]),
        registry_models=hookimpl(lambda: models),
        registry_tokenizers=hookimpl(lambda: [tokenizer]),
    )
    discovery.register(plugin, "ear")
    yield
    discovery.unregister("ear")


@pytest.fixture
def sounds(tmp_path: Path) -> list[str]:
    """Two files."""
    for name, levels in (("low", (3, 1, 0)), ("high", (0, 1, 2))):
        (tmp_path / name).write_text("\n".join(map(str, levels)))
    return [str(tmp_path / "low"), str(tmp_path / "high")]


LABELS = {0: "hum", 1: "hiss", 2: "whistle"}


def save(path: Path, cls: Any = EarModel, **fields: Any) -> str:
    return str(registry.save(cls(EarConfig(**fields)), path, tokenizer=Levels()))


def test_files_are_labeled_by_the_processor_of_a_plugin(
    run: Callable[..., Any], sounds: list[str], tmp_path: Path
) -> None:
    name = save(tmp_path / "ear", id2label=LABELS)
    wanted = torch.tensor([[3.0, 1, 0], [0, 1, 2]]).softmax(-1)
    for options in ((), ("--batch-size", "1")):
        found = json.loads(run("classify", name, *sounds, *options, "--json").stdout)
        assert [(answer["file"], answer["label"]) for answer in found] == [
            *zip(sounds, ("hum", "whistle"), strict=True)
        ]
        assert [*found[0]["probabilities"].values()] == pytest.approx(wanted[0].tolist())
    lines = run("classify", name, *sounds, "--top", "2").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["hum", "84.4"],
        ["hiss", "11.4"],
        ["whistle", "66.5"],
        ["hiss", "24.5"],
    ]


def test_several_labels_and_numbers_are_what_the_configuration_says(
    run: Callable[..., Any], sounds: list[str], tmp_path: Path
) -> None:
    several = save(tmp_path / "several", id2label=LABELS, problem_type="multi_label_classification")
    assert json.loads(run("classify", several, sounds[0], "--json").stdout)[0]["labels"] == [*LABELS.values()]
    number = save(tmp_path / "number", num_labels=1)
    assert run("classify", number, sounds[0]).stdout.splitlines()[1].split() == ["3", sounds[0]]


def test_what_labels_no_files_is_refused_by_name(
    run: Callable[..., Any], sounds: list[str], tmp_path: Path, sizes: dict[str, int], bert_tokenizer: BertTokenizer
) -> None:
    texts = registry.save(
        BertForSequenceClassification(BertConfig(**sizes)), tmp_path / "texts", tokenizer=bert_tokenizer
    )
    silent = save(tmp_path / "silent", DeafModel)
    for name, file, words in (
        (texts, sounds[0], "classifies texts: use `registry predict`"),
        (silent, sounds[0], "is a model for 'silence'; this command needs one for sound-classification"),
        (silent, tmp_path / "missing", "does not exist"),
    ):
        result = run("classify", name, file)
        assert result.exit_code != 0
        assert words in result.stderr


def test_every_usual_task_promises_its_outputs() -> None:
    assert tuple(OUTPUTS) == TASKS
    assert "image-classification" in TASKS
