"""Transformer-XL's numbers, compared with pytorch-pretrained-bert's, and what that did wrong, done right."""

import copy
import inspect
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from plugins.transfo_xl.config import TransfoXLConfig
from plugins.transfo_xl.layers import LAYERS
from plugins.transfo_xl.modeling import (
    TransfoXLForSequenceClassification,
    TransfoXLLMHeadModel,
    TransfoXLModel,
)
from registry.errors import ConfigError, InputError
from registry.nn import onednn
from registry.nn.onednn import LARGE

CLASSES = (TransfoXLModel, TransfoXLLMHeadModel, TransfoXLForSequenceClassification)
SEGMENTS = ((0, 8), (8, 11), (11, 12), (12, 25))
"""Whole, short, single and long, one after the other."""

each_class = pytest.mark.parametrize("cls", CLASSES)


def backbone_of(model: Any) -> Any:
    return model if isinstance(model, TransfoXLModel) else model.transformer


# --- The numbers of pytorch-pretrained-bert ---------------------------------------------------------------------------

KINDS: dict[str, dict[str, Any]] = {
    **{f"div_val {div}, tied": {"div_val": div} for div in (1, 2, 4)},
    **{f"div_val {div}, untied": {"div_val": div, "tie_weight": False, "tie_projs": [False] * 3} for div in (1, 2, 4)},
    "narrower words": {"d_embed": 24, "div_val": 1},
    "narrower words, all projections tied": {"d_embed": 24, "div_val": 1, "tie_projs": [True, True, True]},
    "all projections tied": {"tie_projs": [True, True, True]},
    "normalised before": {"pre_lnorm": True},
    "one pair of biases": {"untie_r": False},
    "no limit of distance": {"clamp_len": 0},
    "every token sees all": {"same_length": False},
    "every token sees all, normalised before": {"same_length": False, "pre_lnorm": True},
    "no memory": {"mem_len": 0, "same_length": False},
    "one cutoff": {"cutoffs": [20]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("grad", "large"),
    [(False, LARGE), (False, 0), (True, LARGE), (True, 0)],
    ids=["keys kept", "keys kept, by oneDNN", "keys projected again", "keys projected again, by oneDNN"],
)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_states_memories_and_losses_are_those_of_the_reference_over_several_segments(
    make, theirs, ids, kind, grad, large, monkeypatch
) -> None:
    monkeypatch.setattr("registry.nn.onednn.LARGE", large)
    ours = make(**kind)
    if not large:
        onednn.enable(ours)
    other = theirs(ours)
    mems = their_mems = None
    for start, stop in SEGMENTS:
        tokens, target = ids[:, start:stop], ids[:, start + 1 : stop + 1].contiguous()
        with torch.set_grad_enabled(grad):
            scored = ours(tokens, mems=mems)
            found = ours(tokens, target=target, mems=mems, output_hidden_states=True, output_attentions=True)
            state = ours.transformer(tokens, mems=mems).last_hidden_state
        with torch.no_grad():
            logits, next_mems = other(tokens, mems=their_mems)
            losses, _ = other(tokens, target, mems=their_mems)
            their_state, _ = other.transformer(tokens, their_mems)
        mems, their_mems = scored.mems, next_mems
        assert_close(state, their_state, atol=1e-5, rtol=0)
        assert_close(found.hidden_states[-1], their_state, atol=1e-5, rtol=0)
        assert_close(scored.logits, logits, atol=1e-5, rtol=1e-6)
        assert_close(found.losses, -logits.gather(-1, target[..., None]).squeeze(-1), atol=1e-5, rtol=1e-6)
        assert_close(found.loss, losses.mean(), atol=1e-5, rtol=0)
        assert_close(losses.flatten().sort().values, found.losses.flatten().sort().values, atol=1e-5, rtol=1e-6)
        for mine, their in zip(mems, their_mems or [], strict=False):
            assert_close(mine, their.transpose(0, 1), atol=1e-5, rtol=0)
        assert len(found.hidden_states) == 4
        assert_close(found.attentions[0].sum(-1), torch.ones(2, 4, stop - start))


def test_memories_of_the_reference_continue_with_their_axes_transposed(make, theirs, ids) -> None:
    ours = make()
    with torch.no_grad():
        _, mems = theirs(ours)(ids[:, :9])
        expected, _ = theirs(ours)(ids[:, 9:12], mems=mems)
        found = ours(ids[:, 9:12], mems=[mem.transpose(0, 1) for mem in mems])
    assert_close(found.logits, expected, atol=1e-5, rtol=0)


def test_without_cutoffs_there_is_a_plain_softmax(make, ids) -> None:
    for div_val in (1, 2):
        model = make(cutoffs=[], div_val=div_val)
        state = model.transformer(ids).last_hidden_state
        projected = state @ model.crit.out_projs[0] if div_val > 1 else state
        expected = projected @ model.transformer.word_emb.emb_layers[0].weight.T + model.crit.out_layers[0].bias
        assert_close(model(ids).logits, expected.log_softmax(-1), atol=1e-5, rtol=0)
        assert not any("cluster" in name for name in model.state_dict())


# --- Losses -----------------------------------------------------------------------------------------------------------


def test_labels_are_shifted_inside_and_targets_are_not(make, ids) -> None:
    model = make()
    by_labels, by_target = model(ids, labels=ids), model(ids[:, :-1], target=ids[:, 1:])
    assert_close(by_labels.losses[:, :-1], by_target.losses)
    assert by_labels.losses[:, -1].tolist() == [0, 0]
    assert_close(by_labels.loss, by_target.loss)
    assert by_labels.logits is None
    with pytest.raises(InputError, match="pass only one"):
        model(ids, labels=ids, target=ids)


def test_what_is_not_labelled_is_not_counted(make, ids) -> None:
    model = make()
    labels = ids.masked_fill(ids % 3 == 0, -1)
    found, whole = model(ids, labels=labels), model(ids, labels=ids)
    known = labels[:, 1:] >= 0
    assert_close(found.losses[:, :-1], whole.losses[:, :-1] * known)
    assert_close(found.loss, whole.losses[:, :-1][known].mean())
    assert model(ids, target=torch.full_like(ids, -100)).loss == 0


def test_targets_of_words_that_do_not_exist_are_refused(make, ids) -> None:
    with pytest.raises(InputError, match=r"label 50 in target .* numbered from 0 to 49"):
        make()(ids, target=ids + 1)
    for wrong in (ids + 1, ids - 50):
        for kind in ({}, {"div_val": 1}):
            with pytest.raises(InputError, match=r"input_ids must lie between 0 and 49"):
                make(**kind)(wrong)


# --- Lengths ----------------------------------------------------------------------------------------------------------


def test_lengths_are_changed_on_the_head_model(make, ids) -> None:
    model = make(same_length=False, clamp_len=0)
    model.reset_length(5, 0, 4)
    model.clamp_len, model.same_length = 3, True
    changed = make(tgt_len=5, mem_len=4, clamp_len=3, same_length=True)
    assert (model.tgt_len, model.transformer.mem_len, model.transformer.clamp_len) == (5, 4, 3)
    found, expected = model(ids), changed(ids)
    assert_close(found.logits, expected.logits)
    assert [mem.shape for mem in found.mems] == [(2, 4, 32)] * 3


def test_tokens_that_the_next_segment_reads_again_are_not_remembered(make, ids) -> None:
    model = make(ext_len=3)
    states = model(ids[:, :8], output_hidden_states=True)
    expected = torch.cat([torch.zeros(2, 5, 32), states.hidden_states[0][:, :5]], dim=1)
    assert_close(states.mems[0], expected)
    assert states.mems[0].shape[1] == 10


def test_a_memory_is_of_the_length_asked_for_and_without_gradient(make, ids) -> None:
    model = make(mem_len=6).train()
    found = model(ids[:, :4])
    assert [mem.shape for mem in found.mems] == [(2, 6, 32)] * 3
    assert not any(mem.requires_grad for mem in found.mems)
    assert found.mems[1][:, :2].eq(0).all(), "nothing was read before"


def test_all_see_equally_many_whatever_the_segments(make, ids) -> None:
    model = make(mem_len=6)
    whole = model(ids).logits
    for cut in ((30,), (7, 23), (1,) * 30, (2, 9, 19)):
        mems, parts = None, []
        with torch.no_grad():
            for part in ids.split(cut, dim=1):
                output = model(part, mems=mems)
                mems = output.mems
                parts.append(output.logits)
        assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=0)


