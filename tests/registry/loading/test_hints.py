"""The advice of errors helps: done to the letter it loads the file, and keeps what was trained."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import registry
from registry.errors import MissingFileError, WeightsMismatchError
from registry.zoo import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
)

State = dict[str, Tensor]


def directory(model: Any, where: Path, state: Any = None, **keys: Any) -> Path:
    """The files of a model, with the configuration and the weights of another library."""
    where.mkdir(exist_ok=True)
    keys = {**model.config.to_dict(), "architectures": [type(model).__name__], **keys}
    for key in [key for key, value in keys.items() if value is None]:
        del keys[key]
    import json

    (where / "config.json").write_text(json.dumps(keys))
    torch.save(state_of(model) if state is None else state, where / "pytorch_model.bin")
    return where


def state_of(model: Any) -> State:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@pytest.fixture
def classifier(sizes: dict[str, int]) -> Any:
    torch.manual_seed(0)
    return BertForSequenceClassification(BertConfig(**sizes), num_labels=3)


@pytest.fixture
def masked_lm(sizes: dict[str, int]) -> Any:
    torch.manual_seed(0)
    return BertForMaskedLM(BertConfig(**sizes))


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(WeightsMismatchError) as caught:
        registry.load_model(path, **options)
    return str(caught.value)


def patterns_in(message: str) -> list[str]:
    return [
        pattern for found in re.findall(r"allow_\w+=\[([^]]*)\]", message) for pattern in re.findall("'(.*?)'", found)
    ]


# --- Sizes ------------------------------------------------------------------------------------------------------------


def test_a_head_of_more_classes_is_loaded_by_their_number(classifier: Any, tmp_path: Path) -> None:
    path = directory(classifier, tmp_path / "m", id2label=None, label2id=None)
    message = refused(path)
    assert "num_labels=3 makes the sizes agree" in message
    assert "allow_missing" not in message
    assert registry.load_model(path, num_labels=3).classifier.weight.equal(classifier.classifier.weight)
    assert "num_labels=3 makes" in refused(path, num_labels=5)


@pytest.mark.parametrize("tensor", ["classifier.bias", "classifier.weight"])
def test_a_head_of_two_sizes_is_called_that_before_anything_is_drawn_again(
    tensor: str, classifier: Any, tmp_path: Path
) -> None:
    state = state_of(classifier)
    other = "classifier.bias" if tensor == "classifier.weight" else "classifier.weight"
    state[tensor] = state[tensor][:2].clone()
    path = directory(classifier, tmp_path / "m", state)
    message = refused(path)
    words = f"num_labels=2 makes the size of {tensor} agree, and only num_labels=3 that of {other}"
    assert -1 < message.find(words) < message.find("allow_missing")
    kept = registry.load_model(path, allow_missing=patterns_in(message)).state_dict()[other]
    assert kept.equal(state[other])
    assert f"num_labels=3 makes the size of {other} agree" in refused(path, num_labels=2)


def test_an_embedding_of_more_words_is_loaded_by_their_number(masked_lm: Any, tmp_path: Path) -> None:
    size = masked_lm.config.vocab_size
    path = directory(masked_lm, tmp_path / "m", vocab_size=size - 2)
    message = refused(path)
    assert f"vocab_size={size} makes the sizes agree" in message
    assert patterns_in(message) == []
    registry.load_model(path, vocab_size=size)


@pytest.mark.parametrize("layers", [1, 5])
def test_a_model_of_more_or_fewer_layers_is_loaded_by_their_number(
    layers: int, classifier: Any, tmp_path: Path
) -> None:
    path = directory(classifier, tmp_path / "m", num_hidden_layers=layers)
    message = refused(path)
    number = classifier.config.num_hidden_layers
    assert f"num_hidden_layers={number} makes the numbers of layers agree" in message
    assert patterns_in(message) == []
    registry.load_model(path, num_hidden_layers=number)


def test_special_tokens_behind_the_vocabulary_are_an_option_too(tmp_path: Path) -> None:
    sizes = {"vocab_size": 11, "n_embd": 4, "n_layer": 1, "n_head": 1, "n_positions": 8}
    path = directory(OpenAIGPTLMHeadModel(OpenAIGPTConfig(**sizes, n_special=5)), tmp_path / "m", n_special=2)
    option = re.search(r"(\w+)=(\d+) makes the sizes agree", refused(path))
    assert option is not None
    assert registry.load_model(path, **{option[1]: int(option[2])}).lm_head.weight.shape == (16, 4)


def test_a_second_name_of_the_bias_must_have_its_numbers(masked_lm: Any, tmp_path: Path) -> None:
    state = state_of(masked_lm)
    state["cls.predictions.decoder.bias"] = state["cls.predictions.bias"] + 1
    path = directory(masked_lm, tmp_path / "m", state)
    message = refused(path)
    assert "cls.predictions.bias and cls.predictions.decoder.bias (tied, but not equal)" in message
    registry.load_model(path, allow_unexpected=patterns_in(message))
    registry.load_model(path, "base", allow_missing=["pooler.*"])


def test_what_a_tied_head_has_beyond_its_matrix_is_not_dropped(tmp_path: Path) -> None:
    sizes = {"vocab_size": 11, "n_embd": 4, "n_layer": 1, "n_head": 1, "n_positions": 8}
    model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**sizes))
    path = directory(model, tmp_path / "m", {**state_of(model), "lm_head.bias": torch.ones(11)})
    message = refused(path)
    assert "1 unexpected in the file: lm_head.bias" in message
    assert registry.load_model(path, allow_unexpected=patterns_in(message)).load_report.unexpected == ("lm_head.bias",)
    assert registry.load_model(path, "base").load_report.dropped == ("lm_head.bias", "lm_head.weight")


def test_several_options_are_named_together(classifier: Any, tmp_path: Path) -> None:
    config = classifier.config
    path = directory(
        classifier,
        tmp_path / "m",
        vocab_size=11,
        max_position_embeddings=7,
        id2label=None,
        label2id=None,
        num_labels=None,
    )
    options = {
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position_embeddings,
        "num_labels": 3,
    }
    message = refused(path)
    assert all(f"{key}={value}" in message.splitlines()[-1] for key, value in options.items())
    registry.load_model(path, **options)


def test_a_size_that_no_option_explains_is_no_reason_to_drop_the_backbone(masked_lm: Any, tmp_path: Path) -> None:
    state = state_of(masked_lm)
    state["cls.predictions.bias"] = state["cls.predictions.bias"][:-2]
    message = refused(directory(masked_lm, tmp_path / "m", state))
    assert "makes the sizes agree" not in message
    assert patterns_in(message) == ["cls.predictions.*"]
    del state["cls.predictions.bias"]
    state["bert.embeddings.LayerNorm.weight"] = torch.ones(3)
    assert not any(
        "embeddings" in pattern for pattern in patterns_in(refused(directory(masked_lm, tmp_path / "m", state)))
    )


# --- Names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["model.", "encoder.inner."])
def test_a_prefix_that_is_too_much_is_named_and_the_way_on_works(prefix: str, classifier: Any, tmp_path: Path) -> None:
    state = {f"{prefix}{name}": tensor for name, tensor in state_of(classifier).items()}
    for others in ({}, {"loss.weight": torch.ones(2)}):
        path = directory(classifier, tmp_path / "m", {"state_dict": {**state, **others}, "epoch": 1})
        message = refused(path)
        assert f"All names fit without {prefix!r}" in message
        assert ("loss.weight" in message.splitlines()[-1]) == bool(others)
        way = re.search(r"state_dict=(\{.*\})\)", message)
        assert way is not None
        state_dict = eval(way[1], {"state_dict": {**state, **others}})  # what the message says, to the letter
        model = BertForSequenceClassification.from_pretrained(path, state_dict=state_dict)
        assert model.classifier.weight.equal(classifier.classifier.weight)


def lacks_one(state: State) -> None:
    del state["bert.encoder.layer.0.output.dense.bias"]


def lacks_half(state: State) -> None:
    del state["cls.predictions.transform.dense.bias"]


def has_more(state: State) -> None:
    state.update({f"crf.{name}": torch.ones(2) for name in ("start", "end", "between")}, extra=torch.ones(1))


def differs_in_a_tie(state: State) -> None:
    state["cls.predictions.decoder.weight"] = state["cls.predictions.decoder.weight"] + 1


@pytest.mark.parametrize("change", [lacks_one, lacks_half, has_more, differs_in_a_tie])
def test_the_patterns_of_a_message_match_and_load_the_file(
    change: Callable[[State], None], masked_lm: Any, tmp_path: Path
) -> None:
    state = state_of(masked_lm)
    change(state)
    path = directory(masked_lm, tmp_path / "m", state)
    message = refused(path)
    options = {kind: re.findall("'(.*?)'", found) for kind, found in re.findall(r"(allow_\w+)=\[([^]]*)\]", message)}
    assert options
    model = registry.load_model(path, **options)
    report = model.load_report
    assert report.missing or report.unexpected
    assert model.bert.embeddings.word_embeddings.weight.equal(masked_lm.bert.embeddings.word_embeddings.weight)


# --- The backbone -----------------------------------------------------------------------------------------------------


def test_the_whole_backbone_is_never_allowed_to_be_missing(classifier: Any, tmp_path: Path) -> None:
    everything = {"allow_missing": ["*"], "allow_unexpected": ["*"], "num_labels": 3}
    for state in (
        {"other": torch.ones(1)},
        {f"model.{name}": tensor for name, tensor in state_of(classifier).items()},
        {name: torch.ones(0) for name in state_of(classifier)},
    ):
        assert "missing in the file: bert.embeddings" in refused(
            directory(classifier, tmp_path / "m", state), **everything
        )


@pytest.mark.parametrize("size", [0, 1])
def test_tensors_that_zero3_left_empty_are_called_that(size: int, classifier: Any, tmp_path: Path) -> None:
    state = {name: torch.zeros(size) for name in state_of(classifier)}
    message = refused(directory(classifier, tmp_path / "m", state))
    assert "ZeRO-3" in message
    assert "zero_to_fp32.py" in message
    assert patterns_in(message) == []


def test_tensors_without_values_are_named_in_a_state_dict(classifier: Any, tmp_path: Path) -> None:
    path = directory(classifier, tmp_path / "m")
    state = {name: tensor.to("meta") for name, tensor in state_of(classifier).items()}
    with pytest.raises(WeightsMismatchError, match="none on the meta device"):
        BertForSequenceClassification.from_pretrained(path, state_dict=state)


# --- What is given by hand --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["state_dict", "model", "module", "net"])
def test_a_state_dict_is_opened_as_a_file_is(key: str, classifier: Any, tmp_path: Path) -> None:
    path = directory(classifier, tmp_path / "m")
    state = {key: {f"_orig_mod.{name}": tensor for name, tensor in state_of(classifier).items()}, "epoch": 3}
    model = BertForSequenceClassification.from_pretrained(path, state_dict=state)
    assert model.classifier.weight.equal(classifier.classifier.weight)
    assert model.load_report.wrappers == ("_orig_mod.",)


def test_a_state_dict_under_another_key_is_named_as_in_a_file(classifier: Any, tmp_path: Path) -> None:
    path = directory(classifier, tmp_path / "m", {"ema": state_of(classifier)})
    given = {"ema": state_of(classifier), "epoch": 3}
    for options in ({}, {"state_dict": given}):
        with pytest.raises(WeightsMismatchError, match=r"holds a dict under 'ema'(.|\n)*\['ema'\]"):
            BertForSequenceClassification.from_pretrained(path, **options)


def test_the_averages_of_torch_load_without_their_counter(classifier: Any, tmp_path: Path) -> None:
    state = torch.optim.swa_utils.AveragedModel(classifier).state_dict()
    assert "n_averaged" in state
    model = registry.load_model(directory(classifier, tmp_path / "m", state))
    assert (model.load_report.wrappers, model.load_report.dropped) == (("module.",), ("n_averaged",))
    assert model.classifier.weight.equal(classifier.classifier.weight)


def test_a_checkpoint_of_lightning_beside_a_configuration_is_named(classifier: Any, tmp_path: Path) -> None:
    path = directory(classifier, tmp_path / "m")
    (path / "pytorch_model.bin").rename(path / "epoch=1-step=10.ckpt")
    with pytest.raises(
        MissingFileError,
        match=r"epoch=1-step=10\.ckpt is a checkpoint of a training program.*\n?.*state_dict=torch\.load",
    ):
        registry.load_model(path)


# --- Layers that a library changed ------------------------------------------------------------------------------------


def renamed(layer: str, *names: str) -> Callable[[State], State]:
    """A change of a state dict: the weight of one linear layer under other names, each with a tensor of its size."""

    def change(state: State) -> State:
        weight = state.pop(f"{layer}.weight")
        return {**state, **{f"{layer}.{name}": weight.clone() for name in names}}

    return change


QUERY = "bert.encoder.layer.0.attention.self.query"
REWORKED: dict[str, tuple[Callable[[State], State], str, str]] = {
    "an adapter of PEFT, injected": (
        renamed(QUERY, "base_layer.weight", "lora_A.default.weight", "lora_B.default.weight"),
        "an adapter of PEFT",
        "merge_and_unload",
    ),
    "loralib, next to the weight": (
        lambda state: {**state, f"{QUERY}.lora_A": torch.ones(2, 24), f"{QUERY}.lora_B": torch.ones(24, 2)},
        "an adapter of PEFT",
        "merge_and_unload",
    ),
    "the state dict of a PeftModel": (
        lambda state: (
            {
                f"base_model.model.{name.replace('query.', 'query.base_layer.')}": tensor
                for name, tensor in state.items()
            }
            | {f"base_model.model.{QUERY}.lora_A.default.weight": torch.ones(2, 24)}
        ),
        "an adapter of PEFT",
        "merge_and_unload",
    ),
    "8 bits of bitsandbytes": (
        lambda state: {**state, f"{QUERY}.SCB": torch.ones(24), f"{QUERY}.weight_format": torch.ones(1)},
        "quantized by bitsandbytes",
        "dequantize()",
    ),
    "4 bits of bitsandbytes": (
        lambda state: {**state, f"{QUERY}.weight.absmax": torch.ones(3), f"{QUERY}.weight.quant_map": torch.ones(16)},
        "quantized by bitsandbytes",
        "dequantize()",
    ),
    "GPTQ": (renamed(QUERY, "qweight", "qzeros", "scales", "g_idx"), "GPTQ, AWQ", "floating-point"),
    "pruned": (renamed(QUERY, "weight_orig", "weight_mask"), "torch.nn.utils.prune", "prune.remove"),
    "weight normalization": (
        renamed(QUERY, "parametrizations.weight.original0", "parametrizations.weight.original1"),
        "parametrized weights",
        "remove_parametrizations",
    ),
    "older weight normalization": (renamed(QUERY, "weight_g", "weight_v"), "parametrized", "remove_parametrizations"),
    "flat parameters of FSDP": (lambda state: {"_flat_param": torch.ones(9)}, "flat parameters of FSDP", "FULL_STATE"),
}


@pytest.mark.parametrize("kind", REWORKED)
def test_changed_layers_are_called_that_and_neither_dropped_nor_initialized(
    kind: str, classifier: Any, tmp_path: Path
) -> None:
    change, what, remedy = REWORKED[kind]
    message = refused(directory(classifier, tmp_path / "m", change(state_of(classifier))))
    assert what in message
    assert remedy in message
    assert "allow_" not in message


def test_an_own_head_is_none_of_them(classifier: Any, tmp_path: Path) -> None:
    state = state_of(classifier) | {"crf.transitions": torch.ones(3, 3), "fc.attention_mask": torch.ones(2)}
    assert patterns_in(refused(directory(classifier, tmp_path / "m", state))) == ["crf.*", "fc.*"]


# --- A number among tensors -------------------------------------------------------------------------------------------


def test_the_tensors_next_to_an_epoch_are_loaded_as_the_error_says(classifier: Any, tmp_path: Path) -> None:
    path = directory(classifier, tmp_path / "m", {**state_of(classifier), "epoch": 3})
    message = refused(path)
    expression = re.search(r"state_dict=(\{.*?\})\. ", message)
    assert expression is not None
    state = eval(expression[1], {"torch": torch, "path": path / "pytorch_model.bin"})  # the words of the error
    loaded = BertForSequenceClassification.from_pretrained(path, state_dict=state)
    assert loaded.classifier.weight.equal(classifier.classifier.weight)
