"""Newly initialized parts: the caller's choice or an error, and remembered for as long as nothing trains them."""

import copy
import inspect
import json
import pickle
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from attrs import evolve

import registry
from registry.errors import UntrainedWarning, WeightsMismatchError
from registry.loading.untrained import fingerprint
from registry.zoo import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel

HEAD = ("classifier.weight", "classifier.bias")


def saved(model: Any, where: Path, **keys: Any) -> Path:
    """The directory of a model, as another library would leave it: without a manifest."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(where)
    (where / "registry.json").unlink()
    config = json.loads((where / "config.json").read_text())
    (where / "config.json").write_text(json.dumps({**config, **keys}))
    return where


@pytest.fixture
def encoder(tmp_path: Path, sizes: dict[str, int]) -> Path:
    """An encoder with its pooler, but no head, which calls itself a classifier."""
    model = BertModel(BertConfig(**sizes))
    return saved(model, tmp_path / "encoder", architectures=["BertForSequenceClassification"])


@pytest.fixture
def without_pooler(tmp_path: Path, sizes: dict[str, int]) -> Path:
    """A masked language model of a class that is unknown here, so that the default task is taken."""
    return saved(BertForMaskedLM(BertConfig(**sizes)), tmp_path / "lm", architectures=["BertLMHeadModel"])


@pytest.fixture
def silent() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# --- Who chose the class ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", [registry.load, registry.load_model])
def test_a_head_that_the_checkpoint_promises_and_lacks_is_an_error(door: Callable[..., Any], encoder: Path) -> None:
    with pytest.raises(WeightsMismatchError) as caught:
        door(encoder)
    message = str(caught.value)
    assert "2 missing in the file, which is to be a BertForSequenceClassification: " + ", ".join(HEAD) in message
    assert "name the task or the class, or pass allow_missing=['classifier.*']" in message
    assert "all weights for task='base'" in message
    with pytest.raises(WeightsMismatchError):
        door(encoder, num_labels=3)  # how large a head is does not say that a random one is meant


@pytest.mark.parametrize(
    "door",
    [
        lambda path: registry.load(path, "sequence-classification"),
        lambda path: registry.load_model(path, "sequence-classification"),
        lambda path: BertForSequenceClassification.from_pretrained(path),
    ],
)
def test_a_warning_shows_the_line_that_called_the_library(door: Callable[[Path], Any], encoder: Path) -> None:
    with pytest.warns(UntrainedWarning) as caught:
        door(encoder)
    assert [warning.filename for warning in caught] == [__file__]


def test_a_card_that_promises_a_head_is_the_checkpoints_choice(encoder: Path) -> None:
    class Site:
        @registry.hookimpl
        def registry_cards(self) -> Any:
            files = tuple(
                registry.FileSpec(role=role, filename=name, urls=(f"file:{encoder / name}",))
                for role, name in (("config", "config.json"), ("weights", "model.safetensors"))
            )
            yield registry.Card(name="promising", architecture="bert", task="masked-lm", files=files)

    registry.register(Site(), name="site")
    try:
        with pytest.raises(WeightsMismatchError, match=r"cls\.predictions"):
            registry.load_model("promising")
    finally:
        registry.discovery.unregister("site")


@pytest.mark.usefixtures("silent")
def test_allowing_it_by_name_loads_it_and_the_report_lists_it(encoder: Path) -> None:
    model = registry.load_model(encoder, allow_missing="classifier.*")
    assert model.load_report.new == HEAD
    with pytest.raises(WeightsMismatchError, match=r"1 missing in the file, which is to be .*: classifier\.bias"):
        registry.load_model(encoder, allow_missing="classifier.weight")


@pytest.mark.parametrize(
    "load",
    [
        lambda path, **options: registry.load_model(path, "sequence-classification", **options),
        lambda path, **options: registry.load(path, "sequence-classification", **options).model,
        lambda path, **options: BertForSequenceClassification.from_pretrained(path, **options),
    ],
)
def test_a_class_or_task_that_the_caller_names_is_initialized_with_one_warning(
    load: Callable[..., Any], encoder: Path
) -> None:
    with pytest.warns(UntrainedWarning) as caught:
        assert load(encoder).load_report.new == HEAD
    (warning,) = caught
    assert "lacks classifier.weight, classifier.bias" in str(warning.message)
    assert "allow_missing=['classifier.*']" in str(warning.message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for option in ({"num_labels": 3}, {"id2label": {0: "a", 1: "b"}}, {"allow_missing": ["classifier.*"]}):
            assert load(encoder, **option).load_report.new == HEAD


@pytest.mark.usefixtures("silent")
def test_a_number_of_labels_given_by_position_says_that_a_head_is_meant(encoder: Path) -> None:
    assert BertForSequenceClassification.from_pretrained(encoder, 3).load_report.new == HEAD


def test_a_number_of_labels_says_nothing_of_a_head_without_labels(encoder: Path) -> None:
    with pytest.warns(UntrainedWarning, match=r"lacks cls\.predictions"):
        registry.load_model(encoder, "masked-lm", num_labels=3)


class WithOffsets(BertForSequenceClassification):
    """A classifier that adds constants to its logits, as BART adds ``final_logits_bias``; nothing trains them."""

    layout = evolve(
        BertForSequenceClassification.layout, parts=(*BertForSequenceClassification.layout.parts, "offsets")
    )

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.register_buffer("offsets", torch.zeros(1, 2))


@pytest.mark.usefixtures("silent")
def test_a_buffer_that_a_file_lacks_is_not_random(tmp_path: Path, sizes: dict[str, int]) -> None:
    where = saved(BertForSequenceClassification(BertConfig(**sizes)), tmp_path / "classifier")
    model = WithOffsets.from_pretrained(where)
    assert model.load_report.new == ("offsets",)
    assert model.offsets.tolist() == [[0, 0]]
    again = WithOffsets.from_pretrained(saved(model, tmp_path / "again"))
    assert again.load_report.untrained == ()


def test_a_pooler_is_a_part_like_others(without_pooler: Path) -> None:
    with pytest.raises(WeightsMismatchError, match=r"a BertModel: pooler\.dense\.weight") as caught:
        registry.load_model(without_pooler)
    assert "allow_missing=['pooler.*']" in str(caught.value)
    assert "all weights for task='masked-lm'" in str(caught.value)
    assert registry.load_model(without_pooler, "masked-lm").load_report.new == ()
    with pytest.warns(UntrainedWarning, match=r"pooler\.dense\.weight"):
        registry.load_model(without_pooler, "base")
    assert registry.load_model(without_pooler, add_pooling_layer=False).load_report.new == ()


# --- Remembered -------------------------------------------------------------------------------------------------------


def marks(folder: Path) -> set[str]:
    return set(json.loads((folder / "registry.json").read_text()).get("untrained", ()))


@pytest.fixture
def classifier(encoder: Path) -> Any:
    return BertForSequenceClassification.from_pretrained(encoder, num_labels=2)


def step(model: Any, kind: type[torch.optim.Optimizer], **options: Any) -> None:
    """One step of training."""
    optimizer = kind([p for p in model.parameters() if p.requires_grad], lr=0.01, **options)
    model(torch.tensor([[2, 5, 6, 3]]), labels=torch.tensor([1])).loss.backward()
    optimizer.step()


def test_a_head_that_was_never_trained_is_recorded_and_loading_says_so(classifier: Any, tmp_path: Path) -> None:
    path = classifier.save_pretrained(tmp_path / "saved")
    assert marks(path) == set(HEAD)
    for load in (registry.load_model, BertForSequenceClassification.from_pretrained):
        with pytest.warns(UntrainedWarning, match=r"was saved with classifier\.weight, classifier\.bias") as caught:
            model = load(path)
        assert len(caught) == 1
        assert model.load_report.untrained == HEAD
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert registry.load_model(path, "base").load_report.untrained == ()
        registry.load_model(path, allow_missing="classifier.*")
    assert marks(model.save_pretrained(tmp_path / "again")) == set(HEAD)


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.SGD, {"foreach": True}),
        (torch.optim.AdamW, {"foreach": False}),
        (torch.optim.AdamW, {"fused": True}),
    ],
)
def test_one_step_of_training_is_enough(classifier: Any, tmp_path: Path, kind: Any, options: Any) -> None:
    step(classifier, kind, **options)
    path = classifier.save_pretrained(tmp_path / "saved")
    assert marks(path) == set()
    assert registry.load_model(path).load_report.untrained == ()


def test_training_the_rest_does_not_train_a_frozen_head(classifier: Any, tmp_path: Path) -> None:
    classifier.classifier.requires_grad_(False)
    step(classifier, torch.optim.SGD)
    assert marks(classifier.save_pretrained(tmp_path / "saved")) == set(HEAD)


def test_a_head_counts_as_trained_when_one_of_its_tensors_is(classifier: Any, tmp_path: Path) -> None:
    classifier.classifier.bias.requires_grad_(False)
    step(classifier, torch.optim.SGD)
    assert marks(classifier.save_pretrained(tmp_path / "saved")) == set()


CHANGES: dict[str, Callable[[Any], object]] = {
    "written to .data, as some optimizers do": lambda m: m.classifier.weight.data.add_(1),
    "a new parameter": lambda m: setattr(m.classifier, "weight", torch.nn.Parameter(torch.ones(2, 24))),
    "a state dict": lambda m: m.load_state_dict({name: t + 1 for name, t in m.state_dict().items()}),
    "a new layer": lambda m: setattr(m, "classifier", torch.nn.Linear(24, 2)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_way_to_new_values_counts(classifier: Any, tmp_path: Path, change: str) -> None:
    CHANGES[change](classifier)
    assert marks(classifier.save_pretrained(tmp_path / "saved")) == set()


COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "half precision": lambda model: model.half(),
    "bfloat16 and back": lambda model: model.bfloat16().float(),
    "its own state dict": lambda model: (model.load_state_dict(copy.deepcopy(model.state_dict())), model)[1],
}


@pytest.mark.parametrize("make", COPIES)
def test_a_copy_or_a_conversion_is_no_training(classifier: Any, tmp_path: Path, make: str) -> None:
    model = COPIES[make](classifier)
    path = model.save_pretrained(tmp_path / "saved")
    assert marks(path) == set(HEAD)
    with pytest.warns(UntrainedWarning, match="classifier"):
        registry.load_model(path)
    with torch.no_grad():
        model.classifier.weight.add_(1)
    assert marks(model.save_pretrained(tmp_path / "saved")) == set()


@pytest.mark.usefixtures("silent")
def test_a_mark_is_not_believed_where_the_file_was_trained_elsewhere(classifier: Any, tmp_path: Path) -> None:
    path = classifier.save_pretrained(tmp_path / "saved")
    step(classifier, torch.optim.SGD)
    other = classifier.save_pretrained(tmp_path / "other")
    assert marks(path) == set(HEAD)
    shutil.copy(other / "model.safetensors", path)
    assert registry.load_model(path).load_report.untrained == ()


@pytest.mark.usefixtures("silent")
def test_a_part_of_which_the_file_has_other_values_is_trained_though_its_biases_are_zeros(
    sizes: dict[str, int], tmp_path: Path
) -> None:
    model = BertForMaskedLM(BertConfig(**sizes))
    model.init_weights()
    path = model.save_pretrained(tmp_path / "saved")
    state = {name: tensor if not tensor.any() else tensor * 2 for name, tensor in model.state_dict().items()}
    stored = {name: tensor for name, tensor in state.items() if "decoder.weight" not in name}
    safetensors.torch.save_file(stored, path / "model.safetensors", {"format": "pt"})
    assert not state["cls.predictions.bias"].any()
    assert registry.load_model(path).load_report.untrained == ()


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("odd", [["classifier.weight"], "x", None, {"classifier.weight": 3, "nothing": "float32[1]:0"}])
def test_odd_marks_in_a_manifest_are_no_marks(odd: Any, classifier: Any, tmp_path: Path) -> None:
    path = classifier.save_pretrained(tmp_path / "saved")
    manifest = json.loads((path / "registry.json").read_text())
    (path / "registry.json").write_text(json.dumps({**manifest, "untrained": odd}))
    assert registry.load_model(path).load_report.untrained == ()


# --- Constructed, and never loaded ----------------------------------------------------------------------------------


MADE: dict[str, Callable[[BertConfig], Any]] = {
    "constructed": lambda config: BertForSequenceClassification(config),
    "with its initialization": lambda config: initialized(BertForSequenceClassification(config)),
    "of a class of the user": lambda config: Own(config),
}


class Own(BertForSequenceClassification):
    """A class that changes its weights in its constructor."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.init_weights()
        torch.nn.init.normal_(self.classifier.weight, std=0.1)