# --- Memory -----------------------------------------------------------------------------------------------------------


def test_a_memory_may_be_continued_in_several_ways(make, ids) -> None:
    model = make()
    with torch.no_grad():
        mems = model(ids[:, :8]).mems
        kept = [mem.clone() for mem in mems]
        first = model(ids[:, 8:12], mems=mems)
        states = [mem.clone() for mem in first.mems]
        second = model(ids[:, 20:25], mems=mems)
        again = model(ids[:, 8:12], mems=mems)
    assert_close(again.logits, first.logits)
    assert not torch.equal(second.logits[:, :4], first.logits)
    assert_close(list(mems), kept, atol=0, rtol=0)
    assert_close(list(first.mems), states, atol=0, rtol=0)


def test_what_was_made_in_inference_mode_is_continued_outside_of_it(make, ids) -> None:
    model = make()
    with torch.inference_mode():
        mems = model(ids[:, :8]).mems
        expected = model(ids[:, 8:12], mems=mems).logits
    with torch.no_grad():
        assert_close(model(ids[:, 8:12], mems=mems).logits, expected.clone())


def test_keys_of_other_weights_are_projected_again(make, ids) -> None:
    model = make()
    with torch.no_grad():
        mems = model(ids[:, :8]).mems
        for parameter in model.parameters():
            parameter.mul_(1.1)
        expected = model(ids[:, 8:12], mems=list(mems)).logits
        assert_close(model(ids[:, 8:12], mems=mems).logits, expected)


