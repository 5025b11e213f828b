"""A directory with an adapter of PEFT loads its base model with the adapter; tests/integrations has PEFT itself."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.testing import assert_close

import registry
from registry.errors import (
    ConfigError,
    MissingFileError,
    MissingTokenizerError,
    RegistryError,
    UnsafeWeightsError,
    UnsupportedError,
    WeightsMismatchError,
)
from registry.sources.pull import pull_files
from registry.zoo import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
)

QUERY = "bert.encoder.layer.0.attention.self.query"
Make = Callable[..., Path]


@pytest.fixture
def base(tmp_path: Path, sizes: dict[str, int]) -> BertModel:
    """A model without a head, saved as ``base``."""
    torch.manual_seed(0)
    model = BertModel(BertConfig(**sizes))
    registry.save(model, tmp_path / "base")
    return model


@pytest.fixture
def adapter(tmp_path: Path, base: BertModel) -> Make:
    """Writes an adapter of rank 2 on a matrix, and what else is given."""

    def make(tensors: dict[str, Tensor] | None = None, *, pair: bool = True, **keys: Any) -> Path:
        directory = tmp_path / "adapter"
        directory.mkdir(exist_ok=True)
        width = base.config.hidden_size
        generator = torch.Generator().manual_seed(1)
        drawn = {
            f"{QUERY}.lora_A.weight": torch.randn(2, width, generator=generator),
            f"{QUERY}.lora_B.weight": torch.randn(width, 2, generator=generator),
        }
        found = {**(drawn if pair else {}), **(tensors or {})}
        save_file(
            {f"base_model.model.{name}": value for name, value in found.items()},
            directory / "adapter_model.safetensors",
        )
        settings = {
            "peft_type": "LORA", "task_type": "FEATURE_EXTRACTION", "base_model_name_or_path": str(tmp_path / "base"),
            "r": 2, "lora_alpha": 6, "fan_in_fan_out": False, "use_dora": False, "lora_dropout": 0.1,
            "target_modules": ["query"], "init_lora_weights": True, "rank_pattern": {}, "revision": None,
        }  # fmt: skip
        (directory / "adapter_config.json").write_text(json.dumps({**settings, **keys}))
        return directory

    return make


def change(directory: Path) -> Tensor:
    """The product of the two matrices."""
    from safetensors.torch import load_file

    found = load_file(directory / "adapter_model.safetensors")
    a, b = (found[f"base_model.model.{QUERY}.lora_{side}.weight"] for side in "AB")
    return b @ a


# --- What is computed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rslora", "factor"), [(False, 3.0), (True, 6 / 2**0.5)])
def test_the_product_of_the_matrices_is_added_to_the_weight(
    adapter: Make, base: BertModel, rslora: bool, factor: float
) -> None:
    directory = adapter(use_rslora=rslora)
    expected = {name: value.clone() for name, value in base.state_dict().items()}
    expected[QUERY.removeprefix("bert.") + ".weight"] += change(directory) * factor
    for model in (registry.load_model(directory), registry.load(directory).model, BertModel.from_pretrained(directory)):
        assert type(model) is BertModel
        assert_close(model.state_dict(), expected, atol=1e-6, rtol=1e-6)
        assert model.load_report.new == ()
        assert model.name_or_path == str(directory)
    assert_close(registry.load_model(directory.parent / "base").state_dict(), base.state_dict(), atol=0, rtol=0)


def test_a_head_that_was_trained_with_it_is_none_that_is_new(adapter: Make, sizes: dict[str, int]) -> None:
    head = {"classifier.weight": torch.ones(3, sizes["hidden_size"]), "classifier.bias": torch.tensor([1.0, 2.0, 3.0])}
    directory = adapter(head, task_type="SEQ_CLS", modules_to_save=["classifier", "score"])
    with pytest.raises(WeightsMismatchError, match="num_labels=3 makes the sizes agree"):
        registry.load_model(directory)
    model = registry.load_model(directory, num_labels=3)
    assert type(model) is BertForSequenceClassification
    assert model.classifier.bias.tolist() == [1, 2, 3]
    assert type(registry.load_model(directory, "base")) is BertModel


def test_a_head_that_nobody_trained_is_an_error(adapter: Make) -> None:
    with pytest.raises(WeightsMismatchError, match="classifier"):
        registry.load_model(adapter(task_type="SEQ_CLS"))


def test_the_class_that_was_adapted_counts_without_a_task(adapter: Make, tmp_path: Path, sizes: dict[str, int]) -> None:
    registry.save(BertForMaskedLM(BertConfig(**sizes)), tmp_path / "base")
    directory = adapter(task_type=None, auto_mapping={"base_model_class": "BertForMaskedLM", "parent_library": "x"})
    assert type(registry.load_model(directory)) is BertForMaskedLM


def test_the_layer_says_which_way_round_its_weight_is(tmp_path: Path, adapter: Make) -> None:
    """Of a square ``Conv1D``, whose shape does not."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=9, n_positions=8, n_embd=8, n_layer=1, n_head=2))
    registry.save(model, tmp_path / "base")
    layer = "transformer.h.0.attn.c_proj"
    a, b = torch.randn(2, 8), torch.randn(8, 2)
    directory = adapter({f"{layer}.lora_A.weight": a, f"{layer}.lora_B.weight": b}, pair=False, task_type="CAUSAL_LM")
    found = registry.load_model(directory).transformer.h[0].attn.c_proj.weight
    assert_close(found, model.transformer.h[0].attn.c_proj.weight + (b @ a).t() * 3)


