"""State dict -> model: strict, unchanged on error, and without waste; with a model as a third party would write it."""

import copy
import subprocess
import sys
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import registry
from registry.errors import WeightsMismatchError
from registry.loading.fill import fill
from registry.loading.meta import build
from registry.loading.options import LoadOptions
from registry.loading.report import LoadReport
from registry.weights.checkpoint import Checkpoint
from registry.weights.names import Layout, NameTable, transposed

WIDTH, WORDS = 4, 7

LAYOUT = Layout(
    prefix="bert.",
    parts=("bert.pooler.", "cls.predictions.", "cls.seq_relationship.", "classifier."),
    ties=(
        ("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
        ("cls.predictions.bias", "cls.predictions.decoder.bias"),
    ),
    names=NameTable(
        ("{p}.LayerNorm.gamma", "{p}.LayerNorm.weight"),
        ("{p}.LayerNorm.beta", "{p}.LayerNorm.bias"),
        dropped=("{p}.position_ids",),
    ),
)


class Embeddings(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(WORDS, WIDTH, padding_idx=0)
        self.LayerNorm = nn.LayerNorm(WIDTH)


class Pooler(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(WIDTH, WIDTH)


class Backbone(nn.Module):
    def __init__(self, pooled: bool = True) -> None:
        super().__init__()
        self.embeddings = Embeddings()
        self.layer = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(2)])
        if pooled:
            self.pooler = Pooler()


class Predictions(nn.Module):
    def __init__(self, words: nn.Parameter) -> None:
        super().__init__()
        self.LayerNorm = nn.LayerNorm(WIDTH)
        self.bias = nn.Parameter(torch.empty(WORDS))
        self.decoder = nn.Linear(WIDTH, WORDS, bias=False)
        self.decoder.weight = words


class Heads(nn.Module):
    def __init__(self, words: nn.Parameter) -> None:
        super().__init__()
        self.predictions = Predictions(words)
        self.seq_relationship = nn.Linear(WIDTH, 2)


class Pretraining(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bert = Backbone()
        self.cls = Heads(self.bert.embeddings.word_embeddings.weight)


class MaskedLM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bert = Backbone(pooled=False)
        self.cls = nn.Module()
        self.cls.predictions = Predictions(self.bert.embeddings.word_embeddings.weight)


class Classifier(nn.Module):
    def __init__(self, labels: int = 3) -> None:
        super().__init__()
        self.bert = Backbone()
        self.classifier = nn.Linear(WIDTH, labels)


calls: list[nn.Module] = []


def init_module(module: nn.Module) -> None:
    """Sevens in matrices, zeros in vectors, as an architecture would initialize them."""
    calls.append(module)
    for name, parameter in module.named_parameters(recurse=False):
        nn.init.constant_(parameter, 0.0 if name == "bias" else 7.0)


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


def values(make: Callable[[], nn.Module], *, tied: bool = True) -> dict[str, Tensor]:
    """The state dict of a model with distinct values; without the decoder's weight unless ``tied``."""
    torch.manual_seed(len(make().state_dict()))
    model = make()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    found = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    decoder = "cls.predictions.decoder.weight"
    if decoder in found:
        found[decoder] = found["bert.embeddings.word_embeddings.weight"]
    return found if tied else {name: tensor for name, tensor in found.items() if name != decoder}


def checkpoint(tensors: Mapping[str, Any], **fields: Any) -> Checkpoint:
    return Checkpoint(tensors=tensors, format="state_dict", **fields)


def filled(
    make: Callable[[], nn.Module],
    tensors: Mapping[str, Any] | Checkpoint,
    layout: Layout = LAYOUT,
    **options: Any,
) -> tuple[nn.Module, LoadReport]:
    model = build(make)
    found = tensors if isinstance(tensors, Checkpoint) else checkpoint(tensors)
    report = fill(model, found, layout, init_module, LoadOptions(**options))
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    return model, report


def refused(make: Callable[[], nn.Module], tensors: Mapping[str, Any], layout: Layout = LAYOUT, **options: Any) -> str:
    """The message of the error, after a check that a real model is not touched."""
    model = make()
    before, parameters = copy.deepcopy(model.state_dict()), dict(model.named_parameters(remove_duplicate=False))
    with pytest.raises(WeightsMismatchError) as caught:
        fill(model, checkpoint(tensors), layout, init_module, LoadOptions(**options))
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items() if not tensor.isnan().any()
    )
    assert all(parameters[name] is found for name, found in model.named_parameters(remove_duplicate=False))
    return str(caught.value)


# --- Every spelling ---------------------------------------------------------------------------------------------------


def spell(tensors: Mapping[str, Tensor], *, bare: bool, old: bool, wrapped: bool, buffers: bool) -> dict[str, Tensor]:
    if buffers:
        tensors = {**tensors, "bert.embeddings.position_ids": torch.arange(5)}
    if bare:
        tensors = {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}
    if old:
        tensors = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
            for name, tensor in tensors.items()
        }
    return {f"module.{name}" if wrapped else name: tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(("bare", "old", "wrapped", "buffers", "tied"), [*product([False, True], repeat=5)])
@pytest.mark.parametrize("make", [Pretraining, Backbone, MaskedLM, Classifier])
def test_a_pretraining_checkpoint_loads_in_every_spelling(
    make: Callable[[], nn.Module], bare: bool, old: bool, wrapped: bool, buffers: bool, tied: bool
) -> None:
    full = values(Pretraining, tied=tied)
    model, report = filled(make, spell(full, bare=bare, old=old, wrapped=wrapped, buffers=buffers))
    for name, tensor in model.state_dict().items():
        source = name if name.startswith(("bert.", "cls.", "classifier.")) else f"bert.{name}"
        if source == "cls.predictions.decoder.weight":
            source = "bert.embeddings.word_embeddings.weight"
        if source.startswith("classifier."):
            assert name in report.new
        else:
            assert torch.equal(tensor, full[source]), name
    assert report.missing == report.unexpected == ()
    accounted = len(report.loaded) + len(report.dropped)
    assert accounted == len(full) + buffers
    assert all("LayerNorm" in theirs for theirs, _ in report.renamed)
    assert bool(report.renamed) == old


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("make", [Pretraining, MaskedLM, Classifier])
def test_a_bare_checkpoint_fills_the_backbone_and_new_heads_are_initialized(
    make: Callable[[], nn.Module], bare: bool
) -> None:
    backbone = values(lambda: Backbone())
    model, report = filled(make, backbone if bare else {f"bert.{name}": tensor for name, tensor in backbone.items()})
    state = model.state_dict()
    assert all(
        torch.equal(state[f"bert.{name}"], tensor) for name, tensor in backbone.items() if f"bert.{name}" in state
    )
    assert set(report.new) == {name for name in state if not name.startswith("bert.") and "decoder" not in name}
    assert all((state[name] == (0 if name.endswith("bias") else 7)).all() for name in report.new)
    assert report.tied == tuple(name for name in state if "decoder" in name)


def test_a_checkpoint_without_pooler_leaves_a_new_one_and_the_reverse_drops_it() -> None:
    without = {name: tensor for name, tensor in values(Pretraining).items() if ".pooler." not in name}
    assert filled(Backbone, without)[1].new == ("pooler.dense.weight", "pooler.dense.bias")
    report = filled(MaskedLM, values(Pretraining))[1]
    assert [name for name in report.dropped if "pooler" in name] == [
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
    ]


def test_a_head_checkpoint_fills_the_bare_model() -> None:
    for head in (MaskedLM, Classifier, Pretraining):
        tensors = values(head)
        model, report = filled(Backbone, tensors)
        assert report.unexpected == ()
        for name in report.loaded:
            assert torch.equal(model.state_dict()[name], tensors[f"bert.{name}"])


def test_a_tied_weight_that_the_file_lacks_is_tied_again() -> None:
    model, report = filled(Pretraining, values(Pretraining, tied=False))
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    assert report.tied == ("cls.predictions.decoder.weight",)


@pytest.mark.parametrize("make", [Pretraining, Backbone, MaskedLM])
def test_one_name_of_a_tie_is_enough_whichever_it_is(make: Callable[[], nn.Module]) -> None:
    tensors = values(Pretraining)
    words = tensors.pop("bert.embeddings.word_embeddings.weight")
    model, _ = filled(make, tensors)
    backbone = model if isinstance(model, Backbone) else model.bert
    assert torch.equal(backbone.embeddings.word_embeddings.weight, words)


def test_without_any_name_of_a_tie_the_backbone_is_incomplete() -> None:
    tensors = values(Pretraining, tied=False)
    del tensors["bert.embeddings.word_embeddings.weight"]
    assert "1 missing in the file: bert.embeddings.word_embeddings.weight" in refused(Pretraining, tensors)


class NextToken(nn.Module):
    """A head whose name sorts before that of the backbone, to which it is tied."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = nn.Module()
        self.transformer.wte = nn.Embedding(WORDS, WIDTH)
        self.transformer.norm = nn.LayerNorm(WIDTH)
        self.lm_head = nn.Linear(WIDTH, WORDS, bias=False)
        self.lm_head.weight = self.transformer.wte.weight


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_a_tensor_that_the_backbone_needs_is_never_a_new_part_of_a_head(order: slice) -> None:
    tied = ("lm_head.weight", "transformer.wte.weight")[order]
    layout = Layout(prefix="transformer.", parts=("lm_head.",), ties=(tied,))
    norm = {"transformer.norm.weight": torch.ones(WIDTH), "transformer.norm.bias": torch.ones(WIDTH)}
    message = refused(NextToken, norm, layout)
    assert "1 missing in the file: " in message
    assert "transformer.wte.weight" in message
    words = torch.ones(WORDS, WIDTH)
    for name in tied:
        model, report = filled(NextToken, {**norm, name: words}, layout)
        assert model.lm_head.weight is model.transformer.wte.weight
        assert torch.equal(model.lm_head.weight, words)
        assert report.new == ()


def test_the_later_name_of_the_output_bias_is_read_next_to_the_first_and_alone() -> None:
    both = values(Pretraining)
    both["cls.predictions.decoder.bias"] = both["cls.predictions.bias"].clone()
    alone = {name: tensor for name, tensor in both.items() if name != "cls.predictions.bias"}
    for tensors in (both, alone):
        model, _ = filled(Pretraining, tensors)
        assert torch.equal(model.cls.predictions.bias, both["cls.predictions.decoder.bias"])


def test_tied_names_with_different_values_are_refused() -> None:
    tensors = values(Pretraining)
    tensors["cls.predictions.decoder.weight"] = tensors["cls.predictions.decoder.weight"] + 1
    message = refused(Pretraining, tensors)
    assert "bert.embeddings.word_embeddings.weight and cls.predictions.decoder.weight" in message
    assert "allow_unexpected=['cls.predictions.decoder.weight'] drops that one" in message


def test_a_tie_that_differs_is_no_matter_to_a_model_that_has_one_of_its_names() -> None:
    tensors = values(Pretraining)
    words = tensors["bert.embeddings.word_embeddings.weight"]
    tensors["cls.predictions.decoder.weight"] = words + 1
    model, report = filled(Backbone, tensors)
    assert torch.equal(model.embeddings.word_embeddings.weight, words)
    assert "cls.predictions.decoder.weight" in report.dropped


def test_one_name_of_a_tie_that_differs_can_be_dropped() -> None:
    tensors = values(Pretraining)
    words, decoder = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
    tensors[decoder] = tensors[words] + 1
    for dropped, kept in ((decoder, words), (words, decoder)):
        model, report = filled(Pretraining, tensors, allow_unexpected=[dropped])
        assert torch.equal(model.bert.embeddings.word_embeddings.weight, tensors[kept])
        assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
        assert report.unexpected == (dropped,)


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rounded", ["bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"])
def test_a_tie_in_another_precision_is_equal_and_the_precise_one_is_read(rounded: str, precision: torch.dtype) -> None:
    tensors = values(Pretraining)
    words = tensors[rounded].clone()
    tensors[rounded] = words.to(precision)
    model, _ = filled(Pretraining, tensors)
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, words)


def test_parameters_that_a_third_partys_model_shares_stay_shared() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)
            self.b.weight = self.a.weight

    weight = torch.ones(2, 2)
    tensors = {"a.weight": weight, "a.bias": torch.zeros(2), "b.bias": torch.zeros(2)}
    model, report = filled(Shared, tensors, Layout())
    assert model.a.weight is model.b.weight
    assert (report.tied, model.a.weight.data_ptr()) == (("b.weight",), weight.data_ptr())
    assert model.a.bias.data_ptr() != model.b.bias.data_ptr()


def test_two_parameters_never_share_memory_because_the_file_does() -> None:
    one = torch.ones(2)
    model, _ = filled(lambda: nn.ParameterList([torch.empty(2), torch.empty(2)]), {"0": one, "1": one}, Layout())
    assert model[0].data_ptr() != model[1].data_ptr()


# --- Wrappers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrap", "wrappers"),
    [
        ("_orig_mod.{}", ("_orig_mod.",)),
        ("_forward_module.{}", ("_forward_module.",)),
        ("_module.{}", ("_module.",)),
        ("module._orig_mod.{}", ("module.", "_orig_mod.")),
        ("_orig_mod.module.{}", ("module.", "_orig_mod.")),
        ("_fsdp_wrapped_module.{}", ("_fsdp_wrapped_module.",)),
    ],
)
def test_wrappers_of_torch_are_taken_off_and_reported(wrap: str, wrappers: tuple[str, ...]) -> None:
    tensors = values(Pretraining)
    model, report = filled(Pretraining, {wrap.format(name): tensor for name, tensor in tensors.items()})
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in model.state_dict().items())
    assert report.wrappers == wrappers
    assert "wrappers removed from the names: " in str(report)


def test_wrappers_of_inner_modules_are_taken_off_also_beside_other_names() -> None:
    tensors = values(Pretraining)
    inner = {
        name.replace("bert.", "bert._orig_mod.", 1).replace("layer.1.", "layer.1._checkpoint_wrapped_module."): tensor
        for name, tensor in tensors.items()
    }
    model, _ = filled(Pretraining, {**inner, "loss.weight": torch.ones(1)}, allow_unexpected=["loss.*"])
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in model.state_dict().items())


def test_a_module_whose_own_name_is_that_of_a_wrapper_keeps_it() -> None:
    def make() -> nn.Module:
        return nn.ModuleDict({"module": nn.Linear(1, 1)})

    tensors = {"module.weight": torch.ones(1, 1), "module.bias": torch.ones(1)}
    model, report = filled(make, tensors, Layout())
    assert model["module"].weight.item() == 1
    assert report.wrappers == ()


# --- Refusals ---------------------------------------------------------------------------------------------------------


def test_shapes_and_types_that_differ_are_all_listed_and_the_model_is_untouched() -> None:
    tensors = values(Pretraining)
    tensors["bert.pooler.dense.weight"] = torch.ones(WIDTH, 5)
    tensors["bert.layer.0.bias"] = torch.ones(WIDTH, dtype=torch.long)
    tensors["bert.layer.1.bias"] = torch.ones(1)
    tensors["cls.seq_relationship.bias"] = torch.ones(2).to_sparse()
    message = refused(Pretraining, tensors)
    assert "4 with another shape or type" in message
    assert "bert.pooler.dense.weight ((4, 5) in the file, (4, 4) in the model)" in message
    assert "bert.layer.0.bias (torch.int64 in the file, torch.float32 in the model)" in message
    assert "bert.layer.1.bias ((1,) in the file, (4,) in the model)" in message
    assert "cls.seq_relationship.bias (sparse" in message


@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bool, torch.int32])
def test_numbers_of_another_kind_fill_no_buffer(stored: torch.dtype) -> None:
    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(1, 1)
            self.register_buffer("steps", torch.tensor(3))

    tensors = {**Counted().state_dict(), "steps": torch.tensor(1, dtype=stored)}
    message = refused(Counted, tensors, Layout())
    assert f"1 with another shape or type: steps ({stored} in the file, torch.int64 in the model)" in message


def test_missing_and_unknown_names_are_refused_together() -> None:
    tensors = values(Pretraining)
    tensors["bert.layer.2.weight"] = tensors.pop("bert.layer.1.weight")
    tensors["foreign"] = torch.ones(1)
    tensors["bert.layer.0.bias"] = torch.ones(3)
    message = refused(Pretraining, tensors)
    assert "1 missing in the file: bert.layer.1.weight" in message
    assert "2 unexpected in the file: bert.layer.2.weight, foreign" in message
    assert "1 with another shape or type: bert.layer.0.bias" in message
    assert "the file" in message
    assert "Pretraining" in message


def test_the_backbone_is_never_absent() -> None:
    heads = {name: tensor for name, tensor in values(Pretraining).items() if name.startswith("cls.seq")}
    assert "missing in the file: bert.embeddings" in refused(Pretraining, heads)
    assert "missing in the file: embeddings" in refused(Backbone, {})


@pytest.mark.parametrize(
    "half", ["bert.pooler.dense.bias", "cls.predictions.LayerNorm.weight", "cls.seq_relationship.weight"]
)
def test_half_a_part_is_refused(half: str) -> None:
    tensors = values(Pretraining)
    del tensors[half]
    assert f"{half} (the file has only some of" in refused(Pretraining, tensors)


def test_a_part_that_is_larger_in_the_file_is_refused() -> None:
    tensors = {**values(Classifier), "classifier.hidden.weight": torch.ones(2)}
    assert "classifier.hidden.weight (the model has only some of classifier.*)" in refused(Classifier, tensors)


def test_old_and_new_spelling_of_one_name_are_refused() -> None:
    tensors = values(Pretraining)
    tensors["bert.embeddings.LayerNorm.gamma"] = tensors["bert.embeddings.LayerNorm.weight"]
    message = refused(Pretraining, tensors)
    assert "'bert.embeddings.LayerNorm.weight' and 'bert.embeddings.LayerNorm.gamma'" in message


def test_without_a_common_name_both_sides_are_shown() -> None:
    message = refused(Pretraining, {f"h.{i}.attn.c_attn.weight": torch.ones(1) for i in range(12)})
    assert "No name is common to both" in message
    assert "h.0.attn.c_attn.weight, h.1.attn.c_attn.weight, h.2.attn.c_attn.weight and 9 more" in message
    assert "bert.embeddings.word_embeddings.weight" in message


def test_without_a_common_name_the_architecture_that_the_file_is_like_is_named() -> None:
    assert registry.zoo.BertModel is not None, "only architectures that are imported already are compared"
    names = ["encoder.layer.0.attention.self.query.weight", "encoder.layer.0.output.dense.bias", "pooler.dense.bias"]
    message = refused(lambda: nn.Linear(1, 1), dict.fromkeys(names, torch.ones(1)), Layout())
    assert "'bert'" in message


def test_the_error_imports_no_architecture_to_name_a_similar_one() -> None:
    code = """
import sys, torch
from torch import nn
from registry.errors import WeightsMismatchError
from registry.loading.fill import fill
from registry.weights.checkpoint import Checkpoint
from registry.weights.names import Layout
before = {name for name in sys.modules if name.endswith(".modeling")}
try:
    given = Checkpoint(tensors={"pooler.dense.bias": torch.ones(1)}, format="state_dict")
    fill(nn.Linear(1, 1), given, Layout(), lambda module: None)
except WeightsMismatchError as problem:
    assert "No name is common" in str(problem) and "are like" not in str(problem), problem
else:
    sys.exit("accepted")
assert {name for name in sys.modules if name.endswith(".modeling")} == before == set()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_state_dict_that_holds_other_things_than_tensors_is_refused() -> None:
    assert "bert.layer.0.bias (a list in the file" in refused(
        Pretraining, {**values(Pretraining), "bert.layer.0.bias": [0.0] * WIDTH}
    )


def test_long_lists_are_shortened() -> None:
    message = refused(Backbone, {**values(Backbone), **{f"x.{i}": torch.ones(1) for i in range(1000)}})
    assert "and 990 more" in message
    assert len(message) < 1000


# --- What the caller lets pass ----------------------------------------------------------------------------------------


def test_a_head_of_another_size_is_initialized_where_it_may_be_missing() -> None:
    tensors = values(lambda: Classifier(5))
    assert "classifier.weight ((5, 4) in the file, (3, 4) in the model)" in refused(Classifier, tensors)
    model, report = filled(Classifier, tensors, allow_missing=["classifier.*"])
    assert report.missing == ("classifier.weight", "classifier.bias")
    assert {"classifier.weight", "classifier.bias"} <= set(report.dropped)
    assert (model.classifier.weight == 7).all()


def test_allowed_names_are_initialized_and_dropped() -> None:
    tensors = values(Backbone)
    del tensors["layer.1.bias"]
    tensors["extra.a"] = tensors["extra.b"] = torch.ones(1)
    model, report = filled(Backbone, tensors, allow_missing="layer.?.bias", allow_unexpected=("extra.a", "*.b"))
    assert (report.missing, report.unexpected) == (("layer.1.bias",), ("extra.a", "extra.b"))
    assert (model.layer[1].bias == 0).all()
    assert torch.equal(model.layer[1].weight, tensors["layer.1.weight"])


def test_a_single_pattern_is_not_taken_for_a_list_of_letters() -> None:
    tensors = {**values(Backbone), "x": torch.ones(1)}
    assert "1 unexpected in the file: x" in refused(Backbone, tensors, allow_unexpected="layer.*")


# --- New parts --------------------------------------------------------------------------------------------------------


def test_initialization_is_called_once_for_each_module_that_owns_something_new() -> None:
    tensors = {name: tensor for name, tensor in values(Pretraining).items() if not name.startswith("cls.")}
    model, _ = filled(Pretraining, tensors)
    heads = model.cls
    assert calls == [heads.predictions, heads.predictions.LayerNorm, heads.seq_relationship]


def test_initialization_cannot_change_what_was_loaded() -> None:
    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = Backbone(pooled=False)
            self.cls = nn.Module()
            self.cls.predictions = nn.Module()
            self.cls.predictions.decoder = nn.Linear(WIDTH, WORDS)  # a tied weight, and a bias that is new
            self.cls.predictions.decoder.weight = self.bert.embeddings.word_embeddings.weight

    tensors = values(lambda: Backbone(pooled=False))
    model, report = filled(Decoder, tensors)
    assert report.new == ("cls.predictions.decoder.bias",)
    assert torch.equal(model.cls.predictions.decoder.weight, tensors["embeddings.word_embeddings.weight"])


def test_a_parameter_that_initialization_forgets_is_an_error_and_no_garbage() -> None:
    model = build(Classifier)
    with pytest.raises(WeightsMismatchError, match=r"classifier\.weight, classifier\.bias"):
        fill(model, checkpoint(values(Backbone)), LAYOUT, lambda module: None)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_an_initialization_that_fails_leaves_the_model_as_it_was() -> None:
    def fail(module: nn.Module) -> None:
        raise RuntimeError("cannot")

    model = Classifier()
    before = dict(model.named_parameters())
    with pytest.raises(RuntimeError, match="cannot"):
        fill(model, checkpoint(values(Backbone)), LAYOUT, fail)
    assert all(before[name] is parameter for name, parameter in model.named_parameters())


# --- Values -----------------------------------------------------------------------------------------------------------


def test_tensors_are_assigned_without_a_copy() -> None:
    tensors = values(Backbone)
    model, _ = filled(Backbone, tensors)
    assert all(parameter.data_ptr() == tensors[name].data_ptr() for name, parameter in model.named_parameters())


def test_a_callers_tensors_are_copied_when_asked() -> None:
    tensors = values(Backbone)
    model, _ = filled(Backbone, checkpoint(tensors, borrowed=True))
    nn.init.zeros_(model.layer[0].weight)
    assert tensors["layer.0.weight"].any()


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_weights_get_the_type_of_the_model_unless_another_is_asked_for(
    stored: torch.dtype, dtype: torch.dtype | None
) -> None:
    tensors = {name: tensor.to(stored) for name, tensor in values(Backbone).items()}
    model, _ = filled(Classifier, tensors, dtype=dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype or torch.float32}
    torch.testing.assert_close(model.bert.layer[0].weight, tensors["layer.0.weight"].to(dtype or torch.float32))


def test_weights_go_to_the_device_that_is_asked_for() -> None:
    model = build(Classifier)
    fill(model, checkpoint(values(Backbone)), LAYOUT, init_module, LoadOptions(device="meta"))
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def test_what_needs_no_gradient_goes_on_without_and_attributes_stay() -> None:
    def make() -> nn.Module:
        model = Backbone()
        model.layer[0].requires_grad_(False)
        model.layer[1].weight.no_decay = True  # type: ignore[assignment]
        return model

    model, _ = filled(make, values(Backbone))
    assert [name for name, parameter in model.named_parameters() if not parameter.requires_grad] == [
        "layer.0.weight",
        "layer.0.bias",
    ]
    assert model.layer[1].weight.no_decay
    assert all(parameter.is_leaf for parameter in model.parameters())


def test_a_table_of_the_files_format_comes_before_the_layout() -> None:
    tensors = values(Backbone)
    theirs = {name.replace(".", "/"): tensor for name, tensor in tensors.items() if name != "layer.0.weight"}
    theirs["layer/0/kernel"] = tensors["layer.0.weight"].T
    table = NameTable(
        ("layer/{i}/kernel", "layer.{i}.weight", transposed),
        ("layer/{i}/bias", "layer.{i}.bias"),
        ("layer/{i}/weight", "layer.{i}.weight"),
        ("embeddings/{a}/{b}", "embeddings.{a}.{b}"),
        ("pooler/dense/{b}", "pooler.dense.{b}"),
    )
    model, report = filled(Backbone, checkpoint(theirs, names=table))
    assert torch.equal(model.layer[0].weight, tensors["layer.0.weight"])
    assert model.layer[0].weight.is_contiguous()
    assert len(report.renamed) == len(tensors)


# --- Modules of third parties -----------------------------------------------------------------------------------------


class ThirdParty(nn.Module):
    """All that constructors do: initialize by hand, compute constants, use buffers and layers of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3, 4))
        for init in (
            nn.init.xavier_uniform_,
            nn.init.kaiming_normal_,
            nn.init.trunc_normal_,
            nn.init.ones_,
            nn.init.zeros_,
        ):
            init(self.weight)
        self.weight.data.normal_(0.0, 0.02).mul_(2.0)
        self.gain = nn.Parameter(torch.ones(4))
        self.random = nn.Parameter(torch.randn(2, 2))
        self.old = nn.Parameter(torch.Tensor(2, 2))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("mask", torch.ones(4, 4).tril(), persistent=False)
        self.register_buffer("waves", torch.arange(4.0).mul(0.5).sin(), persistent=False)
        self.norm = nn.BatchNorm1d(4)
        self.recurrent = nn.LSTM(4, 4)
        self.block = copy.deepcopy(nn.TransformerEncoderLayer(4, 2))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def test_a_third_partys_module_is_built_filled_and_works() -> None:
    real = ThirdParty()
    tensors = {name: torch.randn_like(t) if t.is_floating_point() else t + 3 for name, t in real.state_dict().items()}
    model, report = filled(ThirdParty, tensors, Layout())
    assert set(report.loaded) == set(tensors)
    real.load_state_dict(tensors)
    torch.testing.assert_close(dict(model.state_dict()), dict(real.state_dict()))
    assert torch.equal(model.mask, real.mask)
    assert torch.equal(model.waves, real.waves)
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(model.recurrent(x)[0], real.recurrent(x)[0])
    torch.testing.assert_close(model.eval().block(x), real.eval().block(x))


def test_computed_buffers_follow_the_parameters_type() -> None:
    model, _ = filled(ThirdParty, ThirdParty().state_dict(), Layout(), dtype=torch.float16)
    assert (model.mask.dtype, model.norm.running_mean.dtype, model.steps.dtype) == (
        torch.float16,
        torch.float16,
        torch.int64,
    )


def test_constants_of_the_constructor_stand_where_the_file_may_lack_them() -> None:
    tensors = {name: tensor for name, tensor in ThirdParty().state_dict().items() if name not in ("gain", "steps")}
    model = build(ThirdParty)
    fill(model, checkpoint(tensors), Layout(), lambda module: None, LoadOptions(allow_missing=["gain", "steps"]))
    assert model.gain.tolist() == [1.0] * 4
    assert model.steps.item() == 0


def test_a_buffer_that_nothing_fills_is_refused() -> None:
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(1, 1)
            self.register_buffer("cache", torch.empty(3), persistent=False)

    model = build(Forgetful)
    with pytest.raises(WeightsMismatchError, match="1 buffers without values: cache"):
        fill(model, checkpoint(nn.Linear(1, 1).state_dict(prefix="linear.")), Layout(), init_module)


def test_building_takes_no_memory_no_random_numbers_and_no_expensive_import() -> None:
    code = """
import sys, torch
from torch import nn
from registry.loading.fill import fill
from registry.loading.meta import build
from registry.weights.checkpoint import Checkpoint
from registry.weights.names import Layout
before = torch.get_rng_state()
def make():
    layers = [nn.Linear(100_000, 100_000), nn.Embedding(10**6, 10**4, padding_idx=0), nn.LayerNorm(10**6)]
    return nn.Sequential(*layers, *[nn.Linear(4, 4) for _ in range(50)])
assert all(p.is_meta for p in build(make).parameters())
assert torch.equal(before, torch.get_rng_state())
small = lambda: nn.Sequential(nn.Linear(4, 4), nn.Embedding(4, 4, padding_idx=0), nn.LayerNorm(4))
layout = Layout(parts=("1.", "2."))
def init_module(module):
    module.weight.data.normal_(0, 0.02)
    if getattr(module, "bias", None) is not None: module.bias.data.zero_()
given = Checkpoint(tensors=nn.Linear(4, 4).state_dict(prefix="0."), format="state_dict")
fill(build(small), given, layout, init_module)
assert not {"torch._dynamo", "sympy", "torch._inductor"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


# --- The report -------------------------------------------------------------------------------------------------------


def test_the_report_reads_as_a_line_for_each_thing_that_happened() -> None:
    tensors = spell(values(Pretraining), bare=False, old=True, wrapped=False, buffers=True)
    _, report = filled(Classifier, checkpoint(tensors, ignored_files=("pytorch_model.bin",)))
    lines = str(report).splitlines()
    assert lines[0].startswith("9 tensors loaded from the file in 0.")
    assert [line.partition(": ")[2] for line in lines[1:]] == [
        "classifier.weight, classifier.bias",
        ", ".join(report.dropped),
        "bert.embeddings.LayerNorm.gamma -> bert.embeddings.LayerNorm.weight, "
        "bert.embeddings.LayerNorm.beta -> bert.embeddings.LayerNorm.bias",
        "pytorch_model.bin",
    ]
    assert report.dropped[0] == "bert.embeddings.position_ids"
    assert 0 < report.seconds < 5