def initialized(model: Any) -> Any:
    model.init_weights()
    return model


def random_tensors(model: Any) -> set[str]:
    """Names of the weights that are not constants, and of the head, which counts as a whole."""
    state = model.state_dict().items()
    return {name for name, tensor in state if tensor.unique().numel() > 1 or name in (*HEAD, "bert.pooler.dense.bias")}


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("format", ["safetensors", "torch"])
def test_a_model_that_was_never_trained_is_recorded(
    made: str, format: Any, sizes: dict[str, int], tmp_path: Path
) -> None:
    model = MADE[made](BertConfig(**sizes))
    path = model.save_pretrained(tmp_path / "saved", format=format)
    assert marks(path) == random_tensors(model)
    with pytest.warns(UntrainedWarning, match=r"was saved with bert\.embeddings.* and \d+ more as they were") as caught:
        loaded = registry.load_model(path, "sequence-classification")
    assert len(caught) == 1
    assert len(str(caught[0].message)) < 700
    assert set(loaded.load_report.untrained) == random_tensors(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.load_model(path, "sequence-classification", allow_missing="*")


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("convert", [lambda model: model, lambda model: model.bfloat16().float()])
def test_a_model_that_was_trained_from_scratch_is_not(
    convert: Callable[[Any], Any], sizes: dict[str, int], tmp_path: Path
) -> None:
    model = convert(BertForSequenceClassification(BertConfig(**sizes)))
    step(model, torch.optim.AdamW)
    path = model.save_pretrained(tmp_path / "saved")
    assert marks(path) == set()
    assert registry.load_model(path).load_report.untrained == ()


def test_of_a_model_that_was_partly_trained_the_rest_is_recorded(sizes: dict[str, int], tmp_path: Path) -> None:
    model = BertForSequenceClassification(BertConfig(**sizes))
    model.bert.encoder.layer[0].requires_grad_(False)
    model.classifier.requires_grad_(False)
    step(model, torch.optim.SGD)
    path = model.save_pretrained(tmp_path / "saved")
    frozen = {name for name in random_tensors(model) if name.startswith(("bert.encoder.layer.0.", "classifier."))}
    assert marks(path) == frozen
    with pytest.warns(UntrainedWarning, match=r"was saved with bert\.encoder\.layer\.0\."):
        registry.load_model(path)


@pytest.mark.usefixtures("silent")
def test_weights_of_elsewhere_are_trained_ones_also_where_they_are_zeros(sizes: dict[str, int], tmp_path: Path) -> None:
    model = BertModel(BertConfig(**sizes))
    model.init_weights()
    given = {name: tensor * 2 for name, tensor in model.state_dict().items()}
    assert not given["encoder.layer.0.output.dense.bias"].any()
    model.load_state_dict(given)
    path = model.save_pretrained(tmp_path / "saved")
    assert marks(path) == set()
    registry.load_model(path)


def test_a_constructed_model_shows_the_signature_of_its_constructor() -> None:
    found = inspect.signature(BertForSequenceClassification).parameters
    assert list(found) == ["config", "num_labels"]
    assert found["num_labels"].default is None


def test_a_fingerprint_tells_values_types_and_shapes_apart() -> None:
    one = torch.arange(6.0).view(2, 3)
    others = (one + 1, one.half(), one.view(3, 2), one.double())
    assert fingerprint(one) == fingerprint(one.clone()) == fingerprint(one.t().contiguous().t())
    assert len({fingerprint(tensor) for tensor in (one, *others)}) == 5
    assert fingerprint(torch.ones(1).expand(2, 3)) == fingerprint(torch.ones(2, 3))
    assert fingerprint(one.to("meta")) is None
    assert fingerprint(one.to_sparse()) is None
