"""Models: the numbers of the file, those of transformers, and what is saved."""

from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize
from safetensors.torch import load_file
from torch.testing import assert_close

import registry
from registry.errors import AmbiguousWeightsError, ConfigError, UnsupportedError, WeightsMismatchError
from registry.weights.inspect import find
from registry_gguf import reading, weights
from writing import packed, tiny_gpt2, tiny_llama, write

TYPES = (Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_K, Type.Q6_K)

each_type = pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.name)


def ids() -> torch.Tensor:
    return torch.randint(0, 61, (2, 20), generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model(ids()).logits
    return found


# --- Numbers ----------------------------------------------------------------------------------------------------------


@each_type
def test_numbers_are_those_of_the_package_gguf(kind: Type, tmp_path: Path) -> None:
    values = torch.randn(7, 512, generator=torch.Generator().manual_seed(2)).numpy()
    stored = packed(values, kind)
    writer = gguf.GGUFWriter(tmp_path / "any.gguf", "none")
    writer.add_tensor("blk.0.any.weight", stored, raw_dtype=kind)
    writer.add_tensor("second", values[0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = weights.load({"any.gguf": tmp_path / "any.gguf"})
    assert list(found) == ["blk.0.any.weight", "second"]
    assert found["blk.0.any.weight"].float().equal(torch.from_numpy(dequantize(stored, kind).copy()))
    assert found["second"].equal(torch.from_numpy(values[0]))


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@each_type
def test_a_model_computes_what_transformers_computes_with_its_numbers(make: Any, kind: Type, tmp_path: Path) -> None:
    reference = write(make(), tmp_path / "model.gguf", kind)
    model = registry.load_model(tmp_path / "model.gguf")
    theirs = reference.state_dict()
    for name, tensor in model.state_dict().items():
        assert tensor.equal(theirs[name]), name
    largest = logits(reference).abs().max().item()
    if make is tiny_llama:
        assert logits(model).equal(logits(reference))
    else:  # whose matrices lie in memory the other way round
        assert_close(logits(model), logits(reference), atol=2e-6 * largest, rtol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"tie_word_embeddings": True},
        {"attention_bias": True, "mlp_bias": True},
        {"num_key_value_heads": 4, "rope_theta": 500_000.0},
    ],
)
def test_variants_of_llama_are_read(changes: dict[str, Any], tmp_path: Path) -> None:
    reference = write(tiny_llama(**changes), tmp_path / "model.gguf")
    loaded = registry.load(tmp_path)
    assert logits(loaded.model).equal(logits(reference))
    for field, value in changes.items():
        assert getattr(loaded.config, field) == value


def test_transformers_reads_the_same_file(tmp_path: Path) -> None:
    write(tiny_llama(), tmp_path / "model.gguf", Type.Q8_0)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf").eval()
    assert logits(registry.load_model(tmp_path)).equal(logits(theirs))


def factors(factor: float, base: float, count: int, context: int = 8192) -> torch.Tensor:
    """The factors that the converter writes, from the frequencies of transformers."""
    scaling = {"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    scaling |= {"original_max_position_embeddings": context, "rope_theta": base}
    sizes = {"hidden_size": 2 * count, "num_attention_heads": 1, "num_key_value_heads": 1}
    config = transformers.LlamaConfig(rope_parameters=scaling, **sizes)
    scaled, _ = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"](config)
    return base ** -(torch.arange(count) / count) / scaled


def test_the_scaling_of_llama_3_is_found_in_its_factors(tmp_path: Path) -> None:
    llama_3 = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    llama_3 |= {"original_max_position_embeddings": 8192, "rope_theta": 500_000.0}
    model = tiny_llama(rope_parameters=llama_3)
    freqs = factors(32.0, 500_000.0, 32)
    write(model, tmp_path / "model.gguf", more={"rope_freqs.weight": freqs.numpy()})
    loaded = registry.load(tmp_path)
    assert dict(loaded.config.rope_scaling) == {key: llama_3[key] for key in llama_3 if key != "rope_theta"}
    assert_close(logits(loaded.model), logits(model), atol=1e-5, rtol=0)
    write(model, tmp_path / "model.gguf", more={"rope_freqs.weight": freqs.flip(0).contiguous().numpy()})
    with pytest.raises(UnsupportedError, match="not those of Llama 3"):
        registry.load(tmp_path)


# --- Files ------------------------------------------------------------------------------------------------------------


def test_tensors_of_whole_numbers_are_mapped(tmp_path: Path) -> None:
    for kind, mapped in ((Type.F32, True), (Type.F16, True), (Type.BF16, True), (Type.Q8_0, False)):
        path = tmp_path / f"{kind.name}.gguf"
        write(tiny_gpt2(), path, kind)
        found = weights.load({path.name: path})
        first, second = (found["token_embd.weight"] for _ in range(2))
        assert (first.data_ptr() == second.data_ptr()) is mapped


def test_what_is_saved_has_the_published_names(tmp_path: Path) -> None:
    for number, make in enumerate((tiny_llama, tiny_gpt2)):
        reference = write(make(), tmp_path / f"{number}.gguf", Type.Q8_0)
        saved = registry.save(registry.load(tmp_path / f"{number}.gguf"), tmp_path / str(number))
        names = reference.state_dict().keys() - ({"lm_head.weight"} if make is tiny_gpt2 else set())
        assert load_file(saved / "model.safetensors").keys() == names
        theirs, info = type(reference).from_pretrained(saved, output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        assert logits(theirs.eval()).equal(logits(reference))


def test_the_tensors_of_a_file_are_listed_as_they_are_there(tmp_path: Path) -> None:
    write(tiny_llama(), tmp_path / "tiny.q4.gguf", Type.Q4_K)
    found = find(tmp_path / "tiny.q4.gguf")
    assert (found.spec.format, found.files) == ("gguf", ("tiny.q4.gguf",))
    header = found.headers()["blk.1.attn_k.weight"]
    assert (header.shape, header.dtype, header.nbytes) == ((128, 256), "q4_k", 128 * 144)


def test_one_of_several_files_must_be_meant(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        write(tiny_gpt2(), tmp_path / name)
    with pytest.raises(AmbiguousWeightsError, match=r"several models in one directory: a\.gguf, b\.gguf"):
        registry.load(tmp_path)
    assert registry.load_config(tmp_path / "b.gguf").n_embd == 256
    (tmp_path / "a.gguf").rename(tmp_path / "model.gguf")
    assert registry.load_config(tmp_path).n_embd == 256


def test_numbers_of_single_precision_are_read_as_they_were_meant(tmp_path: Path) -> None:
    write(tiny_llama(rms_norm_eps=1e-6), tmp_path / "model.gguf")
    assert registry.load_config(tmp_path).rms_norm_eps == 1e-6


# --- Refusals ---------------------------------------------------------------------------------------------------------


def keys_of(path: Path, **keys: Any) -> None:
    """Write the header of a model without tensors."""
    writer = gguf.GGUFWriter(path, keys.pop("architecture", "llama"))
    for key, value in keys.items():
        writer.add_key_value(key.replace("__", "."), value, gguf.GGUFValueType.get_type(value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_what_is_no_such_model_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    sizes = {f"llama__{key.replace('.', '__')}": 8 for key in (
        "embedding_length", "feed_forward_length", "block_count", "attention.head_count", "context_length",
    )}  # fmt: skip
    for keys, error, words in (
        ({"architecture": "gemma3"}, UnsupportedError, "architecture 'gemma3'; read are llama, gpt2"),
        ({"llama__block_count": 2}, ConfigError, r"lacks the key llama\.embedding_length"),
        ({**sizes, "llama__attention__layer_norm_rms_epsilon": 1e-5}, ConfigError, "no tensor 'token_embd.weight'"),
        ({"split__count": 3}, UnsupportedError, "a part of a model of 3 files"),
    ):
        keys_of(path, **keys)
        with pytest.raises(error, match=words):
            registry.load(path)


def test_another_matrix_for_the_scores_of_a_tied_model_is_refused(tmp_path: Path) -> None:
    model = tiny_gpt2()
    write(model, tmp_path / "model.gguf", more={"output.weight": model.lm_head.weight.detach().numpy() + 1})
    with pytest.raises(WeightsMismatchError, match=r"token_embd\.weight and output\.weight \(tied, but not equal\)"):
        registry.load(tmp_path)


def test_rows_that_are_no_heads_are_refused(tmp_path: Path) -> None:
    write(tiny_llama(), tmp_path / "model.gguf")
    found = reading.read_file(tmp_path / "model.gguf")
    with pytest.raises(registry.errors.CorruptWeightsError, match="not pairs in 'x' heads"):
        weights._in_halves(torch.zeros(4, 4), "x", next(iter(found.tensors)))
