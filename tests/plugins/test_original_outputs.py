"""First releases compute exactly what the same numbers compute when they come from a file of PyTorch's.

That file is written here from the numbers themselves, renamed and transposed by hand: our readers and our tables of
names have no part in it.  That it means what it should is shown by pytorch-pretrained-bert, which reads nothing else.
"""

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.testing import assert_close

from registry import zoo

Arrays = dict[str, NDArray[np.float32]]

IDS = torch.randint(0, 13, (2, 7), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def pretrained_bert(monkeypatch: pytest.MonkeyPatch) -> Any:
    """pytorch-pretrained-bert, whose masks of bytes torch refuses by now."""
    monkeypatch.setattr(Tensor, "byte", Tensor.bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pytorch_pretrained_bert")


@pytest.fixture
def pytorch(tmp_path: Path) -> Callable[[Arrays, dict[str, Any]], Path]:
    """Writes a folder as PyTorch does."""

    def write(arrays: Arrays, config: dict[str, Any]) -> Path:
        folder = tmp_path / "pytorch"
        folder.mkdir()
        state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        torch.save(state, folder / "pytorch_model.bin")
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return write


def load(name: str, folder: Path, **options: Any) -> Any:
    cls = getattr(zoo, name)
    model = cls.from_pretrained(folder, **options)
    report = model.load_report
    assert report.new == report.missing == report.unexpected == (), "no number of the outputs is a random one"
    return model


def outputs(model: Any, *inputs: Tensor, **more: Any) -> list[Tensor]:
    with torch.inference_mode():
        return list(tensors_in(model(*inputs, **more)))


def tensors_in(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif output is not None:
        for part in output:
            yield from tensors_in(part)


def assert_same(model: Any, other: Any, *inputs: Tensor, **more: Any) -> None:
    """Bit for bit."""
    ones, others = outputs(model, *inputs, **more), outputs(other, *inputs, **more)
    assert len(ones) == len(others) > 0
    assert all(torch.equal(one, other) for one, other in zip(ones, others, strict=True))


def assert_near(model: Any, reference: Any, *inputs: Tensor, first: int) -> None:
    """The first outputs are those of another program, but for the order in which it adds."""
    theirs = outputs(reference.eval(), *inputs)
    for one, other in zip(outputs(model, *inputs)[:first], theirs[:first], strict=True):
        assert_close(one, other, atol=1e-5, rtol=0)


def fill(reference: Any, folder: Path) -> Any:
    """Give pytorch-pretrained-bert's model the weights in PyTorch's file; only its buffers may have none."""
    missing, unexpected = reference.load_state_dict(torch.load(folder / "pytorch_model.bin"), strict=False)
    assert not unexpected
    assert set(missing) <= {name for name, _ in reference.named_buffers()} | {
        name for name in missing if name.endswith(("attn.bias", "inv_freq"))
    }
    return reference


# --- BERT -------------------------------------------------------------------------------------------------------------

HEADS = {
    "bert_squad": {
        "qa_outputs.weight": "cls/squad/output_weights",
        "qa_outputs.bias": "cls/squad/output_bias",
    },
    "bert_classifier": {"classifier.weight": "output_weights", "classifier.bias": "output_bias"},
    "bert_multiple_choice": {"classifier.weight": "output_weights", "classifier.bias": "output_bias"},
    "bert_pretraining": {
        "cls.predictions.bias": "cls/predictions/output_bias",
        "cls.predictions.transform.LayerNorm.weight": "cls/predictions/transform/LayerNorm/gamma",
        "cls.predictions.transform.LayerNorm.bias": "cls/predictions/transform/LayerNorm/beta",
        "cls.predictions.transform.dense.bias": "cls/predictions/transform/dense/bias",
        "cls.seq_relationship.weight": "cls/seq_relationship/output_weights",
        "cls.seq_relationship.bias": "cls/seq_relationship/output_bias",
    },
}


def bert_state(arrays: Arrays, heads: dict[str, str]) -> Arrays:
    state = {ours: arrays[theirs] for ours, theirs in heads.items()}
    words = arrays["bert/embeddings/word_embeddings"]
    if "cls/predictions/output_bias" in arrays:
        state["cls.predictions.transform.dense.weight"] = arrays["cls/predictions/transform/dense/kernel"].T
        state["cls.predictions.decoder.weight"] = words
    state["bert.embeddings.word_embeddings.weight"] = words
    for kind in ("position", "token_type"):
        state[f"bert.embeddings.{kind}_embeddings.weight"] = arrays[f"bert/embeddings/{kind}_embeddings"]
    dense = {"bert.pooler.dense": "bert/pooler/dense"}
    norms = {"bert.embeddings.LayerNorm": "bert/embeddings/LayerNorm"}
    for layer in range(2):
        here, there = f"bert.encoder.layer.{layer}", f"bert/encoder/layer_{layer}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value"):
            dense[f"{here}.{part}"] = f"{there}/{part.replace('.', '/')}"
        dense[f"{here}.attention.output.dense"] = f"{there}/attention/output/dense"
        dense[f"{here}.intermediate.dense"] = f"{there}/intermediate/dense"
        dense[f"{here}.output.dense"] = f"{there}/output/dense"
        norms[f"{here}.attention.output.LayerNorm"] = f"{there}/attention/output/LayerNorm"
        norms[f"{here}.output.LayerNorm"] = f"{there}/output/LayerNorm"
    for ours, theirs in dense.items():
        state |= {f"{ours}.weight": arrays[f"{theirs}/kernel"].T, f"{ours}.bias": arrays[f"{theirs}/bias"]}
    for ours, theirs in norms.items():
        state |= {f"{ours}.weight": arrays[f"{theirs}/gamma"], f"{ours}.bias": arrays[f"{theirs}/beta"]}
    return state


@pytest.mark.parametrize(
    ("folder", "name", "options", "first"),
    [
        ("bert_pretraining", "BertModel", {}, 0),
        ("bert_pretraining", "BertForPreTraining", {}, 2),
        ("bert_pretraining", "BertForMaskedLM", {}, 1),
        ("bert_pretraining", "BertForNextSentencePrediction", {}, 1),
        ("bert_squad", "BertForQuestionAnswering", {}, 2),
        ("bert_classifier", "BertForSequenceClassification", {"num_labels": 3}, 1),
        ("bert_classifier", "BertForTokenClassification", {"num_labels": 3}, 1),
        ("bert_multiple_choice", "BertForMultipleChoice", {}, 1),
    ],
)
def test_every_bert_of_tensorflows_computes_what_its_numbers_in_pytorchs_file_do(
    pretrained_bert: Any,
    written: ModuleType,
    tensorflow: Path,
    pytorch: Callable[..., Path],
    folder: str,
    name: str,
    options: dict[str, Any],
    first: int,
) -> None:
    state = bert_state(written.arrays(getattr(written, folder)()), HEADS[folder])
    same = pytorch(state, written.BERT)
    ids = IDS.view(2, 1, 7).repeat(1, 3, 1) if name == "BertForMultipleChoice" else IDS
    segments, mask = (ids > 6).long(), (torch.arange(7) < 5).long().expand_as(ids)
    model = load(name, tensorflow / folder, from_tf=True, **options)
    assert_same(model, load(name, same, **options), ids, token_type_ids=segments, attention_mask=mask)
    if name != "BertModel":  # whose outputs pytorch-pretrained-bert orders otherwise; it is in all the others
        sizes = dict(written.BERT)
        config = pretrained_bert.BertConfig(sizes.pop("vocab_size"), **sizes)
        labels = {"BertForMultipleChoice": [3]}.get(name, list(options.values()))
        reference = getattr(pretrained_bert, name)(config, *labels)
        lacking = {key for key in state if key not in reference.state_dict()}
        reference.load_state_dict({key: torch.from_numpy(state[key].copy()) for key in state.keys() - lacking})
        assert all(key.startswith(("cls.", "bert.pooler.")) for key in lacking)
        assert_near(model, reference, ids, first=first)


# --- GPT-2 and GPT ----------------------------------------------------------------------------------------------------


def gpt2_state(arrays: Arrays) -> Arrays:
    state = {"wte.weight": arrays["model/wte"], "wpe.weight": arrays["model/wpe"]}
    state |= {"ln_f.weight": arrays["model/ln_f/g"], "ln_f.bias": arrays["model/ln_f/b"]}
    return state | blocks(arrays, "model/h{}/{}")


def gpt_state(arrays: Arrays) -> Arrays:
    state = {f"{kind}_embed.weight": arrays[f"model/we:0/{kind}"] for kind in ("positions", "tokens")}
    return state | blocks(arrays, "model/h{}/{}:0")


def blocks(arrays: Arrays, names: str) -> Arrays:
    state = {}
    for layer in range(2):
        for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj", "ln_1", "ln_2"):
            theirs = part.replace(".", "/")
            weight = names.format(layer, f"{theirs}/g" if part[:2] == "ln" else f"{theirs}/w")
            state[f"h.{layer}.{part}.weight"] = arrays[weight].squeeze()
            state[f"h.{layer}.{part}.bias"] = arrays[names.format(layer, f"{theirs}/b")]
    return state


def assert_causal(model: Any, other: Any, reference: Any, words: NDArray[np.float32]) -> None:
    """Hidden states are those of pytorch-pretrained-bert; logits are their products with the embeddings of words."""
    assert_same(model, other, IDS)
    trunk = getattr(model, "transformer", model)
    assert_near(trunk, reference, IDS, first=1)
    if trunk is not model:
        hidden = outputs(reference, IDS)[0]
        assert_close(outputs(model, IDS)[0], hidden @ torch.from_numpy(words).T, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["GPT2Model", "GPT2LMHeadModel"])
def test_every_gpt2_of_tensorflows_computes_what_its_numbers_in_pytorchs_file_do(
    pretrained_bert: Any, written: ModuleType, tensorflow: Path, pytorch: Callable[..., Path], name: str
) -> None:
    state = gpt2_state(written.arrays(written.gpt2()))
    folder, sizes = pytorch(state, written.GPT2), dict(written.GPT2)
    reference = fill(pretrained_bert.GPT2Model(pretrained_bert.GPT2Config(sizes.pop("vocab_size"), **sizes)), folder)
    model = load(name, tensorflow / "gpt2", from_tf=True)
    assert_causal(model, load(name, folder), reference, state["wte.weight"])


@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("name", ["OpenAIGPTModel", "OpenAIGPTLMHeadModel"])
def test_every_gpt_of_numpys_computes_what_its_numbers_in_pytorchs_file_do(
    pretrained_bert: Any,
    written: ModuleType,
    gpt_release: Callable[[bool], Path],
    pytorch: Callable[..., Path],
    name: str,
    names: bool,
) -> None:
    state = gpt_state(written.arrays(dict(written.gpt())))
    folder, sizes = pytorch(state, written.GPT), dict(written.GPT)
    config = pretrained_bert.OpenAIGPTConfig(sizes.pop("vocab_size"), **sizes)
    reference = fill(pretrained_bert.OpenAIGPTModel(config), folder)
    model = load(name, gpt_release(names))
    assert_causal(model, load(name, folder), reference, state["tokens_embed.weight"])


# --- Transformer-XL ---------------------------------------------------------------------------------------------------


def transfo_xl_state(arrays: Arrays, config: dict[str, Any]) -> Arrays:
    """Tied names have the same numbers, as in pytorch-pretrained-bert's files."""
    embed, softmax = "transformer/adaptive_embed", "transformer/adaptive_softmax"
    last = len(config["cutoffs"])
    state: Arrays = {}
    if last:
        state["crit.cluster_weight"] = arrays[f"{softmax}/cutoff_0/cluster_W"]
        state["crit.cluster_bias"] = arrays[f"{softmax}/cutoff_0/cluster_b"]
        state["crit.out_projs.0"] = arrays[f"{softmax}/cutoff_0/proj"].T
    tables = [f"{embed}/cutoff_{number}" for number in range(last + 1)] if config["div_val"] > 1 else [embed]
    for number, table in enumerate(tables):
        words = arrays[f"{table}/lookup_table"]
        state |= dict.fromkeys(
            [f"transformer.word_emb.emb_layers.{number}.weight", f"crit.out_layers.{number}.weight"], words
        )
        if f"{table}/proj_W" in arrays:
            state[f"transformer.word_emb.emb_projs.{number}"] = arrays[f"{table}/proj_W"].T
    for number in range(1, last + 1):  # all but the first share the projection of their embedding
        state[f"crit.out_projs.{number}"] = state[f"transformer.word_emb.emb_projs.{number % len(tables)}"]
    biases = [arrays[f"{softmax}/cutoff_{number}/b"] for number in range(last + 1)] if last else []
    if len(tables) == 1:
        biases = [np.concatenate(biases) if biases else arrays[f"{softmax}/bias"]]
    state |= {f"crit.out_layers.{number}.bias": bias for number, bias in enumerate(biases)}
    return state | transfo_xl_layers(arrays, config["untie_r"])


def transfo_xl_layers(arrays: Arrays, untied: bool) -> Arrays:
    state: Arrays = {}
    for layer in range(2):
        here, there = f"transformer.layers.{layer}", f"transformer/layer_{layer}"
        for part in ("qkv", "r", "o"):
            state[f"{here}.dec_attn.{part}_net.weight"] = arrays[f"{there}/rel_attn/{part}/kernel"].T
        for part, number in (("layer_1", 0), ("layer_2", 3)):
            state[f"{here}.pos_ff.CoreNet.{number}.weight"] = arrays[f"{there}/ff/{part}/kernel"].T
            state[f"{here}.pos_ff.CoreNet.{number}.bias"] = arrays[f"{there}/ff/{part}/bias"]
        for ours, theirs in (("dec_attn", "rel_attn"), ("pos_ff", "ff")):
            state[f"{here}.{ours}.layer_norm.weight"] = arrays[f"{there}/{theirs}/LayerNorm/gamma"]
            state[f"{here}.{ours}.layer_norm.bias"] = arrays[f"{there}/{theirs}/LayerNorm/beta"]
        for bias in ("r_w_bias", "r_r_bias"):
            whole = arrays[f"transformer/{bias}"]
            state[f"{here}.dec_attn.{bias}"] = whole[layer] if untied else whole
            if not untied:
                state[f"transformer.{bias}"] = whole
    return state


@pytest.mark.parametrize("folder", ["transfo_xl", "transfo_xl_characters", "transfo_xl_one_table"])
def test_every_transformer_xl_of_tensorflows_computes_what_its_numbers_in_pytorchs_file_do(
    pretrained_bert: Any, written: ModuleType, tensorflow: Path, pytorch: Callable[..., Path], folder: str
) -> None:
    sizes = dict(getattr(written, folder.upper()))
    same = pytorch(transfo_xl_state(written.arrays(getattr(written, folder)()), sizes), sizes)
    name = "TransfoXLLMHeadModel"
    model = load(name, tensorflow / folder, from_tf=True)
    other = load(name, same)
    assert_same(model, other, IDS)
    with torch.inference_mode():
        memory = model(IDS).mems
    following = IDS.flip(1)
    assert_same(model, other, following, mems=memory)
    assert_same(model, other, following, mems=memory, labels=IDS)
    del sizes["tie_projs"]
    reference = fill(
        pretrained_bert.TransfoXLLMHeadModel(pretrained_bert.TransfoXLConfig(sizes.pop("n_token"), **sizes)), same
    )
    reference.eval()
    theirs = None
    score = reference.crit if sizes["cutoffs"] else reference.crit.log_prob  # each fails where the other works
    with torch.inference_mode():
        for ids, ours in ((IDS, None), (following, memory)):
            hidden, theirs = reference.transformer(ids, theirs)
            scores = score(hidden.flatten(0, 1)).view(2, 7, -1)
            assert_close(model(ids, mems=ours).logits, scores, atol=1e-5, rtol=0)
