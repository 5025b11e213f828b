"""Folders of GPT and GPT-2 go back and forth between this library, transformers, and pytorch-pretrained-bert."""

import importlib
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers
from torch.testing import assert_close

import registry

NAMES = tuple(
    prefix + head for prefix in ("OpenAIGPT", "GPT2") for head in ("Model", "LMHeadModel", "DoubleHeadsModel")
)
SIZES = {"vocab_size": 61, "n_positions": 20, "n_embd": 24, "n_layer": 3, "n_head": 4, "initializer_range": 0.3}
IDS = torch.randint(0, 61, (2, 2, 9), generator=torch.Generator().manual_seed(0))
FORMATS = ("safetensors", "torch")


def modeling(name: str) -> Any:
    return importlib.import_module(f"plugins.{'gpt2' if name.startswith('GPT2') else 'gpt'}.modeling")


def fresh(name: str) -> Any:
    torch.manual_seed(2)
    cls = getattr(modeling(name), name)
    return cls(cls.config_class(**SIZES)).eval()


FIELDS = ("last_hidden_state", "logits", "mc_logits")


def numbers(model: Any) -> list[torch.Tensor]:
    """What a model computes: features, or the scores of both heads."""
    with torch.inference_mode():
        output = model(IDS)
    return [getattr(output, key) for key in FIELDS if hasattr(output, key)]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", NAMES)
def test_what_we_save_loads_in_transformers(name: str, format: Any, tmp_path: Path) -> None:
    model = fresh(name)
    registry.save(model, tmp_path / "m", format=format)
    theirs, info = getattr(transformers, name).from_pretrained(tmp_path / "m", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    for mine, other in zip(numbers(model), numbers(theirs.eval()), strict=True):
        assert_close(mine.flatten(), other.flatten(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_what_transformers_saves_loads_here(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    cls = getattr(transformers, name)
    theirs = cls(cls.config_class(**SIZES, bos_token_id=None, eos_token_id=None)).eval()
    theirs.save_pretrained(tmp_path / "m")
    ours = registry.load_model(tmp_path / "m")
    assert type(ours).__name__ == name
    report = ours.load_report
    assert report is not None
    assert report.new == report.missing == report.unexpected == ()
    for mine, other in zip(numbers(ours), numbers(theirs), strict=True):
        assert_close(mine.flatten(), other.flatten(), atol=1e-5, rtol=0)


# --- pytorch-pretrained-bert ------------------------------------------------------------------------------------------


@pytest.fixture
def pretrained_bert() -> ModuleType:
    """pytorch-pretrained-bert 0.6.2, which imports with warnings of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pytorch_pretrained_bert")


def scores(name: str, found: Any) -> torch.Tensor:
    """The result of pytorch-pretrained-bert without the keys and values that its GPT-2 returns as well."""
    return found[0] if name.startswith("GPT2") else found


@pytest.mark.parametrize("name", [name for name in NAMES if "Double" not in name])
def test_what_we_save_loads_in_pytorch_pretrained_bert(name: str, tmp_path: Path, pretrained_bert: ModuleType) -> None:
    model = fresh(name)
    registry.save(model, tmp_path / "m", format="torch")
    theirs = getattr(pretrained_bert, name).from_pretrained(str(tmp_path / "m")).eval()
    with torch.inference_mode():
        expected = scores(name, theirs(IDS))
    assert_close(numbers(model)[0], expected, atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:dropout2d")  # of its choice head
@pytest.mark.parametrize("name", NAMES)
def test_what_pytorch_pretrained_bert_saves_loads_here(name: str, tmp_path: Path, pretrained_bert: ModuleType) -> None:
    torch.manual_seed(4)
    cls = getattr(pretrained_bert, name)
    config = getattr(pretrained_bert, "GPT2Config" if name.startswith("GPT2") else "OpenAIGPTConfig")
    keys = {key: value for key, value in SIZES.items() if key != "vocab_size"}
    theirs = cls(config(SIZES["vocab_size"], **keys, n_ctx=20)).eval()
    if name.startswith("OpenAIGPT"):
        theirs.set_num_special_tokens(3)
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    theirs.config.to_json_file(str(tmp_path / "config.json"))
    ours = getattr(modeling(name), name).from_pretrained(tmp_path)
    assert ours.load_report.new == ()
    with torch.inference_mode():
        if "Double" in name:
            numbers_of_tokens = torch.tensor([[8, 2], [0, 7]])
            expected = theirs(IDS, numbers_of_tokens)[:2]
            output = ours(IDS, mc_token_ids=numbers_of_tokens)
            found = (output.logits, output.mc_logits)
        else:
            found, expected = (numbers(ours)[0],), (scores(name, theirs(IDS)),)
    assert_close(found, expected, atol=1e-5, rtol=0)
