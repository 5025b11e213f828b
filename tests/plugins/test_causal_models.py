"""What GPT and GPT-2 have in common: their numbers, beside those of transformers, and how they go on from a past."""

import copy
import importlib
import inspect
import pickle
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.testing import assert_close

from registry.errors import InputError
from registry.nn.cache import StaticKeyValueCache

SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "n_positions": 20,
    "n_embd": 24,
    "n_layer": 3,
    "n_head": 4,
    "initializer_range": 0.3,  # large, so that a wrong sum shows
}
PREFIXES = {"gpt": "OpenAIGPT", "gpt2": "GPT2"}
NAMES = tuple(prefix + head for prefix in PREFIXES.values() for head in ("Model", "LMHeadModel", "DoubleHeadsModel"))
HEADS = tuple(name for name in NAMES if "Head" in name)
BATCH, TOKENS = 4, 9
LENGTHS = (9, 5, 7, 5)

each_class = pytest.mark.parametrize("name", NAMES)
each_head = pytest.mark.parametrize("name", HEADS)


# --- Models and batches -----------------------------------------------------------------------------------------------


def plugin_of(name: str) -> str:
    return next(plugin for plugin, prefix in PREFIXES.items() if name.startswith(prefix))


def module_of(name: str) -> Any:
    return importlib.import_module(f"plugins.{plugin_of(name)}.modeling")


def config_of(name: str, **changes: Any) -> Any:
    cls = getattr(importlib.import_module(f"plugins.{plugin_of(name)}.config"), PREFIXES[plugin_of(name)] + "Config")
    return cls(**{**SIZES, **changes})


