"""The recipes in the documentation of pytorch-pretrained-bert, as written there; only the import line differs.

Its shortcut names stand for gigabytes on the net: a plugin of this test declares the same name for a tiny
model, and is preferred over ours.
"""

import os
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import registry
from registry import CONFIG_NAME, PYTORCH_PRETRAINED_BERT_CACHE, WEIGHTS_NAME
from registry.errors import UntrainedWarning
from registry.zoo import BertConfig, BertForQuestionAnswering, BertForSequenceClassification, BertModel, BertTokenizer


@pytest.fixture
def published(tmp_path: Path, sizes: dict[str, int], vocab_file: Path) -> Path:
    model = BertModel(BertConfig(**sizes))
    model.init_weights()
    return registry.save(model, tmp_path / "published", tokenizer=BertTokenizer(str(vocab_file)))


@pytest.fixture
def shortcut(published: Path) -> Iterator[str]:
    """The name bert-base-uncased, for files on this disk."""

    class Site:
        @registry.hookimpl
        def registry_cards(self) -> Iterator[Any]:
            roles = {"config": "config.json", "weights": "model.safetensors", "vocab": "vocab.txt"}
            yield registry.Card(
                name="bert-base-uncased",
                architecture="bert",
                task="base",
                files=tuple(
                    registry.FileSpec(role=role, filename=name, urls=(f"file:{published / name}",))
                    for role, name in roles.items()
                ),
                tokenizer={"do_lower_case": True, "max_len": 64},
            )

    registry.register(Site(), name="site")
    registry.prefer("site")
    yield "bert-base-uncased"
    registry.prefer()
    registry.discovery.unregister("site")


@pytest.fixture
def model(published: Path) -> Any:
    model = BertForQuestionAnswering.from_pretrained(published, allow_missing="qa_outputs.*")
    with torch.no_grad():  # as if it had been fine-tuned
        for parameter in model.parameters():
            parameter.add_(0.01)
    return model


@pytest.fixture
def tokenizer(published: Path) -> Any:
    return BertTokenizer.from_pretrained(str(published))


@pytest.fixture
def args() -> Namespace:
    return Namespace(do_lower_case=True, local_rank=0)


def assert_same(model: Any, original: Any) -> None:
    assert model.config == original.config
    for name, tensor in original.state_dict().items():
        assert model.state_dict()[name].equal(tensor), name


@pytest.mark.usefixtures("shortcut")
def test_the_examples_of_loading() -> None:
    # fmt: off
    tokenizer = BertTokenizer.from_pretrained('bert-base-uncased', do_lower_case=True, do_basic_tokenize=True)
    with pytest.warns(UntrainedWarning, match="classifier"):
        model = BertForSequenceClassification.from_pretrained('bert-base-uncased')
    # fmt: on
    assert tokenizer.tokenize("The cat") == ["the", "cat"]
    assert model.classifier.out_features == 2


@pytest.mark.usefixtures("shortcut")
def test_the_cache_folder_of_each_rank(args: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    BertModel.from_pretrained('bert-base-uncased', cache_dir='./pretrained_model_{}'.format(args.local_rank))  # noqa: UP032  # fmt: skip


@pytest.mark.usefixtures("shortcut")
def test_the_signature_of_pytorch_pretrained_bert() -> None:
    state = BertForSequenceClassification.from_pretrained("bert-base-uncased", num_labels=2).state_dict()
    model = BertForSequenceClassification.from_pretrained(
        "bert-base-uncased", 2, cache_dir=None, from_tf=False, state_dict=state
    )
    assert model.classifier.weight.equal(state["classifier.weight"])
    model = BertForSequenceClassification.from_pretrained("bert-base-uncased", cache_dir=None, num_labels=3)
    assert model.classifier.out_features == 3


@pytest.mark.parametrize("distributed", [False, True])
def test_saving_under_the_default_names(
    model: Any, tokenizer: Any, args: Namespace, tmp_path: Path, distributed: bool
) -> None:
    original = model
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
    model = BertForQuestionAnswering.from_pretrained(output_dir)
    tokenizer = BertTokenizer.from_pretrained(output_dir, do_lower_case=args.do_lower_case)

    assert_same(model, original)
    assert sorted(os.listdir(output_dir)) == ["config.json", "pytorch_model.bin", "vocab.txt"]
    assert tokenizer.tokenize("The cat") == ["the", "cat"]


def test_saving_next_to_an_older_safetensors_file_is_reported_rather_than_lost(
    model: Any, tokenizer: Any, published: Path
) -> None:
    torch.save(model.state_dict(), published / WEIGHTS_NAME)
    model.config.to_json_file(published / CONFIG_NAME)
    tokenizer.save_vocabulary(str(published))
    os.utime(published / WEIGHTS_NAME, (2**32 - 1, 2**32 - 1))
    with (
        pytest.warns(registry.errors.RegistryWarning),
        pytest.raises(registry.errors.AmbiguousWeightsError, match=r"pytorch_model\.bin"),
    ):
        BertForQuestionAnswering.from_pretrained(published)


def test_saving_under_specific_paths(
    model: Any, tokenizer: Any, args: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    original = model
    output_model_file = "./models/my_own_model_file.bin"
    output_config_file = "./models/my_own_config_file.bin"
    output_vocab_file = "./models/my_own_vocab_file.bin"

    # Step 1: Save a model, configuration and vocabulary that you have fine-tuned
    model_to_save = model.module if hasattr(model, 'module') else model  # fmt: skip
    torch.save(model_to_save.state_dict(), output_model_file)
    model_to_save.config.to_json_file(output_config_file)
    tokenizer.save_vocabulary(output_vocab_file)

    # Step 2: Re-load the saved model and vocabulary
    config = BertConfig.from_json_file(output_config_file)
    model = BertForQuestionAnswering(config)
    state_dict = torch.load(output_model_file)
    model.load_state_dict(state_dict)
    tokenizer = BertTokenizer(output_vocab_file, do_lower_case=args.do_lower_case)

    assert_same(model, original)
    assert sorted(os.listdir("models")) == ["my_own_config_file.bin", "my_own_model_file.bin", "my_own_vocab_file.bin"]
    assert tokenizer.tokenize("The cat") == ["the", "cat"]


def test_the_names_of_the_manual(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert (WEIGHTS_NAME, CONFIG_NAME) == ("pytorch_model.bin", "config.json")
    assert str(PYTORCH_PRETRAINED_BERT_CACHE)
    monkeypatch.setenv("PYTORCH_PRETRAINED_BERT_CACHE", str(tmp_path / "mine"))
    assert str(registry.PYTORCH_PRETRAINED_BERT_CACHE) == str(tmp_path / "mine")