def test_older_spellings_of_the_base_model_are_read(adapter: Make, base: BertModel, tmp_path: Path) -> None:
    directory = adapter()
    expected = registry.load_model(directory).state_dict()
    older = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in base.state_dict().items()
    }
    (tmp_path / "base" / "model.safetensors").unlink()
    (tmp_path / "base" / "registry.json").unlink()
    torch.save(older, tmp_path / "base" / "pytorch_model.bin")
    assert_close(registry.load_model(directory).state_dict(), expected)


def test_an_adapter_in_a_file_of_torch_and_in_half_precision(adapter: Make, base: BertModel) -> None:
    directory = adapter()
    expected = registry.load_model(directory).state_dict()
    from safetensors.torch import load_file

    halves = {name: value.bfloat16() for name, value in load_file(directory / "adapter_model.safetensors").items()}
    torch.save(halves, directory / "adapter_model.bin")
    (directory / "adapter_model.safetensors").unlink()
    found = registry.load_model(directory).state_dict()
    assert found[QUERY.removeprefix("bert.") + ".weight"].dtype == torch.float32
    assert_close(found, expected, atol=0.05, rtol=0.05)
    assert registry.load_model(directory, dtype="bfloat16").dtype == torch.bfloat16


def test_tokenizer_and_configuration_are_those_of_the_base_unless_the_adapter_has_its_own(
    adapter: Make, base: BertModel, tmp_path: Path, words: list[str]
) -> None:
    directory = adapter()
    assert registry.load_config(directory) == base.config
    with pytest.raises(MissingTokenizerError):
        registry.load_tokenizer(directory)
    tokenizer = BertTokenizer({word: number for number, word in enumerate(words)})
    tokenizer.save_pretrained(tmp_path / "base")
    assert registry.load_tokenizer(directory)("a b") == tokenizer("a b")
    assert registry.load(directory).tokenizer("A b") == tokenizer("A b")
    own = BertTokenizer({word: number for number, word in enumerate(words)}, do_lower_case=False)
    own.save_pretrained(directory)
    assert registry.load(directory).tokenizer("A b") == own("A b") != tokenizer("A b")


def test_a_base_model_is_named_by_a_card(adapter: Make) -> None:
    directory = adapter(pair=False, base_model_name_or_path="all-minilm-l6-v2")
    assert registry.load_config(directory).hidden_size == 384


# --- What is refused --------------------------------------------------------------------------------------------------


