"""BERT's numbers, beside those of transformers and of pytorch-pretrained-bert, on small random weights."""

import copy
import inspect
import pickle
import warnings
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.testing import assert_close

from plugins.bert import finetuning, modeling
from plugins.bert.config import BertConfig
from plugins.bert.layers import LAYERS
from plugins.bert.modeling import BertForMaskedLM, BertModel
from registry.errors import InputError
from registry.nn.outputs import EncoderOutput
from registry.nn.packing import AllRows

SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
    "initializer_range": 0.3,  # large, so that a wrong sum shows
    "num_labels": 3,
}
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
WITH_WORD_SCORES = ("BertForPreTraining", "BertForMaskedLM")
BATCH, TOKENS = 4, 9
LENGTHS = (9, 5, 7, 5)

each_class = pytest.mark.parametrize("name", CLASSES)


# --- Models and batches -----------------------------------------------------------------------------------------------


def class_of(name: str) -> Any:
    return getattr(finetuning if hasattr(finetuning, name) else modeling, name)


def our(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    model = class_of(name)(BertConfig(**{**SIZES, **changes})).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms, too, must matter
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def config_for_transformers(name: str, **changes: Any) -> transformers.BertConfig:
    labels = {"num_labels": 2} if name == "BertForQuestionAnswering" else {}
    return transformers.BertConfig(**{**SIZES, **labels, **changes}, attn_implementation="eager")


def their(name: str, ours: nn.Module, **changes: Any) -> Any:
    """The class of transformers, with our weights: every name must find its place."""
    theirs = getattr(transformers, name)(config_for_transformers(name, **changes)).eval()
    missing, unexpected = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert unexpected == []
    assert missing == (["cls.predictions.decoder.bias"] if name in WITH_WORD_SCORES else [])
    return theirs


def padded(x: Tensor, side: str) -> Tensor:
    """Move tokens, which stand on the left, to the other side."""
    return torch.stack([row.roll(TOKENS - n) if side == "left" else row for row, n in zip(x, LENGTHS, strict=True)])


def batch(padding: str | None = None) -> dict[str, Tensor]:
    """Four texts, without padding or with padding on one side."""
    generator = torch.Generator().manual_seed(1)
    positions = torch.arange(TOKENS).expand(BATCH, -1)
    inputs = {
        "input_ids": torch.randint(1, SIZES["vocab_size"], (BATCH, TOKENS), generator=generator),
        "token_type_ids": torch.randint(0, 2, (BATCH, TOKENS), generator=generator),
        "position_ids": positions,
    }
    if padding is None:
        return inputs
    inputs["attention_mask"] = (positions < torch.tensor(LENGTHS)[:, None]).long()
    inputs["input_ids"] = inputs["input_ids"] * inputs["attention_mask"]
    return {name: padded(x, padding) for name, x in inputs.items()}


def labels(name: str, ignored: int = -100) -> dict[str, Tensor]:
    """Labels of the right shape; some are ignored, among them all that could fall on padding."""
    generator = torch.Generator().manual_seed(2)
    words = torch.randint(0, SIZES["vocab_size"], (BATCH, TOKENS), generator=generator)
    known = (torch.arange(TOKENS) % 2 == 0) & (torch.arange(TOKENS) < min(LENGTHS))
    for_tokens = torch.where(known, words, ignored)
    for_texts = torch.tensor([1, ignored, 0, 1])
    return {
        "BertModel": {},
        "BertForPreTraining": {"labels": for_tokens, "next_sentence_label": for_texts},
        "BertForMaskedLM": {"labels": for_tokens},
        "BertForNextSentencePrediction": {"labels": for_texts},
        "BertForSequenceClassification": {"labels": for_texts},
        "BertForTokenClassification": {"labels": torch.where(known, words % 3, ignored)},
        "BertForMultipleChoice": {"labels": torch.tensor([1, ignored])},
        "BertForQuestionAnswering": {
            "start_positions": torch.tensor([0, 3, TOKENS + 2, 2]),
            "end_positions": torch.tensor([1, 4, TOKENS, 4]),
        },
    }[name]


def shaped(name: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """For multiple choice, two questions with two choices instead of four texts."""
    if name != "BertForMultipleChoice":
        return inputs
    return {key: x.view(2, 2, TOKENS) for key, x in inputs.items()}


def at_tokens(output: Any, mask: Tensor) -> dict[str, Any]:
    """All fields of an output that are there; of those with an axis of tokens, the part at tokens."""

    def select(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(select(x) for x in value)
        return value[mask] if value.shape[:2] == mask.shape else value

    fields = dict(output.items())
    fields.pop("cross_attentions", None)  # of a decoder, which transformers' class can be
    return {field: select(value) for field, value in fields.items() if value is not None}


def assert_same(ours: Any, theirs: Any, mask: Tensor) -> None:
    mine, others = at_tokens(ours, mask), at_tokens(theirs, mask)
    assert set(mine) == set(others)
    assert_close(mine, others, atol=1e-5, rtol=0)


# --- The numbers of transformers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_weights", [False, True])
@each_class
def test_every_number_is_that_of_transformers(name: str, with_weights: bool) -> None:
    ours = our(name)
    inputs = {**shaped(name, batch()), **labels(name)}
    options = {"output_hidden_states": True, "output_attentions": with_weights}
    everywhere = torch.ones(BATCH, TOKENS, dtype=torch.bool)
    assert_same(ours(**inputs, **options), their(name, ours)(**inputs, **options), everywhere)


@pytest.mark.parametrize("with_weights", [False, True])
@each_class
def test_every_number_at_tokens_is_that_of_transformers_beside_padding(name: str, with_weights: bool) -> None:
    ours = our(name)
    inputs = {**shaped(name, batch("right")), **labels(name)}
    if name == "BertForQuestionAnswering":
        inputs = {key: x for key, x in inputs.items() if "positions" not in key}  # theirs let padding be an answer
    options = {"output_hidden_states": True, "output_attentions": with_weights}
    assert_same(
        ours(**inputs, **options), their(name, ours)(**inputs, **options), batch("right")["attention_mask"].bool()
    )


def test_padding_on_the_left_and_inside_gives_the_hidden_states_of_transformers() -> None:
    ours = our("BertModel")
    theirs = their("BertModel", ours)
    inputs = batch("left")
    inputs["attention_mask"][0, [2, 5]] = 0
    mask = inputs["attention_mask"].bool()
    expected = theirs(**inputs, output_hidden_states=True)
    found = ours(**inputs, output_hidden_states=True)
    for mine, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        assert_close(mine[mask], other[mask], atol=1e-5, rtol=0)


@each_class
def test_weights_of_transformers_find_their_places_here(name: str) -> None:
    theirs = getattr(transformers, name)(config_for_transformers(name)).eval()
    ours = class_of(name)(BertConfig(**SIZES)).eval()
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert missing == []
    assert unexpected == (["cls.predictions.decoder.bias"] if name in WITH_WORD_SCORES else [])
    inputs = shaped(name, batch())
    assert_same(ours(**inputs), theirs(**inputs), torch.ones(BATCH, TOKENS, dtype=torch.bool))


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "silu", "tanh"])
def test_activations_are_those_of_transformers(activation: str) -> None:
    ours = our("BertForMaskedLM", hidden_act=activation)
    theirs = their("BertForMaskedLM", ours, hidden_act=activation)
    assert_close(ours(**batch()).logits, theirs(**batch()).logits, atol=1e-5, rtol=0)


def test_one_label_makes_a_regression() -> None:
    ours = our("BertForSequenceClassification", num_labels=1)
    theirs = their("BertForSequenceClassification", ours, num_labels=1)
    inputs = {**batch(), "labels": torch.tensor([0.5, -1.0, 2.0, 0.0])}
    assert_same(ours(**inputs), theirs(**inputs), torch.ones(BATCH, TOKENS, dtype=torch.bool))


def test_defaults_are_positions_from_zero_and_the_first_segment() -> None:
    ours = our("BertModel")
    ids = batch()["input_ids"]
    zeros = torch.zeros_like(ids)
    explicit = ours(
        ids, token_type_ids=zeros, position_ids=batch()["position_ids"], attention_mask=torch.ones_like(ids)
    )
    assert_close(ours(ids), explicit, atol=0, rtol=0)
    assert_close(ours(ids, position_ids=torch.arange(TOKENS)), explicit, atol=0, rtol=0)


# --- The numbers of pytorch-pretrained-bert ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pretrained_bert() -> ModuleType:
    """pytorch-pretrained-bert 0.6.2, which imports with warnings of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pytorch_pretrained_bert")


def in_pretrained_bert(pretrained_bert: ModuleType, name: str, ours: nn.Module) -> Any:
    keys = {key: value for key, value in SIZES.items() if key not in ("vocab_size", "num_labels")}
    config = pretrained_bert.BertConfig(SIZES["vocab_size"], **keys)
    number = {"BertForSequenceClassification": (3,), "BertForTokenClassification": (3,), "BertForMultipleChoice": (2,)}
    theirs = getattr(pretrained_bert, name)(config, *number.get(name, ())).eval()
    missing, unexpected = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert unexpected == []
    assert all("pooler" in key for key in missing)  # it has one always
    return theirs


ANCESTRAL_LABELS = {
    "BertForPreTraining": {"labels": "masked_lm_labels", "next_sentence_label": "next_sentence_label"},
    "BertForMaskedLM": {"labels": "masked_lm_labels"},
    "BertForNextSentencePrediction": {"labels": "next_sentence_label"},
}
"""Our keywords and pytorch-pretrained-bert's, where they differ."""


@each_class
def test_every_number_at_tokens_is_that_of_pytorch_pretrained_bert(name: str, pretrained_bert: ModuleType) -> None:
    ours = our(name)
    theirs = in_pretrained_bert(pretrained_bert, name, ours)
    inputs = shaped(name, batch("right"))
    del inputs["position_ids"]  # it has no such argument
    mask = batch("right")["attention_mask"].bool()
    expected = theirs(**inputs)
    if name == "BertModel":
        layers, pooled = expected
        found = ours(**inputs, output_hidden_states=True)
        assert_close(found.pooler_output, pooled, atol=1e-5, rtol=0)
        pairs = list(zip(found.hidden_states[1:], layers, strict=True))
    else:
        found = tuple(x for x in ours(**inputs) if x is not None)
        pairs = list(zip(found, expected if isinstance(expected, tuple) else (expected,), strict=True))
    for mine, other in pairs:
        part = mask if mine.shape[:2] == mask.shape else ...
        assert_close(mine[part], other[part], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", CLASSES[1:])
def test_every_loss_is_that_of_pytorch_pretrained_bert_whose_ignored_label_is_minus_one(
    name: str, pretrained_bert: ModuleType
) -> None:
    ours = our(name)
    theirs = in_pretrained_bert(pretrained_bert, name, ours)
    inputs = shaped(name, batch(None if name == "BertForQuestionAnswering" else "right"))
    inputs.pop("position_ids")
    minus_one = -1 if name in ANCESTRAL_LABELS else -100  # its classifiers ignored torch's number instead
    known = labels(name, ignored=minus_one)
    renamed = {ANCESTRAL_LABELS.get(name, {}).get(key, key): value.clone() for key, value in known.items()}
    assert_close(ours(**inputs, **labels(name, ignored=-1)).loss, theirs(**inputs, **renamed), atol=1e-5, rtol=0)


def test_a_label_on_padding_is_ignored_as_pytorch_pretrained_bert_did(pretrained_bert: ModuleType) -> None:
    ours = our("BertForTokenClassification")
    theirs = in_pretrained_bert(pretrained_bert, "BertForTokenClassification", ours)
    inputs = batch("right")
    del inputs["position_ids"]
    inputs["labels"] = torch.ones(BATCH, TOKENS, dtype=torch.long)
    assert_close(ours(**inputs).loss, theirs(**inputs), atol=1e-5, rtol=0)


# --- Padding ----------------------------------------------------------------------------------------------------------


def gradients(model: nn.Module, inputs: dict[str, Tensor], known: dict[str, Tensor]) -> dict[str, Tensor | None]:
    model.zero_grad()
    output = model(**inputs, **known)
    loss = output.loss if known else output.pooler_output.sum()
    loss.backward()
    return {name: copy.copy(parameter.grad) for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("road", ["packed", "dense"])
@pytest.mark.parametrize("side", ["right", "left"])
@each_class
def test_padding_changes_neither_results_nor_gradients(
    name: str, side: str, road: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compared with the same texts where padding is cut off, each in a batch of its own."""
    if road == "dense":
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    ours = our(name).double()
    inputs = shaped(name, batch(side))
    mask = inputs["attention_mask"].bool()
    found = ours(**inputs)
    if name == "BertForMultipleChoice":
        alone = torch.stack([ours(**{k: x[i : i + 1, j : j + 1, mask[i, j]] for k, x in inputs.items()}).logits[0, 0]
                             for i in range(2) for j in range(2)])  # fmt: skip
        assert_close(found.logits.flatten(), alone)
        return
    for number in range(BATCH):
        alone = ours(**{key: x[number : number + 1, mask[number]] for key, x in inputs.items()})
        for field, value in alone.items():
            if value is not None:
                whole = getattr(found, field)
                assert_close(whole[number, mask[number]] if whole.shape[:2] == mask.shape else whole[number], value[0])


@each_class
def test_the_dense_road_and_the_packed_one_are_the_same_function(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = our(name).double()
    inputs = shaped(name, batch("right"))
    inputs["attention_mask"].view(BATCH, TOKENS)[3] = 0
    known = labels(name)
    packed, packed_gradients = ours(**inputs, **known), gradients(ours, inputs, known)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    dense, dense_gradients = ours(**inputs, **known), gradients(ours, inputs, known)
    assert_close(tuple(x for x in packed if x is not None), tuple(x for x in dense if x is not None))
    assert_close(packed_gradients, dense_gradients)


@pytest.mark.parametrize("road", ["packed", "dense", "with weights"])
@each_class
def test_a_text_of_nothing_but_padding_never_gives_nan(name: str, road: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if road == "dense":
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    ours = our(name)
    for empty in ([1], list(range(BATCH))):
        inputs = shaped(name, batch("right"))
        inputs["attention_mask"].view(BATCH, TOKENS)[empty] = 0
        output = ours(**inputs, **labels(name), output_hidden_states=True, output_attentions=road == "with weights")
        for value in (*output, *output.hidden_states, *(output.attentions or ())):
            assert not isinstance(value, Tensor) or value.isfinite().all()
        (output[0].sum() + output.hidden_states[-1].sum()).backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in ours.parameters())


def test_padding_is_zero_in_states_and_never_an_answer() -> None:
    inputs = batch("right")
    padding = inputs["attention_mask"] == 0
    for with_weights in (False, True):
        output = our("BertModel")(**inputs, output_hidden_states=True, output_attentions=with_weights)
        assert all((state[padding] == 0).all() for state in output.hidden_states)
    scores = our("BertForQuestionAnswering")(**inputs).start_logits
    assert (scores.softmax(-1)[padding] == 0).all()


def test_what_stands_at_padding_has_no_influence() -> None:
    inputs = batch("right")
    changed = dict(inputs, input_ids=torch.where(inputs["attention_mask"] == 0, 7, inputs["input_ids"]))
    for name in ("BertModel", "BertForQuestionAnswering", "BertForMaskedLM"):
        model = our(name)
        assert_close(
            [x for x in model(**inputs) if x is not None],
            [x for x in model(**changed) if x is not None],
            atol=0,
            rtol=0,
        )


# --- Labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSES[1:])
def test_every_negative_label_is_ignored(name: str) -> None:
    ours = our(name)
    inputs = shaped(name, batch())
    assert_close(ours(**inputs, **labels(name, -100)).loss, ours(**inputs, **labels(name, -1)).loss, atol=0, rtol=0)


@pytest.mark.parametrize("name", CLASSES[1:])
def test_labels_are_not_written_to(name: str) -> None:
    given = labels(name, -1)
    before = copy.deepcopy(given)
    our(name)(**shaped(name, batch("right")), **given)
    assert_close(given, before)


@pytest.mark.parametrize("name", CLASSES[1:])
def test_without_labels_there_is_no_loss(name: str) -> None:
    ours = our(name)
    assert ours(**shaped(name, batch())).loss is None
    if len(labels(name)) == 2:  # one of the two is not enough
        key, value = next(iter(labels(name).items()))
        assert ours(**batch(), **{key: value}).loss is None


def test_an_answer_behind_its_sequence_is_ignored_and_one_before_it_is_at_the_first_token() -> None:
    ours = our("BertForQuestionAnswering")
    ends = {"end_positions": torch.tensor([1, 2, 3, 4])}
    inside = ours(**batch(), start_positions=torch.tensor([0, 1, 2, 3]), **ends)
    outside = ours(**batch(), start_positions=torch.tensor([[0], [-1], [TOKENS], [3]]), **ends)
    scores = inside.start_logits.log_softmax(-1)
    ends_loss = -inside.end_logits.log_softmax(-1)[range(4), range(1, 5)].mean()
    assert_close(outside.loss, (-(scores[0, 0] + scores[1, 0] + scores[3, 3]) / 3 + ends_loss) / 2)


# --- Parameters -------------------------------------------------------------------------------------------------------


@each_class
def test_names_are_the_published_ones(name: str) -> None:
    theirs = set(getattr(transformers, name)(config_for_transformers(name)).state_dict())
    assert set(our(name).state_dict()) == theirs - {"cls.predictions.decoder.bias"}


@each_class
def test_there_are_no_buffers(name: str) -> None:
    assert list(our(name).buffers()) == []


@each_class
def test_every_parameter_gets_a_gradient(name: str) -> None:
    ours = our(name).train()
    missing = [key for key, grad in gradients(ours, shaped(name, batch("right")), labels(name)).items() if grad is None]
    assert missing == []


@pytest.mark.parametrize("name", WITH_WORD_SCORES)
def test_word_scores_share_the_matrix_of_the_embeddings(name: str) -> None:
    model = our(name)
    for same in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model.double()):
        assert same.cls.predictions.decoder.weight is same.bert.embeddings.word_embeddings.weight
    assert copy.deepcopy(model).cls.predictions.decoder.weight is not model.cls.predictions.decoder.weight


@pytest.mark.parametrize("name", CLASSES)
def test_only_models_that_use_a_pooler_have_one(name: str) -> None:
    without = {"BertForMaskedLM", "BertForTokenClassification", "BertForQuestionAnswering"}
    assert any("pooler" in key for key in our(name).state_dict()) == (name not in without)


def test_the_pooler_can_be_left_out() -> None:
    model = BertModel(BertConfig(**SIZES), add_pooling_layer=False)
    assert model(**batch()).pooler_output is None


@each_class
def test_new_weights_are_drawn_as_the_paper_says(name: str) -> None:
    torch.manual_seed(0)
    config = BertConfig(**{**SIZES, "vocab_size": 500, "hidden_size": 64, "initializer_range": 0.02})
    for key, parameter in class_of(name)(config).named_parameters():
        if key.endswith("bias"):
            assert (parameter == 0).all(), key
        elif "LayerNorm" in key:
            assert (parameter == 1).all(), key
        elif parameter.numel() > 1000:
            assert abs(parameter.std() - 0.02) < 0.002, key
            assert abs(parameter.mean()) < 0.002, key


@each_class
def test_a_model_can_be_laid_out_without_memory(name: str) -> None:
    with torch.device("meta"):
        model = class_of(name)(BertConfig(**SIZES))
    assert all(parameter.is_meta for parameter in model.parameters())
    output = model(**{key: x.to("meta") for key, x in shaped(name, batch("right")).items()})
    assert all(x is None or x.is_meta for x in output)


def test_the_number_of_labels_may_be_given_apart_from_the_configuration() -> None:
    config = BertConfig(**{**SIZES, "num_labels": 2, "id2label": {0: "no", 1: "yes"}})
    for cls in (finetuning.BertForSequenceClassification, finetuning.BertForTokenClassification):
        assert cls(config).config.id2label == {0: "no", 1: "yes"}
        assert cls(config, 2).config.id2label == {0: "no", 1: "yes"}
        five = cls(config, num_labels=5)
        assert five.config.num_labels == five.classifier.out_features == five(**batch()).logits.shape[-1] == 5


def test_dropout_before_a_classifier_has_a_rate_of_its_own() -> None:
    assert our("BertForSequenceClassification", classifier_dropout=0.3).dropout.p == 0.3
    assert our("BertForTokenClassification", classifier_dropout=0.0, hidden_dropout_prob=0.2).dropout.p == 0.0
    assert our("BertForMultipleChoice", hidden_dropout_prob=0.2).dropout.p == 0.2


# --- Running ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [None, "right"])
def test_dropout_acts_in_training_only(padding: str | None) -> None:
    model = our("BertModel")
    inputs = batch(padding)
    assert_close(model(**inputs), model(**inputs), atol=0, rtol=0)
    model.train()
    assert not torch.equal(model(**inputs)[0], model(**inputs)[0])
    still = our("BertModel", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    assert_close(still.train()(**inputs), still.eval()(**inputs))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@each_class
def test_other_floating_point_types_work(name: str, dtype: torch.dtype) -> None:
    model = our(name, initializer_range=0.05)
    inputs = {**shaped(name, batch("right")), **labels(name)}
    expected = model(**inputs)
    eager = model.to(dtype)(**inputs, output_attentions=True)
    eager.attentions = None
    for found in (model(**inputs), eager):
        for mine, other in zip(found, expected, strict=True):
            if isinstance(mine, Tensor):
                assert mine.dtype == dtype
                assert_close(mine.float(), other.float(), atol=0.1 if dtype != torch.float64 else 1e-5, rtol=0.01)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.float32])
def test_a_mask_may_be_of_any_type(dtype: torch.dtype) -> None:
    inputs = batch("right")
    model = our("BertModel")
    other = dict(inputs, attention_mask=inputs["attention_mask"].to(dtype))
    assert_close(model(**inputs), model(**other), atol=0, rtol=0)


@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM", "BertForQuestionAnswering"])
def test_an_exported_program_serves_any_mask_and_any_shape(name: str) -> None:
    """Neither the lengths of the example's texts nor its own become part of the program."""
    model = our(name)
    example = batch("right")
    axes = {0: torch.export.Dim("batch", max=64), 1: torch.export.Dim("tokens", max=SIZES["max_position_embeddings"])}
    program = torch.export.export(model, (), example, dynamic_shapes=dict.fromkeys(example, axes)).module()
    shorter = {key: x[:3, :7] for key, x in batch("right").items()}
    for inputs in (batch("right"), batch("left"), {**batch(), "attention_mask": torch.ones(BATCH, TOKENS)}, shorter):
        inputs["attention_mask"] = inputs["attention_mask"].long()
        found, expected = program(**inputs), model(**inputs)
        assert_close([x for x in found if x is not None], [x for x in expected if x is not None], atol=1e-5, rtol=0)


def test_compilation_sees_one_graph_and_keeps_the_numbers() -> None:
    model = our("BertForMaskedLM")
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    inputs = {**batch("right"), **labels("BertForMaskedLM")}
    assert_close(compiled(**inputs)[:2], model(**inputs)[:2], atol=1e-5, rtol=0)


def test_attention_weights_are_of_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    output = our("BertModel")(**batch("right"), output_attentions=True)
    assert [x.shape for x in output.attentions] == [(BATCH, 4, TOKENS, TOKENS)] * 3
    assert our("BertModel")(**batch("right")).attentions is None


# --- Signatures and refusals ------------------------------------------------------------------------------------------


@each_class
def test_all_arguments_but_the_ids_are_keywords_and_shown(name: str) -> None:
    own = {key: {} for key in CLASSES} | {key: labels(key) for key in CLASSES}
    parameters = inspect.signature(class_of(name).forward).parameters
    shared = set(inspect.signature(BertModel.forward).parameters)
    assert shared == {"self", "input_ids", "output_hidden_states", "output_attentions"} | {
        "attention_mask",
        "token_type_ids",
        "position_ids",
        "inputs_embeds",
    }
    assert set(parameters) == shared | set(own[name])
    keywords = [p for key, p in parameters.items() if key not in ("self", "input_ids")]
    assert all(p.kind is p.KEYWORD_ONLY and p.default in (None, False) for p in keywords)


@each_class
def test_an_unknown_keyword_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match="head_mask"):
        our(name)(**shaped(name, batch()), head_mask=None)


def test_a_sequence_longer_than_the_positions_is_refused() -> None:
    with pytest.raises(InputError, match=r"21 tokens .* 20 positions"):
        our("BertModel")(torch.ones(1, 21, dtype=torch.long))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("input_ids", 61, "input_ids must lie between 0 and 60, but go from 1 to 61"),
        ("input_ids", -1, "input_ids must lie between 0 and 60, but go from -1 to"),
        ("token_type_ids", 2, "token_type_ids must lie between 0 and 1"),
        ("position_ids", 20, "position_ids must lie between 0 and 19"),
    ],
)
def test_an_id_outside_of_its_table_is_named(key: str, value: int, message: str) -> None:
    inputs = batch()
    inputs[key] = inputs[key].clone()
    inputs[key][1, 2] = value
    with pytest.raises(InputError, match=message):
        our("BertModel")(**inputs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"input_ids": torch.ones(9, dtype=torch.long)},
            r"input_ids must have the shape \(batch, tokens\), not \(9,\)",
        ),
        ({"attention_mask": torch.ones(4, 8)}, r"attention_mask must .* \(4, 9\), not \(4, 8\)"),
        ({"attention_mask": torch.ones(4, 9, 9)}, r"attention_mask must .* \(4, 9\), not \(4, 9, 9\)"),
        ({"token_type_ids": torch.ones(9, dtype=torch.long)}, r"token_type_ids must .* \(4, 9\), not \(9,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(change: dict[str, Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        our("BertModel")(**{**batch(), **change})


def test_multiple_choice_wants_an_axis_of_choices() -> None:
    with pytest.raises(InputError, match=r"\(batch, choices, tokens\), not \(4, 9\)"):
        our("BertForMultipleChoice")(**batch())


def test_a_configuration_of_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="BertConfig"):
        BertForMaskedLM(SIZES)


# --- Layers of their own ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", LAYERS, ids=lambda spec: spec.name)
def test_a_named_layer_works_on_its_own(spec: Any) -> None:
    layer = spec.cls.load()(BertConfig(**SIZES)).eval()
    x = batch()["input_ids"] if spec.name == "embeddings" else torch.randn(2, 5, SIZES["hidden_size"])
    output = layer(x)
    shape = {
        "embeddings": (BATCH, TOKENS, 24),
        "pooler": (2, 24),
        "masked-lm-head": (2, 5, 61),
    }.get(spec.name, (2, 5, 24))
    found = output.last_hidden_state if isinstance(output, EncoderOutput) else output
    assert found.shape == shape
    assert spec.summary.endswith(".")


def test_a_block_takes_packed_rows_and_whole_batches_alike() -> None:
    block = our("BertModel").encoder.layer[0]
    x = torch.randn(2, 5, SIZES["hidden_size"])
    assert_close(block(x), block(x, AllRows().attend))
    assert_close(block(x[0]), block(x)[0])
