"""The recipes for Transformer-XL in pytorch-pretrained-bert's documentation, as written; only the import line differs.

Their shortcut name stands for a download of a gigabyte: a plugin of this test declares the same name for a tiny model,
and is preferred over ours.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import registry
from registry import CONFIG_NAME, WEIGHTS_NAME
from registry.zoo import TransfoXLConfig, TransfoXLLMHeadModel, TransfoXLModel, TransfoXLTokenizer

WORDS = ["<eos>", "the", "cat", "<unk>", "sat", "."]


@pytest.fixture
def published(make, tmp_path: Path) -> Path:
    """The files of the published model, its pickled vocabulary included."""
    model = make(vocab_size=len(WORDS), cutoffs=[2, 4])
    folder = model.save_pretrained(tmp_path / "published", format="torch")
    attributes = {"sym2idx": dict(zip(WORDS, range(6), strict=True)), "idx2sym": WORDS, "special": ["<eos>"]}
    torch.save(attributes, folder / "vocab.bin", _use_new_zipfile_serialization=False)
    return folder


@pytest.fixture
def shortcut(published: Path) -> Iterator[str]:
    """The documented name, for files on this disk."""

    class Site:
        @registry.hookimpl
        def registry_cards(self) -> Iterator[Any]:
            files = {"config": "config.json", "weights": "pytorch_model.bin", "vocab": "vocab.bin"}
            yield registry.Card(
                name="transfo-xl-wt103",
                architecture="transfo_xl",
                task="causal-lm",
                files=tuple(
                    registry.FileSpec(role=role, filename=name, urls=(f"file:{published / name}",))
                    for role, name in files.items()
                ),
            )

    registry.register(Site(), name="site")
    registry.prefer("site")
    yield "transfo-xl-wt103"
    registry.prefer()
    registry.discovery.unregister("site")


@pytest.fixture
def model(published: Path) -> Any:
    model = TransfoXLLMHeadModel.from_pretrained(published)
    with torch.no_grad():  # as if it had been fine-tuned
        for parameter in model.parameters():
            parameter.add_(0.01)
    return model


def assert_same(model: Any, original: Any) -> None:
    assert model.config == original.config
    for name, tensor in original.state_dict().items():
        assert model.state_dict()[name].equal(tensor), name


@pytest.mark.usefixtures("shortcut")
def test_the_examples_of_loading() -> None:
    # fmt: off
    tokenizer = TransfoXLTokenizer.from_pretrained('transfo-xl-wt103')
    model = TransfoXLModel.from_pretrained('transfo-xl-wt103')
    # fmt: on
    ids = torch.tensor([tokenizer.convert_tokens_to_ids(tokenizer.tokenize("the cat sat ."))])
    assert ids.tolist() == [[1, 2, 4, 5]]
    last_hidden_state, mems, *_ = model(ids)
    assert (last_hidden_state.shape, len(mems)) == ((1, 4, 32), 3)


@pytest.mark.parametrize("distributed", [False, True])
def test_saving_under_the_default_names(model: Any, published: Path, tmp_path: Path, distributed: bool) -> None:
    original, tokenizer = model, TransfoXLTokenizer.from_pretrained(published)
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
    model = TransfoXLLMHeadModel.from_pretrained(output_dir)
    tokenizer = TransfoXLTokenizer.from_pretrained(output_dir)

    assert_same(model, original)
    assert sorted(os.listdir(output_dir)) == ["config.json", "pytorch_model.bin", "vocab.txt"]
    assert tokenizer.encode("the dog") == [1, 3]


def test_saving_under_specific_paths(
    model: Any, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    original, tokenizer = model, TransfoXLTokenizer.from_pretrained(published)
    output_model_file = "./models/my_own_model_file.bin"
    output_config_file = "./models/my_own_config_file.bin"
    output_vocab_file = "./models/my_own_vocab_file.bin"

    # Step 1: Save a model, configuration and vocabulary that you have fine-tuned
    model_to_save = model.module if hasattr(model, 'module') else model  # fmt: skip
    torch.save(model_to_save.state_dict(), output_model_file)
    model_to_save.config.to_json_file(output_config_file)
    tokenizer.save_vocabulary(output_vocab_file)

    # Step 2: Re-load the saved model and vocabulary
    config = TransfoXLConfig.from_json_file(output_config_file)
    model = TransfoXLLMHeadModel(config)
    state_dict = torch.load(output_model_file)
    model.load_state_dict(state_dict)
    tokenizer = TransfoXLTokenizer(output_vocab_file)

    assert_same(model, original)
    assert sorted(os.listdir("models")) == ["my_own_config_file.bin", "my_own_model_file.bin", "my_own_vocab_file.bin"]
    assert tokenizer.encode("the dog") == [1, 3]
