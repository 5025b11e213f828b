"""The recipes for GPT and GPT-2 in pytorch-pretrained-bert's documentation, as written; only the import line differs.

Their shortcut names stand for downloads of gigabytes: a plugin of this test declares the same names for tiny models,
and is preferred over ours.
"""

import json
import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

import registry
from registry import CONFIG_NAME, WEIGHTS_NAME

SIZES = {"n_positions": 20, "n_embd": 24, "n_layer": 2, "n_head": 4}
TOKENS = {
    "gpt": ["<unk>", "l", "o", "w", "e", "r", "l</w>", "o</w>", "w</w>", "e</w>", "r</w>", "lo", "low</w>", "er</w>"],
    "gpt2": [*"!lower", "\u0120", "lo", "low", "er", "<|endoftext|>"],
}
MERGES = {"gpt": ["l o", "lo w</w>", "e r</w>"], "gpt2": ["l o", "lo w", "e r"]}
PREFIXES = {"gpt": "OpenAIGPT", "gpt2": "GPT2"}
SHORTCUTS = {"gpt": "openai-gpt", "gpt2": "gpt2"}


class Family:
    """The classes of one architecture, by the names of pytorch-pretrained-bert's documentation."""

    def __init__(self, name: str) -> None:
        prefix = PREFIXES[name]
        modeling = import_module(f"plugins.{name}.modeling")
        self.name, self.shortcut = name, SHORTCUTS[name]
        self.config = getattr(import_module(f"plugins.{name}.config"), f"{prefix}Config")
        self.model = getattr(modeling, f"{prefix}Model")
        self.double_heads = getattr(modeling, f"{prefix}DoubleHeadsModel")
        self.tokenizer = getattr(import_module(f"plugins.{name}.tokenization"), f"{prefix}Tokenizer")


@pytest.fixture(params=["gpt", "gpt2"])
def family(request: pytest.FixtureRequest) -> Family:
    return Family(request.param)


@pytest.fixture
def published(family: Family, tmp_path: Path) -> Path:
    vocab = dict.fromkeys(TOKENS[family.name])
    folder = registry.save(family.model(family.config(vocab_size=len(vocab), **SIZES)), tmp_path / "published")
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(vocab)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES[family.name], ""]))
    return folder


@pytest.fixture
def shortcut(family: Family, published: Path) -> Iterator[str]:
    """The documented name, for files on this disk."""

    class Site:
        @registry.hookimpl
        def registry_cards(self) -> Iterator[Any]:
            files = {
                "config": "config.json",
                "weights": "model.safetensors",
                "vocab": "vocab.json",
                "merges": "merges.txt",
            }
            yield registry.Card(
                name=family.shortcut,
                architecture=family.name,
                task="base",
                files=tuple(
                    registry.FileSpec(role=role, filename=name, urls=(f"file:{published / name}",))
                    for role, name in files.items()
                ),
                tokenizer={"max_len": 20},
            )

    registry.register(Site(), name="site")
    registry.prefer("site")
    yield family.shortcut
    registry.prefer()
    registry.discovery.unregister("site")


@pytest.fixture
def model(family: Family, published: Path) -> Any:
    model = family.double_heads.from_pretrained(published, allow_missing="multiple_choice_head.*")
    with torch.no_grad():  # as if it had been fine-tuned
        for parameter in model.parameters():
            parameter.add_(0.01)
    return model


def assert_same(model: Any, original: Any) -> None:
    assert model.config == original.config
    for name, tensor in original.state_dict().items():
        assert model.state_dict()[name].equal(tensor), name


@pytest.mark.usefixtures("shortcut")
@pytest.mark.filterwarnings("ignore:.*ftfy.*")
def test_the_examples_of_loading(family: Family) -> None:
    OpenAIGPTTokenizer = GPT2Tokenizer = family.tokenizer  # noqa: N806  # one of the two
    OpenAIGPTModel = GPT2Model = family.model  # noqa: N806
    # fmt: off
    if family.name == "gpt":
        tokenizer = OpenAIGPTTokenizer.from_pretrained('openai-gpt')
        model = OpenAIGPTModel.from_pretrained('openai-gpt')
    else:
        tokenizer = GPT2Tokenizer.from_pretrained('gpt2')
        model = GPT2Model.from_pretrained('gpt2')
    # fmt: on
    ids = torch.tensor(tokenizer.convert_tokens_to_ids(tokenizer.tokenize("low")))
    assert model(ids).last_hidden_state.shape == (1, 24)


@pytest.mark.filterwarnings("ignore:.*ftfy.*")
@pytest.mark.parametrize("distributed", [False, True])
def test_saving_under_the_default_names(
    family: Family, model: Any, published: Path, tmp_path: Path, distributed: bool
) -> None:
    OpenAIGPTDoubleHeadsModel, OpenAIGPTTokenizer = family.double_heads, family.tokenizer  # noqa: N806
    original, tokenizer = model, OpenAIGPTTokenizer.from_pretrained(published)
    if distributed:
        model = torch.nn.DataParallel(model)
    output_dir = f"{tmp_path}/models/"
    Path(output_dir).mkdir()

    # Step 1: Save a model, configuration and vocabulary that you have fine-tuned
    model_to_save = model.module if hasattr(model, 'module') else model  # fmt: skip
    output_model_file = os.path.join(output_dir, WEIGHTS_NAME)
    output_config_file = os.path.join(output_dir, CONFIG_NAME)
    torch.save(model_to_save.state_dict(), output_model_file)
    model_to_save.config.to_json_file(output_config_file)
    tokenizer.save_vocabulary(output_dir)

    # Step 2: Re-load the saved model and vocabulary
    model = OpenAIGPTDoubleHeadsModel.from_pretrained(output_dir)
    tokenizer = OpenAIGPTTokenizer.from_pretrained(output_dir)

    assert_same(model, original)
    assert {"config.json", "pytorch_model.bin", "vocab.json", "merges.txt"} <= set(os.listdir(output_dir))
    assert tokenizer.tokenize("low") == OpenAIGPTTokenizer.from_pretrained(published).tokenize("low")


@pytest.mark.filterwarnings("ignore:.*ftfy.*")
def test_saving_under_specific_paths(
    family: Family, model: Any, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    OpenAIGPTConfig, OpenAIGPTDoubleHeadsModel = family.config, family.double_heads  # noqa: N806
    OpenAIGPTTokenizer = family.tokenizer  # noqa: N806
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    original, tokenizer = model, OpenAIGPTTokenizer.from_pretrained(published)
    output_model_file = "./models/my_own_model_file.bin"
    output_config_file = "./models/my_own_config_file.bin"
    output_vocab_file = "./models/my_own_vocab_file.bin"

    # Step 1: Save a model, configuration and vocabulary that you have fine-tuned
    model_to_save = model.module if hasattr(model, 'module') else model  # fmt: skip
    torch.save(model_to_save.state_dict(), output_model_file)
    model_to_save.config.to_json_file(output_config_file)
    tokenizer.save_vocabulary(output_vocab_file)

    # Step 2: Re-load the saved model and vocabulary
    config = OpenAIGPTConfig.from_json_file(output_config_file)
    model = OpenAIGPTDoubleHeadsModel(config)
    state_dict = torch.load(output_model_file)
    model.load_state_dict(state_dict)
    tokenizer = OpenAIGPTTokenizer(output_vocab_file)

    assert_same(model, original)
    assert tokenizer.tokenize("low") == OpenAIGPTTokenizer.from_pretrained(published).tokenize("low")