def our(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    model = getattr(module_of(name), name)(config_of(name, **changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms, too, must matter
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def config_for_transformers(name: str, **changes: Any) -> Any:
    cls = getattr(transformers, PREFIXES[plugin_of(name)] + "Config")
    tokens = {"bos_token_id": None, "eos_token_id": None}
    return cls(**{**SIZES, **tokens, **changes}, attn_implementation="eager")


def their(name: str, ours: nn.Module, **changes: Any) -> Any:
    """The class of transformers, with our weights: every name must find its place."""
    theirs = getattr(transformers, name)(config_for_transformers(name, **changes)).eval()
    theirs.load_state_dict(ours.state_dict())
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
        "token_type_ids": torch.randint(0, SIZES["vocab_size"], (BATCH, TOKENS), generator=generator),
    }
    if padding is None:
        return inputs
    inputs["attention_mask"] = (positions < torch.tensor(LENGTHS)[:, None]).long()
    inputs["position_ids"] = positions * inputs["attention_mask"]
    return {key: padded(x, padding) for key, x in inputs.items()}


def labels(name: str, ignored: int = -100) -> dict[str, Tensor]:
    """Labels of the right shape; some are ignored, among them all that could fall on padding."""
    if not name.endswith(("LMHeadModel", "DoubleHeadsModel")):
        return {}
    known = (torch.arange(TOKENS) % 3 > 0) & (torch.arange(TOKENS) < min(LENGTHS))
    for_tokens = {"labels": torch.where(known, batch()["input_ids"], ignored)}
    if name.endswith("LMHeadModel"):
        return for_tokens
    numbers = torch.tensor([[8, 3], [0, 4]])
    return {**for_tokens, "mc_token_ids": numbers, "mc_labels": torch.tensor([1, ignored])}


def shaped(name: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """For double heads, two questions with two choices instead of four texts."""
    if not name.endswith("DoubleHeadsModel"):
        return inputs
    return {key: x.view(2, 2, TOKENS) if x.shape == (BATCH, TOKENS) else x for key, x in inputs.items()}


def at_tokens(output: Any, mask: Tensor) -> dict[str, Any]:
    """The fields of an output that are numbers; of those with an axis of tokens, the part at tokens."""

    def select(field: str, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(select(field, x) for x in value)
        if field == "attentions":
            return value.transpose(1, 2)[mask]
        x = value.reshape(-1, *value.shape[-2:]) if field in ("logits", "hidden_states", "last_hidden_state") else value
        return x[mask] if x.shape[:2] == mask.shape else x

    fields = dict(output.items())
    return {
        field: select(field, value)
        for field, value in fields.items()
        if value is not None and field not in ("past_key_values", "cache", "cross_attentions")  # both names of one
    }


def assert_same(ours: Any, theirs: Any, mask: Tensor | None = None) -> None:
    mask = torch.ones(BATCH, TOKENS, dtype=torch.bool) if mask is None else mask
    mine, others = at_tokens(ours, mask), at_tokens(theirs, mask)
    assert set(mine) == set(others)
    assert_close(mine, others, atol=1e-5, rtol=0)


# --- The numbers of transformers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_weights", [False, True])
@each_class
def test_every_number_is_that_of_transformers(name: str, with_weights: bool) -> None:
    ours = our(name)
    inputs = shaped(name, {**batch(), **labels(name)})
    options = {"output_hidden_states": True, "output_attentions": with_weights}
    assert_same(ours(**inputs, **options), their(name, ours)(**inputs, **options))


@pytest.mark.parametrize("with_weights", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
@each_class
def test_every_number_at_tokens_is_that_of_transformers_beside_padding(
    name: str, side: str, with_weights: bool
) -> None:
    ours = our(name)
    inputs = shaped(name, batch(side))
    if name.endswith("DoubleHeadsModel"):
        inputs = {key: x.flatten(0, 1) for key, x in inputs.items()}  # theirs take no mask with choices
        inputs["mc_token_ids"] = batch(side)["attention_mask"].argmax(-1)
    found, expected = (
        ours(**inputs, output_attentions=with_weights),
        their(name, ours)(**inputs, output_attentions=with_weights),
    )
    assert_same(found, expected, batch(side)["attention_mask"].bool())


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "silu"])
def test_gpt2s_activations_are_those_of_transformers(activation: str) -> None:
    ours = our("GPT2LMHeadModel", activation_function=activation, n_inner=31)
    theirs = their("GPT2LMHeadModel", ours, activation_function=activation, n_inner=31)
    assert_same(ours(**batch()), theirs(**batch()))


@pytest.mark.parametrize("activation", ["gelu", "relu", "silu", "swish"])
def test_gpts_activations_are_those_of_transformers(activation: str) -> None:
    ours = our("OpenAIGPTLMHeadModel", afn=activation)
    assert_same(ours(**batch()), their("OpenAIGPTLMHeadModel", ours, afn=activation)(**batch()))


@each_head
def test_names_are_the_published_ones(name: str) -> None:
    theirs = set(getattr(transformers, name)(config_for_transformers(name)).state_dict())
    assert set(our(name).state_dict()) == theirs


@pytest.mark.parametrize("shape", [(9,), (4, 9), (2, 2, 9), (2, 1, 2, 9)])
@each_class
def test_ids_may_have_any_leading_axes(name: str, shape: tuple[int, ...]) -> None:
    ours = our(name)
    ids = batch()["input_ids"][: 1 if len(shape) == 1 else None]
    flat = ours(ids, output_hidden_states=True)
    found = ours(ids.view(shape), output_hidden_states=True)
    assert found.hidden_states[0].shape == (*shape, 24)
    for field in ("last_hidden_state", "logits", "mc_logits"):
        if hasattr(flat, field):
            assert_close(getattr(found, field).flatten(), getattr(flat, field).flatten())
    assert found.past_key_values[0][0].shape == (len(ids), 4, 9, 6)


# --- Losses -----------------------------------------------------------------------------------------------------------


@each_head
def test_every_negative_label_is_ignored(name: str) -> None:
    ours = our(name)
    one, other = (ours(**shaped(name, {**batch(), **labels(name, ignored)})) for ignored in (-100, -1))
    for field in {"loss", "mc_loss"} & set(one.keys()):
        assert_close(getattr(one, field), getattr(other, field), atol=0, rtol=0)


@pytest.mark.parametrize("side", ["left", "right"])
@each_head
def test_labels_may_be_the_ids_themselves_beside_padding(name: str, side: str) -> None:
    """The loss is then the mean over all tokens of all texts that have one before them."""
    ours = our(name)
    inputs = batch(side)
    del inputs["position_ids"]
    found = ours(**shaped(name, {**inputs, "labels": inputs["input_ids"]})).loss
    total = torch.zeros(())
    for row, mask, types in zip(*(inputs[k] for k in ("input_ids", "attention_mask", "token_type_ids")), strict=True):
        text = row[mask.bool()]
        logits = ours(text, token_type_ids=types[mask.bool()]).logits
        total = total - logits[:-1].log_softmax(-1)[range(len(text) - 1), text[1:]].sum()
    assert_close(found, total / (sum(LENGTHS) - BATCH), atol=1e-5, rtol=0)


def test_the_choice_is_read_from_the_last_token_unless_told_otherwise() -> None:
    for name in ("GPT2DoubleHeadsModel", "OpenAIGPTDoubleHeadsModel"):
        ours = our(name)
        for side in ("left", "right"):
            inputs = shaped(name, batch(side))
            last = torch.tensor(LENGTHS).view(2, 2) - 1 if side == "right" else torch.full((2, 2), TOKENS - 1)
            assert_close(ours(**inputs).mc_logits, ours(**inputs, mc_token_ids=last).mc_logits, atol=0, rtol=0)
        ids = shaped(name, batch())["input_ids"]
        assert_close(ours(ids).mc_logits, their(name, ours)(ids).mc_logits, atol=1e-5, rtol=0)


# --- The past ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [(9,), (1, 8), (5, 4), (3, 1, 1, 4), (1,) * 9])
@pytest.mark.parametrize("kind", ["nothing", "pairs", "stacked", "cache"])
@each_head
def test_reading_in_pieces_gives_the_numbers_of_reading_at_once(name: str, kind: str, cuts: tuple[int, ...]) -> None:
    ours = our(name)
    ids = batch()["input_ids"]
    with torch.inference_mode():
        whole = ours(ids, output_attentions=True)
        past: Any = ours.new_cache(BATCH, 12) if kind == "cache" else None
        found = []
        for piece in ids.split(cuts, dim=1):
            output = ours(piece, past_key_values=past)
            past = output.past_key_values
            if kind == "stacked":  # pytorch-pretrained-bert's form: one tensor for each layer
                past = [torch.stack(pair) for pair in past]
            found.append(output.logits)
    assert_close(torch.cat(found, dim=1), whole.logits, atol=1e-5, rtol=0)
    for mine, other in zip(past, whole.past_key_values, strict=True):
        assert_close(mine[0], other[0], atol=1e-5, rtol=0)
        assert_close(mine[1], other[1], atol=1e-5, rtol=0)
    assert isinstance(past, StaticKeyValueCache) == (kind == "cache")


@pytest.mark.parametrize("kind", ["pairs", "cache"])
@pytest.mark.parametrize("with_weights", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
@each_head
def test_padding_in_the_past_is_ignored(name: str, side: str, with_weights: bool, kind: str) -> None:
    """Compared with each text alone, padding cut off."""
    ours = our(name)
    inputs = batch(side)
    more = batch()["input_ids"][:, :3]
    mask = torch.cat([inputs["attention_mask"], torch.ones(BATCH, 3, dtype=torch.long)], dim=1)
    with torch.inference_mode():
        past = ours.new_cache(BATCH, 12) if kind == "cache" else None
        first = ours(inputs["input_ids"], attention_mask=inputs["attention_mask"], past_key_values=past)
        then = ours(more, attention_mask=mask, past_key_values=first.past_key_values, output_attentions=with_weights)
        for row in range(BATCH):
            text = torch.cat([inputs["input_ids"][row, inputs["attention_mask"][row].bool()], more[row]])
            assert_close(then.logits[row], ours(text).logits[-3:], atol=1e-5, rtol=0)


def test_a_past_of_pairs_may_be_continued_in_several_ways() -> None:
    for name in HEADS:
        ours = our(name)
        ids = batch()["input_ids"]
        past = ours(ids[:, :5]).past_key_values
        first = ours(ids[:, 5:], past_key_values=past).logits
        ours(ids[:, :2], past_key_values=past)
        assert_close(ours(ids[:, 5:], past_key_values=past).logits, first, atol=0, rtol=0)


@each_head
def test_gradients_flow_through_a_past_of_pairs_and_are_not_lost_in_a_cache(name: str) -> None:
    ours = our(name)
    ids = batch()["input_ids"]
    ours(ids).logits.sum().backward()
    expected = {key: parameter.grad for key, parameter in ours.named_parameters()}
    ours.zero_grad()
    first = ours(ids[:, :4])
    second = ours(ids[:, 4:], past_key_values=first.past_key_values)
    (first.logits.sum() + second.logits.sum()).backward()
    for key, parameter in ours.named_parameters():
        assert_close(parameter.grad, expected[key], atol=1e-3, rtol=1e-4)
    with pytest.raises(InputError, match="gradients"):
        ours(ids, past_key_values=ours.new_cache(BATCH, 9))


@each_head
def test_scores_are_the_logits_of_the_last_token(name: str) -> None:
    ours = our(name)
    assert ours.context_size == 20
    ids = batch()["input_ids"]
    with torch.inference_mode():
        cache = ours.new_cache(BATCH, 9)
        assert_close(ours.score(ids[:, :5], cache), ours(ids[:, :5]).logits[:, -1], atol=1e-5, rtol=0)
        assert_close(ours.score(ids[:, 5:6], cache), ours(ids[:, :6]).logits[:, -1], atol=1e-5, rtol=0)
        assert_close(ours.score(ids[:, 6:], cache), ours(ids).logits[:, -1], atol=1e-5, rtol=0)
        assert cache.length == 9
        left = batch("left")
        cache = ours.new_cache(BATCH, 9)
        found = ours.score(left["input_ids"], cache, attention_mask=left["attention_mask"])
        del left["token_type_ids"]
        assert_close(found, ours(**left).logits[:, -1], atol=1e-5, rtol=0)


# --- Padding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_weights", [False, True])
@pytest.mark.parametrize("side", ["right", "left"])
@each_class
def test_a_padded_batch_gives_what_each_text_gives_alone(name: str, side: str, with_weights: bool) -> None:
    ours = our(name)
    inputs = batch(side)
    del inputs["position_ids"]
    mask = inputs["attention_mask"].bool()
    found = ours(**inputs, output_hidden_states=True, output_attentions=with_weights)
    for row in range(BATCH):
        alone = ours(
            inputs["input_ids"][row, mask[row]],
            token_type_ids=inputs["token_type_ids"][row, mask[row]],
            output_hidden_states=True,
        )
        for mine, other in zip(found.hidden_states, alone.hidden_states, strict=True):
            assert_close(mine[row, mask[row]], other, atol=1e-5, rtol=0)
    assert all((state[~mask] == 0).all() for state in found.hidden_states)


@pytest.mark.parametrize("with_weights", [False, True])
@each_class
def test_a_text_of_nothing_but_padding_never_gives_nan(name: str, with_weights: bool) -> None:
    ours = our(name)
    for empty in ([1], list(range(BATCH))):
        inputs = batch("left")
        inputs["attention_mask"][empty] = 0
        output = ours(
            **shaped(name, {**inputs, **labels(name)}), output_attentions=with_weights, output_hidden_states=True
        )
        for value in (*output, *output.hidden_states, *(output.attentions or ())):
            assert not isinstance(value, Tensor) or value.isfinite().all()
        output.hidden_states[-1].sum().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in ours.parameters())


@each_class
def test_a_mask_of_ones_changes_nothing_and_may_be_of_any_type(name: str) -> None:
    ours = our(name)
    ids = batch()["input_ids"]
    for dtype in (torch.bool, torch.int32, torch.float32):
        assert_close(ours(ids, attention_mask=torch.ones(ids.shape, dtype=dtype))[:1], ours(ids)[:1], atol=0, rtol=0)


# --- Parameters -------------------------------------------------------------------------------------------------------


@each_class
def test_there_are_no_buffers(name: str) -> None:
    assert list(our(name).buffers()) == []


@each_class
def test_every_parameter_gets_a_gradient(name: str) -> None:
    ours = our(name).train()
    output = ours(**shaped(name, {**batch("right"), **labels(name)}))
    loss = output.last_hidden_state.sum() if name in NAMES[::3] else output.loss + getattr(output, "mc_loss", 0)
    loss.backward()
    assert [key for key, parameter in ours.named_parameters() if parameter.grad is None] == []


@each_head
def test_scores_share_the_matrix_of_the_embeddings(name: str) -> None:
    model = our(name)
    for same in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model.double()):
        table = getattr(same.transformer, "wte" if name.startswith("GPT2") else "tokens_embed")
        assert same.lm_head.weight is table.weight
        assert_close(same.double()(batch()["input_ids"]).logits, model.double()(batch()["input_ids"]).logits)


@each_class
def test_a_model_can_be_laid_out_without_memory(name: str) -> None:
    with torch.device("meta"):
        model = getattr(module_of(name), name)(config_of(name))
    assert all(parameter.is_meta for parameter in model.parameters())
    output = model(**{key: x.to("meta") for key, x in shaped(name, batch("right")).items()})
    assert all(x.is_meta for x in output if isinstance(x, Tensor))


@each_class
def test_dropout_acts_in_training_only(name: str) -> None:
    model = our(name)
    assert_close(model(**batch())[:1], model(**batch())[:1], atol=0, rtol=0)
    field = "last_hidden_state" if name in NAMES[::3] else "logits"
    for rate in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
        rates = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        still = our(name, **rates).train()
        assert_close(getattr(still(**batch()), field), getattr(model(**batch()), field), atol=1e-5, rtol=0)
        moved = our(name, **{**rates, rate: 0.5}).train()
        assert not torch.equal(getattr(moved(**batch()), field), getattr(moved(**batch()), field)), rate


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@each_class
def test_other_floating_point_types_work(name: str, dtype: torch.dtype) -> None:
    model = our(name, initializer_range=0.05)
    inputs = shaped(name, {**batch("right"), **labels(name)})
    expected = model(**inputs)
    for mine, other in zip(model.to(dtype)(**inputs), expected, strict=True):
        if isinstance(mine, Tensor):
            assert mine.dtype == dtype
            assert_close(mine.float(), other.float(), atol=0.1 if dtype != torch.float64 else 1e-5, rtol=0.01)


@each_head
def test_an_exported_program_serves_any_mask_and_any_shape(name: str) -> None:
    model = our(name)
    example = {key: batch("right")[key] for key in ("input_ids", "attention_mask")}
    axes = {0: torch.export.Dim("batch", max=64), 1: torch.export.Dim("tokens", max=SIZES["n_positions"])}
    program = torch.export.export(model, (), example, dynamic_shapes=dict.fromkeys(example, axes)).module()
    left = {key: batch("left")[key] for key in example}
    whole = {**left, "attention_mask": torch.ones_like(left["attention_mask"])}
    shorter = {key: x[:3, :7] for key, x in example.items()}
    for inputs in (example, left, whole, shorter):
        assert_close(program(**inputs).logits, model(**inputs).logits, atol=1e-5, rtol=0)


@each_head
def test_compilation_sees_one_graph_and_keeps_the_numbers(name: str) -> None:
    model = our(name)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    inputs = shaped(name, {**batch("right"), **labels(name)})
    assert_close(compiled(**inputs)[:2], model(**inputs)[:2], atol=1e-5, rtol=0)


# --- Signatures and refusals ------------------------------------------------------------------------------------------


@each_class
def test_all_arguments_but_the_ids_are_keywords_and_shown(name: str) -> None:
    parameters = inspect.signature(getattr(module_of(name), name).forward).parameters
    backbone = getattr(module_of(name), PREFIXES[plugin_of(name)] + "Model")
    shared = set(inspect.signature(backbone.forward).parameters)
    assert {"attention_mask", "token_type_ids", "position_ids", "inputs_embeds", "past_key_values"} < shared
    assert set(parameters) == shared | set(labels(name))
    keywords = [p for key, p in parameters.items() if key not in ("self", "input_ids")]
    assert all(p.kind is p.KEYWORD_ONLY and p.default in (None, False) for p in keywords)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_ids": torch.full((4, 9), 61)}, r"input_ids must lie between 0 and 60, but go from 61"),
        ({"input_ids": torch.full((4, 9), -1)}, r"input_ids must lie between 0 and 60, but go from -1"),
        ({"token_type_ids": torch.full((4, 9), 61)}, r"token_type_ids must lie between 0 and 60"),
        ({"position_ids": torch.full((4, 9), 20)}, r"position_ids must lie between 0 and 19"),
        ({"attention_mask": torch.ones(4, 8)}, r"attention_mask must .* \(4, 9\), not \(4, 8\)"),
        ({"token_type_ids": torch.ones(9, dtype=torch.long)}, r"token_type_ids must .* \(4, 9\), not \(9,\)"),
        ({"input_ids": torch.ones(4, 0, dtype=torch.long)}, r"at least one token, not have the shape \(4, 0\)"),
    ],
)
@each_class
def test_what_does_not_fit_is_named(name: str, change: dict[str, Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        our(name)(**{"input_ids": batch()["input_ids"], **change})


@each_head
def test_a_sequence_longer_than_the_positions_is_refused(name: str) -> None:
    ours = our(name)
    with pytest.raises(InputError, match=r"21 tokens .* 20 positions"):
        ours(torch.ones(1, 21, dtype=torch.long))
    past = ours(torch.ones(1, 15, dtype=torch.long)).past_key_values
    with pytest.raises(InputError, match=r"21 tokens .* 20 positions"):
        ours(torch.ones(1, 6, dtype=torch.long), past_key_values=past)
    with pytest.raises(InputError, match="covers the tokens in past_key_values"):
        ours(torch.ones(1, 2, dtype=torch.long), past_key_values=past, attention_mask=torch.ones(1, 2))


def test_numbers_of_tokens_that_do_not_exist_are_refused() -> None:
    for name in ("GPT2DoubleHeadsModel", "OpenAIGPTDoubleHeadsModel"):
        ids = shaped(name, batch())["input_ids"]
        with pytest.raises(InputError, match=r"mc_token_ids must lie between 0 and 8, but go from 1 to 9"):
            our(name)(ids, mc_token_ids=torch.tensor([[1, 9], [2, 3]]))
        with pytest.raises(InputError, match=r"shape \(2, 2\), not \(2,\)"):
            our(name)(ids, mc_token_ids=torch.tensor([1, 2]))


@each_class
def test_a_configuration_of_something_else_is_refused(name: str) -> None:
    other = "OpenAIGPTModel" if name.startswith("GPT2") else "GPT2Model"
    with pytest.raises(TypeError, match="Config"):
        getattr(module_of(name), name)(config_of(other))


@pytest.mark.parametrize("plugin", PREFIXES)
def test_a_named_layer_works_on_its_own(plugin: str) -> None:
    for spec in importlib.import_module(f"plugins.{plugin}.layers").LAYERS:
        layer = spec.cls.load()(config_of(PREFIXES[plugin])).eval()
        x = torch.randn(2, 5, SIZES["n_embd"])
        assert layer(x).shape == x.shape
        assert_close(layer(x)[:, :3], layer(x[:, :3]))
        assert spec.summary.endswith(".")