A, B = torch.zeros(2, 8), torch.zeros(8, 2)
REFUSED: dict[str, tuple[dict[str, Any], type[RegistryError], str]] = {
    "another kind": ({"peft_type": "IA3"}, UnsupportedError, "is of the kind 'IA3'"),
    "a variant": ({"use_dora": True}, UnsupportedError, "uses use_dora"),
    "a key of a later version": ({"use_magic": {"a": 1}}, UnsupportedError, "uses use_magic"),
    "another beginning": ({"init_lora_weights": "olora"}, UnsupportedError, "began as 'olora'"),
    "a regular expression": ({"alpha_pattern": {"(a+)+": 2}}, UnsupportedError, "a regular expression"),
    "half a regular expression": ({"alpha_pattern": {"query\\": 2}}, UnsupportedError, "a regular expression"),
    "another rank": ({"r": 4}, WeightsMismatchError, "no pair of matrices of rank 4"),
    "no rank": ({"r": 0}, ConfigError, "r must be a number above 0"),
    "no number": ({"lora_alpha": "six"}, ConfigError, "lora_alpha must be a number"),
    "no base": ({"base_model_name_or_path": None}, ConfigError, "does not name the base model"),
    "a URL": ({"base_model_name_or_path": "https://example.org/m"}, ConfigError, "which is not opened"),
    "a file": ({"base_model_name_or_path": "file:///etc/passwd"}, ConfigError, "which is not opened"),
    "a missing base": ({"base_model_name_or_path": "./gone"}, MissingFileError, "model './gone', which is not here"),
    "half a pair": ({"tensors": {"x.lora_A.weight": A}}, WeightsMismatchError, "'x', but {'A': \\(2, 8\\)}"),
    "a magnitude": ({"tensors": {"x.lora_magnitude_vector": A}}, UnsupportedError, "x.lora_magnitude_vector"),
    "an unknown layer": (
        {"tensors": {"bert.x.lora_A.weight": A, "bert.x.lora_B.weight": B}}, WeightsMismatchError, "bert.x.weight",
    ),
    "another size": (
        {"tensors": {f"{QUERY}.lora_A.weight": torch.zeros(2, 7)}}, WeightsMismatchError, "shape",
    ),
    "an unknown tensor": ({"tensors": {"bert.x": A}}, WeightsMismatchError, "bert.x"),
}  # fmt: skip


@pytest.mark.parametrize(("keys", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_with_an_adapter_is_said(
    adapter: Make, keys: dict[str, Any], error: type[RegistryError], message: str
) -> None:
    directory = adapter(**keys)
    with pytest.raises(error, match=message):
        registry.load(directory)


def test_an_adapter_without_weights_and_one_that_would_execute_code(adapter: Make) -> None:
    directory = adapter()
    (directory / "adapter_model.safetensors").unlink()
    with pytest.raises(MissingFileError, match=r"neither adapter_model.safetensors nor adapter_model.bin"):
        registry.load(directory)
    torch.save({"x": print}, directory / "adapter_model.bin")
    with pytest.raises(UnsafeWeightsError):
        registry.load(directory)


@pytest.fixture
def hub(server: Any, loopback: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server that stands for the hub."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


def test_a_repository_with_an_adapter_loads_with_the_repository_of_its_base(
    adapter: Make, hub: Any, tmp_path: Path
) -> None:
    local = adapter()
    expected = registry.load_model(local).state_dict()
    directory = adapter(base_model_name_or_path="org/base")
    for name, path in {"org/base": tmp_path / "base", "org/adapter": directory}.items():
        hub.hub(name, {file.name: file.read_bytes() for file in path.iterdir()})
    loaded = registry.load("org/adapter")
    assert_close(loaded.model.state_dict(), expected)
    assert "org/adapter" in loaded.report.source
    assert_close(registry.load_model("org/adapter", offline=True).state_dict(), expected)


# --- Repositories -----------------------------------------------------------------------------------------------------


def test_an_adapter_is_pulled_with_its_base_model(
    adapter: Make, tmp_path: Path, server: Any, loopback: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("PYTORCH_PRETRAINED_BERT_CACHE", str(tmp_path / "cache"))
    expected = registry.load_model(adapter())
    local = adapter(base_model_name_or_path="me/base", revision="v1")
    for directory, name, revision in ((tmp_path / "base", "me/base", "v1"), (local, "me/adapter", "main")):
        server.hub(name, {path.name: path.read_bytes() for path in directory.iterdir()}, branch=revision)

    assert sorted(path.name for path in registry.pull("me/adapter").iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    result = pull_files("me/adapter")
    assert set(result.files.values()) == {"unchanged"}
    before = server.count()
    for name in ("me/adapter", result.path):
        found = registry.load_model(name, offline=True)
        assert_close(found.state_dict(), expected.state_dict(), atol=0, rtol=0)
    assert server.count() == before
    shutil.rmtree(tmp_path / "cache")
    registry.pull(local)  # a directory, whose base model is not here
    assert registry.load_model(local, offline=True).load_report is not None


def test_an_adapter_whose_base_is_itself_is_pulled_once(adapter: Make) -> None:
    directory = adapter()
    config = json.loads((directory / "adapter_config.json").read_text())
    (directory / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(directory)}))
    assert registry.pull(directory) == directory
