"""Directories and images: what transformers saves and computes, and what is saved here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

import registry
from registry.errors import ConfigError, InputError, MissingTokenizerError
from registry_vit.config import ViTConfig
from registry_vit.modeling import ViTForImageClassification, ViTModel
from registry_vit.plugin import registry_cards
from registry_vit.processing import ViTProcessor

SIZES: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "image_size": 16,
    "patch_size": 4,
}
LABELS = {0: "cat", 1: "dog", 2: "bird"}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "without biases": {"qkv_bias": False, "hidden_act": "gelu_new"},
    "pooled": {"pooler_output_size": 7, "pooler_act": "relu"},
    "patches that leave a margin": {"image_size": 17, "patch_size": 5, "num_channels": 1},
}

each_variant = pytest.mark.parametrize("variant", VARIANTS)


def theirs(cls: Any, variant: str = "plain") -> Any:
    """A model of transformers with random, but far from uniform weights."""
    torch.manual_seed(0)
    labels = {"id2label": LABELS, "label2id": {label: number for number, label in LABELS.items()}}
    model = cls(transformers.ViTConfig(**{**SIZES, **VARIANTS[variant]}, **labels, attn_implementation="eager"))
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model.eval()


def pixels(config: Any, height: int | None = None, width: int | None = None) -> Tensor:
    shape = 2, config.num_channels, height or config.image_size, width or config.image_size
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def picture(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Shapes and noise, as a photograph has them."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    waves = [127 + 90 * np.sin(rows / (3 + color) + columns / (5 + 2 * color)) for color in range(3)]
    noisy = np.stack(waves, axis=-1) + random.normal(0, 12, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).convert(mode)


# --- Models -----------------------------------------------------------------------------------------------------------


@torch.inference_mode()
@each_variant
def test_what_transformers_saves_computes_the_same_here(variant: str, tmp_path: Path) -> None:
    for cls, task in ((transformers.ViTModel, "base"), (transformers.ViTForImageClassification, None)):
        reference = theirs(cls, variant)
        reference.save_pretrained(tmp_path / str(task))
        model = registry.load_model(tmp_path / str(task), task)
        assert not model.load_report.new
        inputs = pixels(model.config)
        options = {"output_hidden_states": True, "output_attentions": True}
        found, wanted = model(inputs, **options), reference(inputs, **options)
        assert found.keys() == wanted.keys()
        for name in [*found.keys()]:
            assert_close(found[name], wanted[name], atol=1e-5, rtol=0)
        assert_close(model(inputs)[0], wanted[0], atol=1e-5, rtol=0)


@torch.inference_mode()
@each_variant
def test_what_is_saved_has_the_same_names_and_loads_there(variant: str, tmp_path: Path) -> None:
    reference = theirs(transformers.ViTForImageClassification, variant)
    reference.save_pretrained(tmp_path / "theirs")
    saved = registry.save(registry.load_model(tmp_path / "theirs"), tmp_path / "ours")
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "ours"))
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)
    again, info = transformers.ViTForImageClassification.from_pretrained(saved, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    inputs = pixels(reference.config)
    assert_close(again.eval()(inputs).logits, reference(inputs).logits, atol=1e-6, rtol=0)


@torch.inference_mode()
def test_positions_of_other_sizes_are_interpolated_as_there(tmp_path: Path) -> None:
    reference = theirs(transformers.ViTForImageClassification)
    reference.save_pretrained(tmp_path)
    model = registry.load_model(tmp_path)
    for height, width in ((16, 16), (24, 24), (12, 28), (16, 20)):
        inputs = pixels(model.config, height, width)
        found = model(inputs, interpolate_pos_encoding=True).logits
        assert_close(found, reference(inputs, interpolate_pos_encoding=True).logits, atol=1e-5, rtol=0)


def test_losses_are_those_of_transformers(tmp_path: Path) -> None:
    reference = theirs(transformers.ViTForImageClassification)
    reference.save_pretrained(tmp_path)
    model, labels = registry.load_model(tmp_path), torch.tensor([2, 0])
    inputs = pixels(model.config)
    found, wanted = model(inputs, labels=labels).loss, reference(inputs, labels=labels).loss
    assert_close(found, wanted, atol=1e-6, rtol=1e-6)
    found.backward()
    wanted.backward()
    assert_close(model.vit.embeddings.cls_token.grad, reference.vit.embeddings.cls_token.grad, atol=1e-6, rtol=1e-4)


def test_a_classifier_is_put_on_the_model_without_a_head(tmp_path: Path) -> None:
    theirs(transformers.ViTModel).save_pretrained(tmp_path)
    model = registry.load_model(tmp_path, "image-classification", num_labels=5)
    assert set(model.load_report.new) == {"classifier.weight", "classifier.bias"}
    assert model(pixels(model.config)).logits.shape == (2, 5)


def test_images_that_do_not_fit_are_refused_by_shape() -> None:
    model = ViTForImageClassification(ViTConfig(**SIZES))
    with pytest.raises(InputError, match=r"images of 16 x 16 pixels, not 20 x 16"):
        model(torch.zeros(1, 3, 20, 16))
    for shape in ((3, 16, 16), (1, 1, 16, 16)):
        with pytest.raises(InputError, match=r"must have the shape \(batch, 3, height, width\)"):
            model(torch.zeros(shape))
    with pytest.raises(ConfigError, match=r"patch_size \(32\) must not be above image_size"):
        ViTConfig(image_size=16, patch_size=32)


def test_the_size_of_the_named_model_is_that_of_its_class() -> None:
    (card,) = registry_cards()
    with torch.device("meta"):
        model = ViTForImageClassification(ViTConfig(num_labels=1000))
    assert card.num_parameters == model.num_parameters()
    assert registry.info("google/vit-base-patch16-224") == card
    assert isinstance(ViTModel(ViTConfig(**SIZES)).pooler, torch.nn.Module)


# --- Images -----------------------------------------------------------------------------------------------------------

PROCESSORS: dict[str, dict[str, Any]] = {
    "as published": {},
    "bicubic, of ImageNet": {
        "resample": 3,
        "size": {"height": 24, "width": 32},
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    },
    "not normalized": {"do_normalize": False, "size": {"height": 16, "width": 16}},
    "bytes": {"do_normalize": False, "do_rescale": False, "size": {"height": 16, "width": 16}, "resample": 0},
}


@pytest.mark.parametrize("keys", PROCESSORS)
def test_pixel_values_are_those_of_transformers(keys: str, tmp_path: Path) -> None:
    reference = ViTImageProcessorPil(**PROCESSORS[keys], do_convert_rgb=True)
    reference.save_pretrained(tmp_path)
    found = registry_processor(tmp_path)
    images = [
        picture(320, 200),
        picture(64, 300, seed=1),
        picture(40, 40, "L"),
        picture(50, 30, "RGBA"),
        picture(50, 30, "P"),
        picture(1, 1),
    ]
    wanted = reference(images, return_tensors="pt")["pixel_values"]
    assert found(images)["pixel_values"].equal(wanted.float())
    assert found(images[0])["pixel_values"].equal(wanted[:1].float())
    assert found(np.asarray(images[0]))["pixel_values"].equal(wanted[:1].float())
    for number, name in enumerate(("a.png", "b.bmp")):
        images[number].save(tmp_path / name)
    assert found([tmp_path / "a.png", str(tmp_path / "b.bmp")])["pixel_values"].equal(wanted[:2].float())


def registry_processor(directory: Path) -> Any:
    return ViTProcessor.from_files({path.name: path for path in directory.iterdir()})


def test_the_processor_is_loaded_and_saved_with_the_model(tmp_path: Path) -> None:
    theirs(transformers.ViTForImageClassification).save_pretrained(tmp_path / "theirs")
    ViTImageProcessorPil(size={"height": 16, "width": 16}, resample=3).save_pretrained(tmp_path / "theirs")
    loaded = registry.load(tmp_path / "theirs")
    with pytest.raises(MissingTokenizerError, match="a ViTProcessor, which is not a tokenizer"):
        loaded.tokenizer  # noqa: B018  # raises
    image = picture(30, 20)
    logits = loaded.model(**loaded.processor(image)).logits
    saved = loaded.save(tmp_path / "ours")
    keys = [json.loads((tmp_path / name / "preprocessor_config.json").read_text()) for name in ("theirs", "ours")]
    assert keys[0] == keys[1]
    again = registry.load(saved)
    assert again.model(**again.processor(image)).logits.equal(logits)
    reference = transformers.AutoImageProcessor.from_pretrained(saved)
    assert reference(image, return_tensors="pt")["pixel_values"].equal(loaded.processor(image)["pixel_values"])


def test_keys_of_older_files_are_understood_and_unknown_ones_kept(tmp_path: Path) -> None:
    keys = {"size": 16, "image_mean": 0.5, "do_center_crop": False, "feature_extractor_type": "ViTFeatureExtractor"}
    processor = ViTProcessor(**keys)
    assert processor.size == (16, 16)
    assert processor(picture(20, 20))["pixel_values"].shape == (1, 3, 16, 16)
    processor.files()["preprocessor_config.json"](tmp_path / "p.json")
    assert keys.items() <= json.loads((tmp_path / "p.json").read_text()).items()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"size": {"shortest_edge": 224}}, "size must have a height and a width"),
        ({"size": 0}, "size must have"),
        ({"size": {"height": 10**9, "width": 10**9}}, "size must have"),
        ({"resample": 9}, "filter of Pillow"),
        ({"resample": True}, "filter of Pillow"),
        ({"rescale_factor": "x"}, "rescale_factor must be a number"),
        ({"image_mean": [0.5, 0.5]}, "image_mean must be a number for each"),
        ({"image_mean": [0.5, None, 0.5]}, "image_mean must be"),
        ({"image_std": [0.5, 0, 0.5]}, "image_std must not be 0"),
        ({"do_center_crop": True}, "do_center_crop"),
        ({"do_pad": True}, "do_pad"),
    ],
)
def test_what_no_processor_computes_is_refused_by_key(keys: Any, words: str, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(keys))
    with pytest.raises(ConfigError, match=rf"preprocessor_config\.json: .*{words}"):
        registry_processor(tmp_path)


def test_files_that_are_no_images_are_refused_by_name(tmp_path: Path) -> None:
    processor = ViTProcessor(size=16)
    picture(40, 40).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    for name, content in (("cut.png", data[:100]), ("text.png", b"hello"), ("empty.png", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name} is not an image"):
            processor(tmp_path / name)
    with pytest.raises(InputError, match=r"missing\.png is not an image"):
        processor(tmp_path / "missing.png")
    with pytest.raises(InputError, match="A ndarray is not an image"):
        processor(np.zeros((2, 2, 2, 2)))
    with pytest.raises(InputError, match="There is no image"):
        processor([])
    with pytest.raises(InputError, match="must have one size"):
        ViTProcessor(do_resize=False)([picture(2, 2), picture(3, 3)])


# --- The command ------------------------------------------------------------------------------------------------------


def test_images_are_classified_on_the_command_line(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from registry.cli import main

    model = theirs(transformers.ViTForImageClassification)
    model.save_pretrained(tmp_path / "vit")
    processor = ViTImageProcessorPil(size={"height": 16, "width": 16})
    processor.save_pretrained(tmp_path / "vit")
    images = [picture(30, 20), picture(20, 30, seed=2)]
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number}.png")
    paths = [str(tmp_path / f"{number}.png") for number in range(2)]
    result = CliRunner().invoke(main, ["classify", str(tmp_path / "vit"), *paths, "--batch-size", "1", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    with torch.inference_mode():
        wanted = model(**processor(images, return_tensors="pt")).logits.softmax(-1)
    for answer, row, path in zip(found, wanted, paths, strict=True):
        assert answer["file"] == path
        assert answer["label"] == LABELS[int(row.argmax())]
        assert_close(torch.tensor([*answer["probabilities"].values()]), row, atol=1e-5, rtol=0)
    result = CliRunner().invoke(main, ["classify", str(tmp_path / "vit"), *paths, "--top", "3"])
    assert len(result.stdout.splitlines()) == 1 + 2 * 3