def test_distances_of_another_limit_are_projected_again(make, ids) -> None:
    model = make(clamp_len=0)
    with torch.no_grad():
        mems = model(ids[:, :8]).mems
        model.clamp_len = 3
        expected = model(ids[:, 8:16], mems=list(mems)).logits
        assert_close(model(ids[:, 8:16], mems=mems).logits, expected)


def test_a_layer_may_be_computed_twice_as_gradient_checkpointing_does(make, ids) -> None:
    model, plain = make().train(), make().train()
    for module in (model, plain):
        module.apply(lambda part: setattr(part, "p", 0.0) if isinstance(part, torch.nn.Dropout) else None)
    for layer in model.transformer.layers:
        forward = layer.forward
        layer.forward = lambda *inputs, forward=forward: checkpoint(forward, *inputs, use_reentrant=False)
    mems = plain(ids[:, :10]).mems
    for each in (model, plain):
        each(ids[:, 10:20], labels=ids[:, 10:20], mems=list(mems)).loss.backward()
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert_close(one.grad, other.grad)


def test_nothing_is_projected_twice_in_evaluation(make, ids) -> None:
    model = make()
    rows = {"qkv_net": 0, "r_net": 0}
    attention = model.transformer.layers[1].dec_attn
    for name in rows:
        plain = getattr(attention, name).forward

        def count(x, name=name, plain=plain):  # type: ignore[no-untyped-def]
            rows[name] += x[..., 0].numel()
            return plain(x)

        getattr(attention, name).forward = count
    with torch.no_grad():
        mems = None
        for part in ids.split(5, dim=1):
            mems = model(part, mems=mems).mems
    assert rows["qkv_net"] == 2 + ids.numel(), "one row for the zeros that a memory of nothing is full of"
    assert rows["r_net"] == 10 + 5, "distances: once, for as long as their number stays"


@pytest.mark.parametrize(
    "mems",
    [
        [torch.zeros(2, 10, 32)] * 2,
        [torch.zeros(3, 10, 32)] * 3,
        [torch.zeros(2, 10, 8)] * 3,
        [torch.zeros(10, 32)] * 3,
    ],
)
def test_a_memory_that_does_not_fit_is_refused(make, ids, mems) -> None:
    with pytest.raises(InputError, match="mems must have 3 tensors"):
        make()(ids, mems=mems)


# --- Padding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [{}, {"same_length": False}, {"pre_lnorm": True}, {"mem_len": 0, "same_length": False}]
)
def test_a_text_behind_padding_has_the_numbers_that_it_has_alone(make, ids, kind) -> None:
    model = make(**kind)
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[1, :4] = 0
    with torch.no_grad():
        together = model(ids[:, :9], attention_mask=mask)
        alone = model(ids[1:, 4:9])
        assert_close(together.logits[1:, 4:], alone.logits, atol=1e-5, rtol=0)
        later = model(ids[:, 9:14], mems=together.mems).logits
        assert_close(later[1:], model(ids[1:, 9:14], mems=alone.mems).logits, atol=1e-5, rtol=0)


def test_the_last_real_token_is_classified(make, ids) -> None:
    model = make(TransfoXLForSequenceClassification, num_labels=3)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1, 5:] = False
    found = model(ids[:, :9], attention_mask=mask, labels=torch.tensor([2, 0]))
    alone = model(ids[1:, :5], output_hidden_states=True)
    assert_close(found.logits[1:], alone.logits, atol=1e-5, rtol=0)
    assert_close(alone.logits, alone.hidden_states[-1][:, -1] @ model.score.weight.T)
    assert_close(found.loss, -found.logits.log_softmax(-1)[[0, 1], [2, 0]].mean())
    number = make(TransfoXLForSequenceClassification, num_labels=1)(ids, labels=torch.tensor([0.5, 2.0]))
    assert_close(number.loss, (number.logits.flatten() - torch.tensor([0.5, 2.0])).square().mean())


