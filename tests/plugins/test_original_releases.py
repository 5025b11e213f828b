"""First releases, in TensorFlow's and numpy's files, load as pytorch-pretrained-bert converted them."""

import json
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import registry
from registry import discovery, zoo
from registry.errors import CorruptWeightsError, MissingFileError, WeightsError, WeightsMismatchError
from registry.records import ModelSpec

IDS = torch.randint(0, 13, (2, 6), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def pretrained_bert(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """pytorch-pretrained-bert, whose converters get a TensorFlow that holds just the arrays which a test sets."""
    arrays: dict[str, Any] = {}
    train = SimpleNamespace(
        list_variables=lambda _path: [(name, list(array.shape)) for name, array in arrays.items()],
        load_variable=lambda _path, name: arrays[name].copy(),
    )
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(train=train))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package: ModuleType = pytest.importorskip("pytorch_pretrained_bert")
        yield SimpleNamespace(package=package, arrays=arrays)


def same_numbers(model: Any, expected: Mapping[str, Tensor]) -> None:
    """Every parameter of the model has the value that the reference has under its name."""
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


# --- BERT -------------------------------------------------------------------------------------------------------------


def bert(pretrained_bert: Any, written: ModuleType) -> Any:
    """Google's release as pytorch-pretrained-bert converts it."""
    pretrained_bert.arrays.update(written.arrays(written.bert_pretraining()))
    sizes = dict(written.BERT)
    config = pretrained_bert.package.BertConfig(sizes.pop("vocab_size"), **sizes)
    model = pretrained_bert.package.BertForPreTraining(config)
    pretrained_bert.package.load_tf_weights_in_bert(model, "any")
    return model.eval()


@pytest.mark.parametrize("path", ["", "/bert_model.ckpt", "/bert_model.ckpt.index"])
@pytest.mark.parametrize("kind", [str, Path, "./{}".format])
def test_a_folder_a_prefix_and_an_index_name_a_checkpoint(
    pretrained_bert: Any, written: ModuleType, tensorflow: Path, path: str, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tensorflow)
    model = zoo.BertForPreTraining.from_pretrained(kind(f"bert_pretraining{path}"), from_tf=True)
    same_numbers(model, bert(pretrained_bert, written).state_dict())


@pytest.mark.parametrize(
    "name",
    ["BertModel", "BertForPreTraining", "BertForMaskedLM", "BertForNextSentencePrediction"]
    + [
        "BertForSequenceClassification",
        "BertForTokenClassification",
        "BertForMultipleChoice",
        "BertForQuestionAnswering",
    ],
)
def test_googles_release_loads_into_every_class_and_computes_the_same(
    pretrained_bert: Any, written: ModuleType, tensorflow: Path, name: str
) -> None:
    reference = bert(pretrained_bert, written)
    model = getattr(zoo, name).from_pretrained(tensorflow / "bert_pretraining", from_tf=True)
    trunk = getattr(model, "bert", model)
    with torch.inference_mode():
        hidden = trunk(IDS).last_hidden_state
        assert_close(hidden, reference.bert(IDS, output_all_encoded_layers=False)[0], atol=1e-5, rtol=0)
        if name == "BertForPreTraining":
            words, order = reference(IDS)
            output = model(IDS)
            assert_close(output.prediction_logits, words, atol=1e-5, rtol=0)
            assert_close(output.seq_relationship_logits, order, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("folder", "name", "head", "options", "slot"),
    [
        ("bert_squad", "BertForQuestionAnswering", {"qa_outputs": "cls/squad/"}, {}, "adam_m"),
        ("bert_classifier", "BertForSequenceClassification", {"classifier": ""}, {"num_labels": 3}, "Adam_1"),
    ],
)
def test_fine_tuned_checkpoints_load_with_their_heads(
    written: ModuleType,
    tensorflow: Path,
    folder: str,
    name: str,
    head: dict[str, str],
    options: dict[str, Any],
    slot: str,
) -> None:
    model = getattr(zoo, name).from_pretrained(tensorflow / folder, from_tf=True, **options)
    shapes = getattr(written, folder)()
    for ours, theirs in head.items():
        part = model.get_submodule(ours)
        for mine, other in (("weight", "output_weights"), ("bias", "output_bias")):
            expected = written.value(theirs + other, shapes[theirs + other])
            assert np.array_equal(getattr(part, mine).detach().numpy(), expected)
    report = model.load_report
    assert report.new == report.missing == report.unexpected == ()
    assert {"global_step", f"bert/pooler/dense/bias/{slot}"} <= set(report.dropped)


def test_names_that_no_table_has_are_listed(tensorflow: Path, tmp_path: Path) -> None:
    shutil.copytree(tensorflow / "gpt2", tmp_path / "m")
    (tmp_path / "m" / "config.json").unlink()
    shutil.copy(tensorflow / "bert_squad" / "bert_config.json", tmp_path / "m" / "config.json")
    with pytest.raises(WeightsMismatchError, match=r"model/h0/attn/c_attn/b"):
        zoo.BertModel.from_pretrained(tmp_path / "m", from_tf=True)


def test_from_tf_passes_over_what_else_lies_there(tensorflow: Path, tmp_path: Path, written: ModuleType) -> None:
    folder = Path(shutil.copytree(tensorflow / "bert_pretraining", tmp_path / "m"))
    cls = zoo.BertModel
    other = cls.from_pretrained(folder)
    torch.nn.init.ones_(other.pooler.dense.bias)
    torch.save(other.state_dict(), folder / "pytorch_model.bin")
    assert cls.from_pretrained(folder).pooler.dense.bias.eq(1).all()
    assert "bert_model.ckpt.index" in cls.from_pretrained(folder).load_report.ignored_files
    for path in (folder, folder / "bert_model.ckpt"):
        bias = cls.from_pretrained(path, from_tf=True).pooler.dense.bias
        assert np.array_equal(bias.detach().numpy(), written.value("bert/pooler/dense/bias", (4,)))
    bias = cls.from_pretrained(folder / "bert_model.ckpt").pooler.dense.bias
    assert not bias.eq(1).all(), "a prefix names the checkpoint, with or without from_tf"


@pytest.mark.filterwarnings("ignore::registry.errors.UntrainedWarning")  # releases lack heads of later classes
@pytest.mark.parametrize(
    ("architecture", "release"),
    [
        ("bert", "bert_pretraining/bert_model.ckpt"),
        ("gpt2", "gpt2/model.ckpt"),
        ("transfo_xl", "transfo_xl/model.ckpt"),
    ],
)
def test_every_class_takes_a_folder_a_prefix_and_an_index(tensorflow: Path, architecture: str, release: str) -> None:
    classes = [spec for spec in discovery.every(ModelSpec) if spec.architecture == architecture]
    assert len(classes) >= 3
    prefix = tensorflow / release
    for cls in map(discovery.load_class, classes):
        first, *others = [
            cls.from_pretrained(path, from_tf=True)
            for path in (prefix.parent, prefix, prefix.with_name(f"{prefix.name}.index"))
        ]
        loaded = first.load_report.loaded
        assert loaded
        for other in others:
            assert other.load_report.loaded == loaded
            assert all(torch.equal(other.state_dict()[name], first.state_dict()[name]) for name in loaded)


@pytest.mark.parametrize("options", [{}, {"from_tf": True}])
def test_the_older_format_is_refused_by_its_path_and_by_its_folder(
    tensorflow: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    folder = Path(shutil.copytree(tensorflow / "version_1", tmp_path / "m"))
    shutil.copy(tensorflow / "bert_squad" / "bert_config.json", folder)
    for path in (folder, folder / "model.ckpt"):
        with pytest.raises(WeightsError, match=r"format V1[^~]*SaverDef\.V2"):
            zoo.BertModel.from_pretrained(path, **options)


def test_a_saved_model_is_refused_with_the_prefix_that_loads(tensorflow: Path, tmp_path: Path) -> None:
    for file in (tensorflow / "bert_squad").iterdir():  # what is in `variables` is a checkpoint
        (tmp_path / "variables").mkdir(exist_ok=True)
        shutil.copy(file, tmp_path / "variables" / file.name.replace("model.ckpt-7", "variables"))
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    shutil.copy(tensorflow / "bert_squad" / "bert_config.json", tmp_path)
    with pytest.raises(WeightsError, match="SavedModel") as caught:
        zoo.BertModel.from_pretrained(tmp_path, from_tf=True)
    named = re.search(r"their prefix, (.*)\.$", str(caught.value), re.MULTILINE)
    assert named is not None
    assert zoo.BertModel.from_pretrained(named[1], from_tf=True).load_report.missing == ()


def test_a_prefix_that_leads_nowhere_is_refused(tensorflow: Path) -> None:
    with pytest.raises(MissingFileError):
        zoo.BertModel.from_pretrained(tensorflow / "bert_squad" / "model.ckpt-8", from_tf=True)


# --- GPT-2 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["GPT2Model", "GPT2LMHeadModel", "GPT2DoubleHeadsModel"])
def test_openais_gpt2_loads_into_every_class_and_computes_the_same(
    pretrained_bert: Any, written: ModuleType, tensorflow: Path, name: str
) -> None:
    pretrained_bert.arrays.update(written.arrays(written.gpt2()))
    sizes = dict(written.GPT2)
    config = pretrained_bert.package.GPT2Config(sizes.pop("vocab_size"), **sizes)
    reference = pretrained_bert.package.GPT2Model(config)
    pretrained_bert.package.load_tf_weights_in_gpt2(reference, "any")
    model = getattr(zoo, name).from_pretrained(tensorflow / "gpt2", from_tf=True)
    trunk = getattr(model, "transformer", model)
    same_numbers(trunk, reference.state_dict())
    with torch.inference_mode():
        assert_close(trunk(IDS).last_hidden_state, reference.eval()(IDS)[0], atol=1e-5, rtol=0)


# --- Transformer-XL ---------------------------------------------------------------------------------------------------


def test_the_authors_transformer_xl_loads_as_pytorch_pretrained_bert_converts_it(
    pretrained_bert: Any, written: ModuleType, tensorflow: Path
) -> None:
    pretrained_bert.arrays.update(written.arrays(written.with_tf_adam(written.transfo_xl())))
    sizes = {key: value for key, value in written.TRANSFO_XL.items() if key != "tie_projs"}
    config = pretrained_bert.package.TransfoXLConfig(sizes.pop("n_token"), **sizes)
    reference = pretrained_bert.package.TransfoXLLMHeadModel(config)
    pretrained_bert.package.load_tf_weights_in_transfo_xl(reference, config, "any")
    model = zoo.TransfoXLLMHeadModel.from_pretrained(tensorflow / "transfo_xl", from_tf=True)
    report = model.load_report
    assert report.new == report.missing == report.unexpected == ()
    reference.tie_weights()
    same_numbers(model, reference.state_dict())


# --- GPT --------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::registry.errors.UntrainedWarning")  # releases lack heads of later classes
@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("name", ["OpenAIGPTModel", "OpenAIGPTLMHeadModel", "OpenAIGPTDoubleHeadsModel"])
@pytest.mark.parametrize("options", [{}, {"from_tf": True}])
def test_openais_arrays_load_with_and_without_their_names(
    written: ModuleType, gpt_release: Callable[[bool], Path], name: str, names: bool, options: dict[str, Any]
) -> None:
    model = getattr(zoo, name).from_pretrained(gpt_release(names), **options)
    state = getattr(model, "transformer", model).state_dict()
    for theirs, shape in written.gpt():
        kind, _, part = theirs.removesuffix(":0").removeprefix("model/").rpartition("/")
        ours = f"{part}_embed.weight" if kind == "we:0" else ""
        ours = ours or kind.replace("h", "h.", 1).replace("/", ".") + (".bias" if part == "b" else ".weight")
        assert np.array_equal(state[ours].numpy(), written.value(theirs, shape).squeeze()), ours
    assert len(state) == len(list(written.gpt()))


def test_a_list_of_names_that_is_too_short_is_refused(gpt_release: Callable[[bool], Path]) -> None:
    folder = gpt_release(True)
    path = folder / "parameters_names.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:-5]))
    with pytest.raises(CorruptWeightsError, match="name"):
        registry.load_model(folder)
