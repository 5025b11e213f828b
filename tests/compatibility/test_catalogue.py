"""Every row of docs/compatibility.md: the files are made, and what happens is what the page says."""

import argparse
import json
import os
import re
import shutil
import tarfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor

import registry
from registry import errors
from registry.errors import RegistryWarning
from registry.loading.model import Model
from registry.zoo import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
)

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "compatibility.md"
FIXTURES = ROOT / "tests" / "fixtures"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "sat", "on", "a", "mat", "."]
WORDS += [f"w{number}" for number in range(51)]
IDS = torch.tensor([[2, 5, 6, 3], [2, 8, 9, 3]])
BERT = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
}
GPT2 = {"vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
QUERY = "bert.encoder.layer.0.attention.self.query"


# --- The page ---------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """A row of the page."""

    kind: str
    """What is there."""
    outcome: str
    """``loads``, ``loads, with a warning``, or the class of an error."""
    how: str
    """What is quoted is part of the message, the warning or the report."""


def rows() -> list[Row]:
    found = re.findall(r"^\| (.+?) \| (.+?) \| (.*?) ?\|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return [Row(*cells) for cells in found if cells[1] != "outcome" and not set(cells[0]) <= {"-", "|"}]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.kind[:60])
def test_what_the_page_says_happens(row: Row, theirs: "Theirs") -> None:
    assert row.kind in CASES, "the page has a row without a test"
    case = CASES[row.kind]
    if isinstance(case, str):
        path, _, name = case.partition("::")
        assert re.search(rf"^def {name}\(", (ROOT / "tests" / path).read_text("utf-8"), re.MULTILINE), case
        return
    caught: list[str] = []
    if row.outcome.startswith("loads"):
        with warnings.catch_warnings(record=True) as recorded:
            warnings.simplefilter("always")
            found, expected = case(theirs)
        caught = [str(each.message) for each in recorded if issubclass(each.category, RegistryWarning)]
        assert bool(caught) == (row.outcome != "loads"), caught
        if expected is not None:
            torch.testing.assert_close(logits(found), expected, atol=2e-6, rtol=1e-5)
        said = "\n".join([*caught, str(getattr(found, "load_report", ""))])
    else:
        kind: type[Exception] = getattr(errors, row.outcome.strip("`"))
        with pytest.raises(kind) as raised:
            case(theirs)
        assert type(raised.value) is kind
        said = str(raised.value)
    for words in re.findall(r'"([^"]+)"', row.how):
        assert words in said


def test_no_case_is_missing_on_the_page() -> None:
    kinds = [row.kind for row in rows()]
    assert sorted(kinds) == sorted(CASES)


# --- Models of transformers -------------------------------------------------------------------------------------------


def logits(model: Any) -> Tensor:
    with torch.inference_mode():
        found = model(IDS)
    return found.logits if hasattr(found, "logits") else found.last_hidden_state


class Theirs:
    """A directory that transformers saved, and what its model computes."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def saved(self, name: str = "BertForSequenceClassification", **changes: Any) -> tuple[Path, Tensor]:
        """A directory of a new model, with a vocabulary, and its logits."""
        torch.manual_seed(0)
        is_bert = name.startswith("Bert")
        config = (
            transformers.BertConfig(**{**BERT, **changes})
            if is_bert
            else transformers.GPT2Config(**{**GPT2, **changes})
        )
        model = getattr(transformers, name)(config).eval()
        path = self.home / "m"
        model.save_pretrained(path)
        if is_bert:
            (path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
        return path, logits(model)

    def with_state(self, change: Callable[[dict[str, Tensor]], Any], **keys: Any) -> tuple[Path, Tensor]:
        """The same, with a pytorch_model.bin whose content is changed."""
        path, expected = self.saved()
        state = BertForSequenceClassification.from_pretrained(path).state_dict()
        (path / "model.safetensors").unlink()
        torch.save(change(dict(state)), path / "pytorch_model.bin", **keys)
        return path, expected

    def configured(
        self, name: str = "BertForSequenceClassification", drop: tuple[str, ...] = (), **keys: Any
    ) -> tuple[Path, Tensor]:
        """The same, with other keys in its configuration."""
        path, expected = self.saved(name)
        found = json.loads((path / "config.json").read_text())
        left = {key: value for key, value in found.items() if key not in drop}
        (path / "config.json").write_text(json.dumps({**left, **keys}))
        return path, expected

    def with_files(self, *names: str, content: bytes = b"x", keep: tuple[str, ...] = ("config.json",)) -> Path:
        """A directory with files of other libraries, and of a model only those to keep."""
        path, _ = self.saved()
        for file in list(path.iterdir()):
            if file.name not in keep:
                file.unlink()
        for name in names:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
        return path


@pytest.fixture
def theirs(tmp_path: Path) -> Theirs:
    return Theirs(tmp_path)


Case = Callable[[Theirs], Any]


def loads(made: Callable[[Theirs], tuple[Path, Tensor]], **options: Any) -> Case:
    """Load the directory that is made; it computes the same."""

    def case(theirs: Theirs) -> tuple[Any, Tensor]:
        path, expected = made(theirs)
        return registry.load_model(path, **options), expected

    return case


def opens(made: Callable[[Theirs], Path], **options: Any) -> Case:
    """Load the directory that is made; what it computes is nothing to compare with."""
    return lambda theirs: (registry.load_model(made(theirs), **options), None)


def state(change: Callable[[dict[str, Tensor]], Any], **keys: Any) -> Case:
    """Load a pytorch_model.bin whose content is changed."""
    return loads(lambda theirs: theirs.with_state(change, **keys))


def configured(*arguments: Any, load: Mapping[str, Any] = {}, **keys: Any) -> Case:
    """Load a directory with other keys in its configuration."""
    return loads(lambda theirs: theirs.configured(*arguments, **keys), **load)


def others(*names: str, **options: Any) -> Case:
    """Load a directory with files of other libraries."""
    return opens(lambda theirs: theirs.with_files(*names, **options))


# --- Weights ----------------------------------------------------------------------------------------------------------


def sharded(theirs: Theirs) -> tuple[Path, Tensor]:
    path, expected = theirs.saved()
    model = BertForSequenceClassification.from_pretrained(path)
    for format in ("torch", "safetensors"):
        shutil.rmtree(theirs.home / "shards", ignore_errors=True)
        registry.save(model, theirs.home / "shards", format=format, max_shard_size=9000)  # type: ignore[arg-type]
        (theirs.home / "shards" / "registry.json").unlink()
        assert len(list((theirs.home / "shards").glob("*-of-*"))) > 1
        if format == "torch":
            torch.testing.assert_close(logits(registry.load_model(theirs.home / "shards")), expected)
    return theirs.home / "shards", expected


def views(found: dict[str, Tensor]) -> dict[str, Tensor]:
    flat = torch.cat([tensor.flatten() for tensor in found.values()])
    made, start = {}, 0
    for name, tensor in found.items():
        made[name] = flat[start : start + tensor.numel()].view(tensor.shape)
        start += tensor.numel()
    return {**made, f"{QUERY}.weight": made[f"{QUERY}.weight"].t().contiguous().t()}


def wrapped(found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        f"_forward_module._orig_mod.module.{name.replace('.layer.', '.layer._fsdp_wrapped_module.')}": t
        for name, t in found.items()
    }


def half(theirs: Theirs) -> tuple[Any, Tensor]:
    path, _ = theirs.with_state(lambda found: {name: tensor.bfloat16() for name, tensor in found.items()})
    model = registry.load_model(path)
    assert model.dtype == torch.float32 if hasattr(model, "dtype") else True
    reference = transformers.BertForSequenceClassification.from_pretrained(path, dtype=torch.float32).eval()
    return model, logits(reference)


def several(theirs: Theirs) -> Any:
    return state(lambda found: {"state_dict": found, "state_dict_ema": found})(theirs)


def each_fails(*cases: Case) -> Case:
    """All of the cases fail with one class of errors; the message of the last is compared."""

    def case(theirs: Theirs) -> Any:
        *first, last = [_error_of(each, Theirs(theirs.home / str(number))) for number, each in enumerate(cases)]
        assert {type(problem) for problem in first} == {type(last)}
        raise last

    return case


def _error_of(case: Case, theirs: Theirs) -> errors.RegistryError:
    with pytest.raises(errors.RegistryError) as raised:
        case(theirs)
    return raised.value


def layers(*names: str) -> Case:
    """A linear layer with tensors of other names next to its own, or in their place."""

    def change(found: dict[str, Tensor]) -> dict[str, Tensor]:
        weight = found.pop(f"{QUERY}.weight")
        return {**found, **{f"{QUERY}.{name}": weight.clone() for name in names}}

    return state(change)


def tensorflow(theirs: Theirs) -> tuple[Any, None]:
    for folder, cls in (("gpt2", "GPT2LMHeadModel"), ("transfo_xl", "TransfoXLLMHeadModel")):
        assert getattr(registry.zoo, cls).from_pretrained(FIXTURES / "tensorflow" / folder, from_tf=True)
    path = FIXTURES / "tensorflow" / "bert_pretraining"
    return registry.zoo.BertForPreTraining.from_pretrained(path, from_tf=True), None


# --- Heads ------------------------------------------------------------------------------------------------------------


def headless(theirs: Theirs) -> Path:
    path, _ = theirs.with_state(lambda found: {n: t for n, t in found.items() if not n.startswith("classifier")})
    return path


def three_classes(theirs: Theirs) -> Path:
    path, _ = theirs.saved(num_labels=3)
    keys = json.loads((path / "config.json").read_text())
    left = {key: value for key, value in keys.items() if key not in ("id2label", "label2id")}
    (path / "config.json").write_text(json.dumps(left))
    return path


def masked(theirs: Theirs, change: Callable[[dict[str, Tensor]], Any], **keys: Any) -> Path:
    path, _ = theirs.configured("BertForMaskedLM", **keys)
    found = transformers.BertForMaskedLM.from_pretrained(path, vocab_size=BERT["vocab_size"]).state_dict()
    (path / "model.safetensors").unlink()
    torch.save(change({name: tensor.clone() for name, tensor in found.items()}), path / "pytorch_model.bin")
    return path


def enlarged(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """With two rows more in the embedding and the output layer."""
    grown = {}
    for name, tensor in found.items():
        is_grown = "word_embeddings" in name or "decoder" in name or name == "cls.predictions.bias"
        grown[name] = torch.cat([tensor, tensor[:2]]) if is_grown else tensor
    return grown


def untied(found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**found, "cls.predictions.decoder.weight": found["cls.predictions.decoder.weight"] + 1}


def untrained(theirs: Theirs) -> tuple[Any, None]:
    path = registry.save(BertForSequenceClassification(BertConfig(**BERT)), theirs.home / "new")
    return registry.load_model(path), None


# --- Directories ------------------------------------------------------------------------------------------------------


def trainer(theirs: Theirs) -> tuple[Path, Tensor]:
    path, expected = theirs.saved()
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "trainer_state.json"):
        (path / name).write_bytes(b"no weights")
    return path, expected


def beside(name: str, content: str = "{}", *, weights: str | None = None) -> Callable[[Theirs], tuple[Path, Tensor]]:
    def made(theirs: Theirs) -> tuple[Path, Tensor]:
        path, expected = theirs.saved()
        (path / name).write_text(content)
        if weights is not None:
            shutil.copy(path / "model.safetensors", path / weights)
        return path, expected

    return made


def over_ours(theirs: Theirs) -> tuple[Path, Tensor]:
    path = registry.save(BertForSequenceClassification(BertConfig(**BERT)), theirs.home / "m")
    torch.manual_seed(1)
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**BERT)).eval()
    for file in path.glob("model*"):
        file.unlink()  # as transformers does with shards
    model.save_pretrained(path, max_shard_size="9KB")
    return path, logits(model)


def newer(theirs: Theirs) -> Any:
    path = registry.save(BertForSequenceClassification(BertConfig(**BERT)), theirs.home / "m")
    torch.save({}, path / "pytorch_model.bin")
    later = (path / "registry.json").stat().st_mtime + 5
    os.utime(path / "pytorch_model.bin", (later, later))
    return registry.load_model(path)


def nested(name: str, *beside: str) -> Callable[[Theirs], Path]:
    def made(theirs: Theirs) -> Path:
        path, _ = theirs.saved()
        shutil.move(path, theirs.home / "top" / name)
        for file in beside:
            (theirs.home / "top" / file).write_text("[]")
        return theirs.home / "top"

    return made


def adapter(theirs: Theirs, **keys: Any) -> tuple[Path, Tensor]:
    """A LoRA adapter of a matrix, and what the model of transformers computes with their product."""
    base, _ = theirs.saved()
    model = transformers.BertForSequenceClassification.from_pretrained(base).eval()
    layer = "bert.encoder.layer.0.attention.self.query"
    weight = model.get_submodule(layer).weight
    a, b = torch.randn(2, weight.shape[1]), torch.randn(weight.shape[0], 2)
    path = theirs.home / "adapter"
    path.mkdir(parents=True)
    tensors = {f"base_model.model.{layer}.lora_{side}.weight": value for side, value in (("A", a), ("B", b))}
    save_file(tensors, path / "adapter_model.safetensors")
    settings = {"base_model_name_or_path": str(base), "peft_type": "LORA", "task_type": "SEQ_CLS", "r": 2, **keys}
    (path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 4, **settings}))
    with torch.no_grad():
        weight += 2 * (b @ a)
    return path, logits(model)


def adapted(**keys: Any) -> Case:
    """Load an adapter whose configuration has other keys."""
    return loads(lambda theirs: adapter(theirs, **keys))


def saved_model(theirs: Theirs) -> Path:
    return theirs.with_files("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")


def empty_archive(theirs: Theirs) -> Path:
    with tarfile.open(theirs.home / "m.tar.gz", "w:gz"):
        pass
    return theirs.home / "m.tar.gz"


# --- Tokenizers and configurations ------------------------------------------------------------------------------------

TEXT = "The cats sat on a mat."


def same_ids(theirs: Theirs, prepare: Callable[[Path, Any], None], text: str = TEXT) -> tuple[Any, None]:
    path, _ = theirs.saved()
    reference = transformers.BertTokenizerFast(vocab=str(path / "vocab.txt"))
    prepare(path, reference)
    assert registry.load_tokenizer(path)(text)["input_ids"] == reference(text)["input_ids"]
    return registry.load_model(path), None


def as_transformers_5(path: Path, reference: Any) -> None:
    (path / "vocab.txt").unlink()
    reference.save_pretrained(path)
    assert not (path / "vocab.txt").exists()


ADDED = [
    "covid",
    transformers.AddedToken("mat", single_word=True),
    transformers.AddedToken("<e>", lstrip=True, rstrip=True, normalized=False),
]


def added_tokens(theirs: Theirs) -> tuple[Any, None]:
    def prepare(path: Path, reference: Any) -> None:
        reference.add_special_tokens({"additional_special_tokens": ["[E1]"]})
        reference.add_tokens(ADDED)
        as_transformers_5(path, reference)

    path, _ = theirs.saved()
    reference = transformers.BertTokenizerFast(vocab=str(path / "vocab.txt"))
    prepare(path, reference)
    tokenizer = registry.load_tokenizer(path)
    for text in ("The COVID [E1] cats", "mats on a mat <e> sat", "covidcats<e>Covid"):
        assert tokenizer(text)["input_ids"] == reference(text)["input_ids"]
    return tokenizer, None


def with_class(path: Path, _reference: Any) -> None:
    (path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertJapaneseTokenizer"}')


def without_words(theirs: Theirs) -> Any:
    path, _ = theirs.saved()
    (path / "vocab.txt").unlink()
    return registry.load(path).tokenizer


def tokenizer_alone(theirs: Theirs) -> tuple[Any, None]:
    path, _ = theirs.configured(is_decoder=True, hidden_act="unheard of")
    return registry.load_tokenizer(path), None


def activations(theirs: Theirs) -> tuple[Any, Tensor]:
    path, expected = theirs.configured(hidden_act="gelu_python")
    return registry.load_model(path), expected


# --- Keywords and saving ----------------------------------------------------------------------------------------------

ELSEWHERE = ("local_files_only", "device_map", "token", "trust_remote_code", "subfolder", "torch_dtype")


def keywords(theirs: Theirs) -> Any:
    path, _ = theirs.saved()
    for keyword in ELSEWHERE[:-1]:
        with pytest.raises(errors.UnknownOptionError, match=f"{keyword}= is a keyword of another library"):
            registry.load(path, **{keyword: "x"})
    return registry.load(path, **{ELSEWHERE[-1]: "float16"})


def generate(_theirs: Theirs) -> Any:
    return GPT2LMHeadModel(GPT2Config(**GPT2)).generate(IDS, max_new_tokens=1, do_sample=True)


def halved(theirs: Theirs) -> tuple[Any, None]:
    path, _ = theirs.saved()
    model = registry.load_model(path, dtype="float16")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float16}
    return model, None


def save(change: Callable[[Model], object]) -> Case:
    def case(theirs: Theirs) -> Any:
        model = BertModel(BertConfig(**BERT))
        change(model)
        return registry.save(model, theirs.home / "saved")

    return case


def replace(value: Tensor) -> Callable[[Model], object]:
    return lambda model: setattr(
        model.get_submodule("encoder.layer.0.output.dense"), "weight", torch.nn.Parameter(value, requires_grad=False)
    )


def unwrapped(theirs: Theirs) -> tuple[Any, Tensor]:
    path, expected = theirs.saved()
    model = registry.load_model(path)
    for number, wrap in enumerate((torch.nn.DataParallel, torch.compile)):
        found = registry.load_model(registry.save(wrap(model), theirs.home / f"w{number}"))
        torch.testing.assert_close(logits(found), expected, atol=2e-6, rtol=1e-5)
    return found, expected


# --- The cases --------------------------------------------------------------------------------------------------------

CASES: dict[str, Case | str] = {
    # weights
    "`model.safetensors` of transformers": loads(Theirs.saved),
    "`pytorch_model.bin` of transformers": state(lambda found: found),
    "shards with an index, in both formats": loads(sharded),
    "a file that torch before 1.6 wrote": state(lambda found: found, _use_new_zipfile_serialization=False),
    "`gamma` and `beta` as names of layer norms": state(
        lambda found: {
            n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
            for n, t in found.items()
        }
    ),
    "buffers such as `position_ids` next to the weights": state(
        lambda found: {**found, "bert.embeddings.position_ids": torch.arange(32).expand(1, -1)}
    ),
    "weights in half precision": half,
    "weights that are views of one flat buffer, or transposed": state(views),
    "names with what wrappers add, anywhere (`module.`, `_orig_mod.`, `_fsdp_wrapped_module.`)": state(wrapped),
    "weights under `state_dict`, `model`, `module`, `net` and others, next to an optimizer": state(
        lambda found: {"epoch": 3, "model": {"net": found}, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}
    ),
    "the averages of torch's `AveragedModel`, with their counter `n_averaged`": state(
        lambda found: {"n_averaged": torch.tensor(3), **{f"module.{name}": tensor for name, tensor in found.items()}}
    ),
    "a state dict under a key of your own": state(lambda found: {"ema": found}),
    "two state dicts in one file": several,
    "any other prefix before all names, such as Lightning's `model.`": state(
        lambda found: {f"model.{name}": tensor for name, tensor in found.items()}
    ),
    "names of PEFT in a file of weights (`lora_A`, `base_layer`, `base_model.model.`)": each_fails(
        state(
            lambda found: {f"base_model.model.{n}": t for n, t in found.items()} | {"base_model.model.lora_A.x": IDS}
        ),
        layers("base_layer.weight", "lora_A.default.weight", "lora_B.default.weight"),
    ),
    "weights quantized by bitsandbytes, GPTQ or AWQ": each_fails(
        layers("weight", "SCB"), layers("qweight", "qzeros", "scales", "g_idx")
    ),
    "weights with masks of pruning, or parametrized": each_fails(
        layers("parametrizations.weight.original0", "parametrizations.weight.original1"),
        layers("weight_orig", "weight_mask"),
    ),
    "empty tensors, which ZeRO-3 leaves": state(lambda found: {name: torch.ones(0) for name in found}),
    "a pickled model in place of its weights": state(lambda _found: torch.nn.Linear(2, 2)),
    "pickled objects next to the weights (`argparse.Namespace`, numpy scalars)": each_fails(
        state(lambda found: {"state_dict": found, "best": __import__("numpy").float64(0.5)}),
        state(lambda found: {"state_dict": found, "args": argparse.Namespace(lr=0.1)}),
    ),
    "TensorFlow checkpoints of BERT, GPT-2 and Transformer-XL": tensorflow,
    "OpenAI's arrays of GPT": (
        "plugins/test_original_releases.py::test_openais_arrays_load_with_and_without_their_names"
    ),
    # heads and sizes
    "a classifier without its classifier, no task named": opens(headless),
    'the same, with `task="sequence-classification"`': opens(headless, task="sequence-classification"),
    "the same, with `num_labels=3` as well": opens(headless, task="sequence-classification", num_labels=3),
    "a head of three classes, two in the configuration": opens(three_classes),
    "an enlarged embedding, its old size in the configuration": opens(lambda theirs: masked(theirs, enlarged)),
    "the same, with `vocab_size=66`": opens(lambda theirs: masked(theirs, enlarged), vocab_size=66),
    "three layers in the configuration, two in the file, or one": each_fails(
        configured(num_hidden_layers=1), configured(num_hidden_layers=3)
    ),
    "an output layer that differs from the embedding to which it is tied": opens(lambda theirs: masked(theirs, untied)),
    'the same, as `task="base"`': opens(lambda theirs: masked(theirs, untied), task="base"),
    "a layer of your own (`crf.transitions`)": state(
        lambda found: {**found, "crf.transitions": torch.ones(2, 2), "crf.start": torch.ones(2)}
    ),
    "a head of another library for the task `base`": opens(
        lambda theirs: theirs.with_state(lambda found: found)[0], task="base"
    ),
    "half a layer": state(lambda found: {n: t for n, t in found.items() if n != f"{QUERY}.bias"}),
    "a model that was saved before it was trained": untrained,
    # directories
    "a checkpoint of transformers' Trainer (`optimizer.pt`, `rng_state.pth`, ...)": loads(trainer),
    "averages (`model_ema.safetensors`) next to the weights": loads(
        beside("notes.txt", weights="model_ema.safetensors")
    ),
    "an adapter of PEFT next to its base model": loads(
        beside("adapter_config.json", weights="adapter_model.safetensors")
    ),
    "shards of transformers, written over a directory of ours": loads(over_ours),
    "a `.bin` that is newer than the manifest, next to safetensors": newer,
    "sentence-transformers, with the model at the top": loads(beside("modules.json", "[]")),
    "sentence-transformers before 2.0 (`0_Transformer`)": opens(nested("0_Transformer", "modules.json")),
    "a directory of checkpoints (`checkpoint-500`)": opens(nested("checkpoint-500")),
    "Keras alone (`tf_model.h5`)": others("tf_model.h5"),
    "Flax alone (`flax_model.msgpack`)": others("flax_model.msgpack"),
    "ONNX alone (`onnx/model.onnx`)": others("onnx/model.onnx"),
    "GGUF alone": others("model-q4_0.gguf", content=b"GGUF"),
    "OpenVINO, Rust, Core ML, TensorFlow Lite alone": each_fails(
        others("rust_model.ot"), others("weight.bin"), others("model.tflite"), others("openvino_model.xml")
    ),
    "weights under another name alone (`weights.safetensors`)": others("weights.safetensors"),
    "a download that did not end, or an archive, alone": each_fails(
        others("model.safetensors.incomplete"), others("model.zip")
    ),
    "a variant alone (`model.fp16.safetensors`)": others("model.fp16.safetensors"),
    "a `.ckpt` of Lightning alone": others("epoch=1-step=10.ckpt"),
    "DeepSpeed's partitions alone": others("global_step1/mp_rank_00_model_states.pt", "zero_to_fp32.py"),
    "shards of torch.distributed (FSDP) alone": others("pytorch_model_fsdp_0/__0_0.distcp"),
    "a LoRA adapter of PEFT alone": adapted(),
    "a LoRA adapter whose base model is not here": adapted(base_model_name_or_path="./gone"),
    "an adapter of another kind alone (IA3, DoRA, prompt tuning)": each_fails(
        adapted(peft_type="IA3"), adapted(use_dora=True), adapted(peft_type="PROMPT_TUNING")
    ),
    "a directory of transformers' Trainer without a configuration": others(
        "model.safetensors", "training_args.bin", keep=()
    ),
    "a file of another library under one of our names": others("pytorch_model.bin", content=b"\x89HDF\r\n\x1a\n"),
    "a page of an error, or a git-lfs pointer, in place of weights": each_fails(
        others("model.safetensors", content=b"<!DOCTYPE html>"),
        others("model.safetensors", content=b"version https://git-lfs.github.com/spec/v1\n"),
    ),
    "a SavedModel of TensorFlow": opens(saved_model),
    "an archive without a file": opens(empty_archive),
    # configurations
    "`num_labels` and `id2label` that contradict each other": configured(
        num_labels=2, id2label={"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
    ),
    "labels that are numbers": configured(id2label={"0": 0, "1": 1}),
    "labels whose numbers begin at 1, or have gaps": configured(id2label={"1": "a", "2": "b"}),
    "`pad_token_id` null or -1": configured(pad_token_id=None),
    "other spellings of an activation (`gelu_python`)": activations,
    "keys of older versions (`_num_labels`, `pruned_heads`, `output_past`)": configured(
        drop=("transformers_version", "dtype"), _num_labels=2, pruned_heads={}, output_past=True, finetuning_task=None
    ),
    "sizes under the names of another architecture (`hidden_size` for `n_embd`)": configured(
        "GPT2LMHeadModel", ("n_embd", "n_layer", "n_head"), hidden_size=16, num_hidden_layers=2, num_attention_heads=2
    ),
    "an unknown activation": configured(hidden_act="my_gelu"),
    'the same, with `hidden_act="gelu"`': configured(hidden_act="my_gelu", load={"hidden_act": "gelu"}),
    "a decoder (`is_decoder`), or relative positions": each_fails(
        configured(position_embedding_type="relative_key"), configured(is_decoder=True)
    ),
    "attention that is scaled by the layer": configured("GPT2LMHeadModel", scale_attn_by_inverse_layer_idx=True),
    "a tokenizer next to a configuration that no model here has": tokenizer_alone,
    # tokenizers
    "`vocab.txt`, with or without `tokenizer_config.json`": lambda theirs: same_ids(theirs, lambda *_: None),
    "`tokenizer.json` alone, as transformers 5 writes it": lambda theirs: same_ids(theirs, as_transformers_5),
    "tokens that were added, special and ordinary, whatever their flags": added_tokens,
    "the class of a tokenizer that splits otherwise (`BertJapaneseTokenizer`)": lambda t: same_ids(t, with_class),
    "no files of a tokenizer": without_words,
    # names
    "a page of the hub (`/tree/main`, `/blob/main/config.json`)": (
        "registry/sources/test_pages.py::test_a_page_of_the_hub_means_its_model"
    ),
    "a page of a directory in a repository": lambda _theirs: registry.resolve(
        "https://huggingface.co/org/name/tree/main/0_Transformer"
    ),
    '`" org/name"`, `datasets/org/name`, `models/org/name`': each_fails(
        lambda _theirs: registry.resolve("datasets/org/name"),
        lambda _theirs: registry.resolve("models/org/name"),
        lambda _theirs: registry.resolve(" org/name"),
    ),
    "`hf://org/name`, `s3://bucket/name`": each_fails(
        lambda _theirs: registry.resolve("s3://bucket/name"), lambda _theirs: registry.resolve("hf://org/name")
    ),
    "a repository without weights that are read here": (
        "registry/sources/test_explained.py::test_a_repository_of_another_library_is_called_that"
    ),
    "a gated repository": (
        "registry/download/test_secrets.py::test_a_gated_repository_says_what_to_accept_and_where_the_token_goes"
    ),
    "a mirror without the hub's API": (
        "registry/download/test_secrets.py::test_a_mirror_without_a_listing_names_the_variable_and_a_way"
    ),
    "the cache of the hub's client, with links or copies": (
        "registry/download/test_foreign.py::test_a_copy_is_verified_by_the_blob_of_which_it_is_one"
    ),
    "`HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`": (
        "registry/cache/test_environment.py::test_offline_no_socket_is_opened_and_the_error_says_what_is_missing"
    ),
    "a frozen or vendored application without metadata": (
        "registry/discovery/test_manager.py::test_an_application_without_metadata_is_told_how_to_take_them_along"
    ),
    # keywords
    "`torch_dtype=`, `local_files_only=`, `device_map=`, `token=` and others": keywords,
    "`do_sample=`, `max_length=` of `generate`": generate,
    "a keyword that nothing has": lambda _theirs: registry.load("org/nowhere", hidden_dropuot_prob=0.2),
    '`dtype="float16"`': halved,
    # saving
    "over a directory of transformers, in whatever format and shards": (
        "registry/saving/test_what_lay_there.py::test_what_was_saved_is_what_loads"
    ),
    "parameters divided over processes (`DTensor`)": (
        "registry/weights/test_writable.py::test_a_parameter_that_is_divided_over_processes_is_named"
    ),
    "parameters quantized by torchao, torch or bitsandbytes": save(replace(torch.zeros(16, 32, dtype=torch.int8))),
    "parameters that are sparse, nested, masked, fake or on the meta device": each_fails(
        save(replace(torch.eye(16, 32).to_sparse())), save(replace(torch.empty(16, 32, device="meta")))
    ),
    "inside `DataParallel`, `torch.compile`": unwrapped,
}