# --- Parameters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["normal", "uniform"])
@each_class
def test_every_new_weight_is_drawn(cls: Any, init: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, **how: plain(*size, **how).fill_(math.nan))
    config = TransfoXLConfig(
        vocab_size=3000, cutoffs=[1000, 2000], d_model=64, d_embed=64, n_head=8, d_head=64, d_inner=64, n_layer=2,
        div_val=2, init=init, init_range=0.3, untie_r=False,
    )  # fmt: skip
    for name, parameter in cls(config).named_parameters():
        if name.endswith("bias") and not name.endswith(("r_w_bias", "r_r_bias")):
            assert (parameter == 0).all(), name
        elif "layer_norm" in name:
            assert abs(parameter.mean() - 1) < 0.02, name
        elif parameter.numel() > 500:
            wanted = 0.01 if "proj" in name else 0.02 if init == "normal" else 0.3 / 3**0.5
            assert abs(parameter.std() / wanted - 1) < 0.12, name


@each_class
def test_there_are_no_buffers(make, cls: Any) -> None:
    assert list(make(cls).buffers()) == []


@pytest.mark.parametrize(
    "kind", [{}, {"div_val": 1}, {"untie_r": False}, {"tie_weight": False, "proj_share_all_but_first": False}]
)
@each_class
def test_every_parameter_gets_a_gradient(make, ids, cls: Any, kind: dict[str, Any]) -> None:
    model = make(cls, **kind).train()
    mems = model.train()(ids).mems if cls is not TransfoXLForSequenceClassification else None
    labels = {} if cls is TransfoXLModel else {"labels": ids if cls is TransfoXLLMHeadModel else torch.tensor([0, 1])}
    output = model(ids, mems=mems, **labels)
    (output.last_hidden_state.sum() if cls is TransfoXLModel else output.loss).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_ties_are_those_that_the_configuration_asks_for(make) -> None:
    for same in (model := make(), copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model.double()):
        words, scores = same.transformer.word_emb, same.crit
        for number in range(3):
            assert scores.out_layers[number].weight is words.emb_layers[number].weight
            assert (scores.out_projs[number] is words.emb_projs[number]) is (number > 0)
    untied = make(tie_weight=False, tie_projs=[True, False, False])
    assert untied.crit.out_layers[0].weight is not untied.transformer.word_emb.emb_layers[0].weight
    shared = [a is b for a, b in zip(untied.crit.out_projs, untied.transformer.word_emb.emb_projs, strict=True)]
    assert shared == [True, False, False]
    one = make(untie_r=False).transformer
    assert all(layer.dec_attn.r_w_bias is one.r_w_bias for layer in one.layers)


@pytest.mark.slow
def test_two_hundred_steps_from_scratch_predict_better_than_frequencies_do() -> None:
    torch.manual_seed(0)
    grammar = torch.rand(40, 40).topk(3).indices  # of three words one follows
    text, steps = [0], torch.randint(0, 3, (4000,))
    for step in steps:
        text.append(int(grammar[text[-1], step]))
    ids = torch.tensor(text)
    shares = ids.bincount(minlength=40) / len(ids)
    entropy = -(shares * shares.clamp(min=1e-9).log()).sum()
    model = TransfoXLLMHeadModel(
        TransfoXLConfig(vocab_size=40, cutoffs=[10, 25], d_model=32, d_embed=32, n_head=2, d_head=16, d_inner=64,
                        n_layer=2, div_val=2, mem_len=16, tgt_len=16, dropout=0.0)
    ).train()  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    rows, mems, losses = ids[:4000].view(8, 500), None, []
    for step in range(200):
        start = step % 31 * 16
        mems = None if start == 0 else mems
        output = model(rows[:, start : start + 16], target=rows[:, start + 1 : start + 17], mems=mems)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        mems, losses = output.mems, [*losses, output.loss.item()]
    assert all(map(math.isfinite, losses))
    assert sum(losses[-10:]) / 10 < entropy - 0.3, (losses[-1], entropy)


# --- Everything else --------------------------------------------------------------------------------------------------


