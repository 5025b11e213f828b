"""T5 next to transformers: numbers, gradients, generated tokens, and directories in both directions."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.testing import assert_close

import registry
from registry.errors import ConfigError, InputError
from registry.loading.meta import build
from registry_t5.cards import CARDS
from registry_t5.config import T5Config
from registry_t5.modeling import T5EncoderModel, T5ForConditionalGeneration, T5Model

SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "d_model": 24,
    "d_kv": 6,
    "d_ff": 40,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 10,
    "decoder_start_token_id": 0,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "1.0": {},
    "1.1": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "silu, tied": {"feed_forward_proj": "gated-silu", "num_decoder_layers": None},
}
PUBLISHED: dict[str, dict[str, Any]] = {  # as the published configurations have them
    "t5-small": {},
    "t5-base": {"d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
    "flan-t5-small": {"d_ff": 1024, "num_layers": 8, "num_heads": 6, **VARIANTS["1.1"]},
    "flan-t5-base": {"d_model": 768, "d_ff": 2048, "num_layers": 12, "num_heads": 12, **VARIANTS["1.1"]},
}
LENGTHS = (15, 8, 11)
MASKS = {
    "right": torch.tensor([[1] * n + [0] * (15 - n) for n in LENGTHS]),
    "left": torch.tensor([[0] * (15 - n) + [1] * n for n in LENGTHS]),
    "inside": torch.tensor([[1] * 4 + [0] * (15 - n) + [1] * (n - 4) for n in LENGTHS]),
}

each_variant = pytest.mark.parametrize("variant", VARIANTS)


def ids(*shape: int, seed: int = 1) -> Tensor:
    return torch.randint(2, SIZES["vocab_size"], shape, generator=torch.Generator().manual_seed(seed))


TEXTS, ANSWERS = ids(3, 15), ids(3, 11, seed=2)


def theirs_of(variant: str) -> Any:
    """A model of transformers with random weights; the head of T5 1.1 is not the embedding."""
    torch.manual_seed(3)
    config = transformers.T5Config(**{**SIZES, **VARIANTS[variant]}, attn_implementation="eager")
    model = transformers.T5ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    if variant == "1.1":
        model.lm_head.weight = torch.nn.Parameter(0.3 * torch.randn(SIZES["vocab_size"], SIZES["d_model"]))
    return model


@pytest.fixture(scope="module", params=VARIANTS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path]:
    """A model of transformers, what the registry loads of it, and the directory."""
    directory = tmp_path_factory.mktemp("theirs")
    theirs = theirs_of(request.param)
    theirs.save_pretrained(directory)
    return theirs, registry.load_model(directory), directory


# --- Numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [None, *MASKS])
def test_numbers_are_those_of_transformers(pair: tuple[Any, Any, Path], padding: str | None) -> None:
    theirs, ours, _ = pair
    mask = None if padding is None else MASKS[padding]
    shown = {"output_hidden_states": True, "output_attentions": True}
    arguments: dict[str, Any] = {"attention_mask": mask, "labels": ANSWERS}
    with torch.no_grad():
        found, wanted = ours(TEXTS, **arguments, **shown), theirs(TEXTS, **arguments, **shown)
        fast = ours(TEXTS, **arguments)
    for field in ("loss", "logits", "decoder_hidden_states", "decoder_attentions"):
        assert_close(found[field], wanted[field], atol=1e-5, rtol=0)
    assert_close(fast.logits, wanted.logits, atol=1e-5, rtol=0)
    tokens = torch.ones_like(TEXTS).bool() if mask is None else mask.bool()
    for one, other in zip(found.cross_attentions, wanted.cross_attentions, strict=True):
        assert_close(one, other, atol=1e-5, rtol=0)
    for name in ("encoder_hidden_states", "encoder_attentions"):
        for one, other in zip(found[name], wanted[name], strict=True):
            if name == "encoder_attentions":
                one, other = one.transpose(1, 2), other.transpose(1, 2)
            assert_close(one[tokens], other[tokens], atol=1e-5, rtol=0)
    assert_close(fast.encoder_last_hidden_state[tokens], wanted.encoder_last_hidden_state[tokens], atol=1e-5, rtol=0)


def test_gradients_are_those_of_transformers(pair: tuple[Any, Any, Path]) -> None:
    gradients = []
    for model in pair[:2]:
        model.zero_grad()
        model(TEXTS, attention_mask=MASKS["right"], labels=ANSWERS).loss.backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
        model.zero_grad()
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


def test_checkpointing_changes_no_gradient(pair: tuple[Any, Any, Path]) -> None:
    _, ours, _ = pair
    found = []
    for switch in (ours.gradient_checkpointing_enable, ours.gradient_checkpointing_disable):
        switch()
        ours(TEXTS, attention_mask=MASKS["right"], labels=ANSWERS).loss.backward()
        found.append([parameter.grad.clone() for parameter in ours.parameters()])
        ours.zero_grad()
    assert all(map(torch.equal, *found))


def test_the_bases_compute_what_the_whole_does(pair: tuple[Any, Any, Path]) -> None:
    _, ours, directory = pair
    whole = ours(TEXTS, attention_mask=MASKS["right"], decoder_input_ids=ANSWERS)
    encoder = T5EncoderModel.from_pretrained(directory)
    assert encoder.load_report is not None
    assert all(name.startswith(("decoder.", "lm_head.")) for name in encoder.load_report.dropped)
    read = encoder(TEXTS, attention_mask=MASKS["right"])
    assert torch.equal(read.last_hidden_state, whole.encoder_last_hidden_state)
    base = T5Model.from_pretrained(directory)
    found = base(attention_mask=MASKS["right"], encoder_outputs=read, decoder_input_ids=ANSWERS)
    assert torch.equal(ours.predict(found.last_hidden_state), whole.logits)
    with pytest.raises(InputError, match="decoder_input_ids are missing"):
        base(TEXTS)


# --- Generation -------------------------------------------------------------------------------------------------------

WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beams": {"num_beams": 4},
    "several beams": {"num_beams": 4, "num_return_sequences": 3, "length_penalty": 2.0, "early_stopping": True},
    "repetition": {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2},
    "forced": {"forced_bos_token_id": 7, "forced_eos_token_id": 1, "min_length": 9},
    "forced, beams": {"forced_bos_token_id": 7, "forced_eos_token_id": 1, "min_length": 9, "num_beams": 3},
}


@pytest.mark.parametrize("padding", [None, "right", "left"])
@pytest.mark.parametrize("way", WAYS)
def test_the_tokens_of_transformers_are_generated(pair: tuple[Any, Any, Path], way: str, padding: str | None) -> None:
    theirs, ours, _ = pair
    arguments: dict[str, Any] = {"attention_mask": None if padding is None else MASKS[padding], "max_new_tokens": 12}
    wanted = theirs.generate(TEXTS, do_sample=False, **arguments, **WAYS[way])
    assert ours.generate(TEXTS, **arguments, **WAYS[way]).tolist() == wanted.tolist()


def test_what_a_file_forces_is_forced(tmp_path: Path) -> None:
    """As the files of BART and NLLB do: a language first, an end at the last, and a least length."""
    theirs = theirs_of("1.0")
    keys = {"forced_bos_token_id": 9, "forced_eos_token_id": 1, "min_length": 6, "max_length": 10, "num_beams": 2}
    theirs.generation_config.update(**keys)
    theirs.save_pretrained(tmp_path)
    ours = registry.load_model(tmp_path)
    wanted = theirs.generate(TEXTS, attention_mask=MASKS["right"])
    assert (wanted[:, 1] == 9).all()
    assert ours.generate(TEXTS, attention_mask=MASKS["right"]).tolist() == wanted.tolist()
    registry.save(ours, tmp_path / "saved")
    assert keys.items() <= json.loads((tmp_path / "saved" / "generation_config.json").read_text()).items()


def test_equal_draws_sample_the_tokens_of_transformers(pair: tuple[Any, Any, Path]) -> None:
    theirs, ours, _ = pair
    arguments: dict[str, Any] = {"attention_mask": MASKS["right"], "max_new_tokens": 12, "top_k": 20, "top_p": 0.9}
    torch.manual_seed(5)
    wanted = theirs.generate(TEXTS, do_sample=True, temperature=1.3, **arguments)
    torch.manual_seed(5)
    assert ours.generate(TEXTS, temperature=1.3, **arguments).tolist() == wanted.tolist()


def test_an_answer_can_be_begun(pair: tuple[Any, Any, Path]) -> None:
    theirs, ours, _ = pair
    assert ours.can_generate() is theirs.can_generate() is True
    begun = torch.cat([torch.zeros(3, 1, dtype=torch.long), ANSWERS[:, :3]], dim=1)
    wanted = theirs.generate(TEXTS, decoder_input_ids=begun, max_new_tokens=6, do_sample=False)
    assert ours.generate(TEXTS, decoder_input_ids=begun, max_new_tokens=6).tolist() == wanted.tolist()


@pytest.mark.parametrize("way", ["greedy", "beams"])
def test_the_encoder_and_its_keys_are_computed_once(pair: tuple[Any, Any, Path], way: str) -> None:
    _, ours, _ = pair
    calls: list[str] = []
    counted = {"encoder": ours.encoder, **{n: m for n, m in ours.named_modules() if n.endswith("EncDecAttention.k")}}
    hooks = [module.register_forward_hook(lambda *_, name=name: calls.append(name)) for name, module in counted.items()]
    ours.generate(TEXTS, max_new_tokens=8, eos_token_id=(), **WAYS[way])
    for hook in hooks:
        hook.remove()
    assert sorted(calls) == sorted(counted)


# --- Directories ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["safetensors", "torch"])
def test_what_is_saved_has_the_names_of_transformers_and_loads_there(
    pair: tuple[Any, Any, Path], format: Any, tmp_path: Path
) -> None:
    theirs, ours, directory = pair
    report = ours.load_report
    assert report.new == report.missing == report.unexpected == report.dropped == ()
    registry.save(ours, tmp_path / "ours", format=format)
    if format == "safetensors":
        published, saved = (load_file(place / "model.safetensors") for place in (directory, tmp_path / "ours"))
        assert published.keys() == saved.keys()
        assert all(torch.equal(saved[name], tensor) for name, tensor in published.items())
    again, info = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    arguments = {"attention_mask": MASKS["right"], "labels": ANSWERS}
    assert_close(again.eval()(TEXTS, **arguments).logits, theirs(TEXTS, **arguments).logits, atol=1e-5, rtol=0)
    assert torch.equal(
        registry.load_model(tmp_path / "ours")(TEXTS, **arguments).logits, ours(TEXTS, **arguments).logits
    )


def test_published_directories_load(tmp_path: Path) -> None:
    """With the names of older files: each use of the embedding, and a bias that was never used."""
    theirs = theirs_of("1.1")
    state = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    unused = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    torch.save({**state, unused: torch.zeros(8, 4)}, tmp_path / "pytorch_model.bin")
    keys = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], **SIZES, **VARIANTS["1.1"]}
    (tmp_path / "config.json").write_text(json.dumps({**keys, "n_positions": 512}))
    loaded = registry.load(tmp_path)
    assert type(loaded.model) is T5ForConditionalGeneration
    assert {*loaded.report.dropped} == {unused, "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    assert_close(loaded.model(TEXTS, labels=ANSWERS).logits, theirs(TEXTS, labels=ANSWERS).logits, atol=1e-5, rtol=0)
    registry.save(loaded.model, tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["n_positions"] == 512


def test_an_encoder_of_transformers_loads(tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs = transformers.T5EncoderModel(transformers.T5Config(**SIZES)).eval()
    theirs.save_pretrained(tmp_path)
    ours = registry.load_model(tmp_path)
    assert type(ours) is T5EncoderModel
    tokens = MASKS["left"].bool()
    wanted = theirs(TEXTS, attention_mask=MASKS["left"]).last_hidden_state
    assert_close(ours(TEXTS, attention_mask=MASKS["left"]).last_hidden_state[tokens], wanted[tokens], atol=1e-5, rtol=0)


def test_a_head_of_its_own_is_missed_where_the_file_lacks_it(tmp_path: Path) -> None:
    theirs_of("1.1").save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}, tmp_path / "model.safetensors"
    )
    with pytest.raises(registry.errors.WeightsMismatchError, match=r"lm_head\.weight"):
        registry.load_model(tmp_path)


# --- Configurations and names -----------------------------------------------------------------------------------------


def test_what_a_configuration_says_of_the_head_is_understood() -> None:
    for keys, tied, scales in (
        ({}, True, True),
        ({"tie_word_embeddings": False}, False, False),
        ({"tie_word_embeddings": True, "scale_decoder_outputs": False}, False, False),  # T5 1.1 of transformers 5
        ({"tie_word_embeddings": False, "scale_decoder_outputs": True}, False, True),
    ):
        config = T5Config(**keys)
        assert (config.is_tied, config.scales) == (tied, scales)


def test_impossible_distances_are_refused() -> None:
    for keys in ({"relative_attention_num_buckets": 2}, {"relative_attention_max_distance": 16}):
        with pytest.raises(ConfigError, match="relative_attention_num_buckets"):
            T5Config(**keys)


def test_prefixes_are_those_of_the_file() -> None:
    tasks = {"summarization": {"num_beams": 4, "prefix": "summarize: "}, "other": {"num_beams": 2}}
    assert T5Config.from_dict({"task_specific_params": tasks}).prefixes == {"summarization": "summarize: "}
    assert T5Config().prefixes == {}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_number_of_parameters_is_that_of_the_model(name: str) -> None:
    assert {card.name for card in CARDS} == PUBLISHED.keys()
    config = T5Config(**PUBLISHED[name])
    model = build(lambda: T5ForConditionalGeneration(config))
    card = registry.info(name)
    assert card.num_parameters == model.num_parameters()
    assert card.license == "Apache-2.0"
    assert 0.7 < config.num_backbone_parameters() / model.num_parameters() <= 1