@each_class
def test_a_model_can_be_laid_out_without_memory(cls: Any, make) -> None:
    with torch.device("meta"):
        model = cls(make().config)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_dropout_acts_in_training_only(make, ids) -> None:
    model = make(dropatt=0.5)
    assert_close(model(ids).logits, model(ids).logits, atol=0, rtol=0)
    for rates in ({"dropout": 0.5}, {"dropout": 0.0, "dropatt": 0.5}):
        model = make(**rates).train()
        with torch.no_grad():
            assert not torch.equal(model(ids).logits, model(ids).logits)
    still = make(dropout=0.0).train()
    assert_close(still(ids).logits, make(dropout=0.0)(ids).logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_floating_point_types_work(make, ids, dtype) -> None:
    with torch.no_grad():
        expected = make()(ids[:, 8:16], mems=make()(ids[:, :8]).mems).logits
        model = make().to(dtype)
        found = model(ids[:, 8:16], mems=model(ids[:, :8]).mems).logits
    assert found.dtype == dtype
    assert_close(found.float(), expected, atol=0.3 if dtype != torch.float64 else 1e-5, rtol=0.05)


@each_class
def test_all_arguments_but_the_ids_are_keywords_and_shown(cls: Any) -> None:
    parameters = inspect.signature(cls.forward).parameters
    own = {TransfoXLModel: set(), TransfoXLLMHeadModel: {"labels", "target"}}.get(cls, {"labels"})
    shared = {"attention_mask", "inputs_embeds", "mems", "output_hidden_states", "output_attentions"}
    shared |= set() if cls is TransfoXLForSequenceClassification else {"use_cache"}
    assert set(parameters) == {"self", "input_ids"} | shared | own
    assert all(p.kind is p.KEYWORD_ONLY for name, p in parameters.items() if name not in ("self", "input_ids"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_ids": torch.ones(9, dtype=torch.long)}, r"shape \(batch, tokens\), not \(9,\)"),
        ({"input_ids": torch.ones(4, 0, dtype=torch.long)}, r"not \(4, 0\)"),
        ({"attention_mask": torch.ones(2, 8)}, r"attention_mask must .* \(2, 30\), not \(2, 8\)"),
        ({"labels": torch.ones(2, 8)}, r"labels must .* \(2, 30\), not \(2, 8\)"),
    ],
)
def test_what_does_not_fit_is_named(make, ids: Tensor, change: dict[str, Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()(**{"input_ids": ids, **change})


def test_a_named_layer_works_on_its_own(make) -> None:
    config = make().config
    for spec in LAYERS:
        layer = spec.cls.load()(config).eval()
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        x = torch.randn(2, 5, 32)
        if spec.name == "adaptive-embedding":
            assert layer(torch.arange(50)).shape == (50, 32)
        elif spec.name == "adaptive-softmax":
            assert_close(layer(x).exp().sum(-1), torch.ones(2, 5))
        else:
            assert layer(x).shape == x.shape
            assert_close(layer(x)[:, :3], layer(x[:, :3]))
        assert spec.summary.endswith(".")


# --- The configuration ------------------------------------------------------------------------------------------------


def test_words_are_counted_by_either_name() -> None:
    for keys in ({"n_token": 99, "cutoffs": []}, {"vocab_size": 99, "cutoffs": []}):
        config = TransfoXLConfig.from_dict(keys)
        assert (config.vocab_size, config.n_token) == (99, 99)
        assert TransfoXLConfig(**keys) == config
        assert config.to_dict()["n_token"] == config.to_dict()["vocab_size"] == 99
    with pytest.raises(ConfigError, match="must be equal"):
        TransfoXLConfig(n_token=5, vocab_size=6)


def test_ties_of_projections_follow_from_either_key() -> None:
    assert TransfoXLConfig().tie_projs == (False, True, True, True)
    assert TransfoXLConfig.from_dict({"proj_share_all_but_first": False}).tie_projs == (False,) * 4
    assert TransfoXLConfig.from_dict({"tie_projs": [True] * 4}).tie_projs == (True,) * 4
    assert TransfoXLConfig(cutoffs=[5]).tie_projs == (False, True)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"cutoffs": [5, 3]}, "cutoffs must be .* increasing"),
        ({"cutoffs": [20_000, 300_000]}, "increasing whole numbers between 0 and vocab_size"),
        ({"cutoffs": 3}, "must be lists"),
        ({"cutoffs": [1.5]}, "whole numbers"),
        ({"tie_projs": [True]}, "each of the 4 clusters"),
        ({"tie_projs": [1, 1, 1, 1]}, "true or false"),
        ({"div_val": 2000}, "none of the 1024 features"),
        ({"attn_type": 2}, "attn_type"),
        ({"sample_softmax": 5}, "sample_softmax"),
        ({"eos_token_id": 267_735}, "eos_token_id"),
    ],
)
def test_impossible_configurations_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TransfoXLConfig.from_dict(keys)
