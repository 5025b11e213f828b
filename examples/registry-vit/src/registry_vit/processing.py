"""The processor of ViT: images become pixel values, with the numbers of transformers' ``ViTImageProcessor``."""

import json
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
from PIL import Image

from registry.errors import ConfigError, InputError, MissingTokenizerError
from registry.files.atomic import content_writer
from registry.files.strict_json import read_json_object
from registry.records import Paths

if TYPE_CHECKING:
    from torch import Tensor

FILENAME = "preprocessor_config.json"
OneImage: TypeAlias = Image.Image | np.ndarray[Any, Any] | str | Path
"""An image, an array ``(height, width, 3)`` of bytes, or the path of a file."""

DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "do_resize": True,
        "size": {"height": 224, "width": 224},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
)
"""The published keys, with their defaults."""
WRITTEN = {"image_processor_type": "ViTImageProcessor"}
"""What else is written, for other libraries."""
REFUSED = ("do_center_crop", "do_pad")
"""Steps that are not computed here."""
LARGEST_SIDE = 10_000


class ViTProcessor:
    """Makes the pixel values of images: resizes, rescales and normalizes them.

    Args:
        **keys: Keys of a ``preprocessor_config.json``; unknown ones are kept, and written back.

    Raises:
        ConfigError: A key has an impossible value, or asks for what is not computed here.
    """

    def __init__(self, **keys: Any) -> None:
        self.keys = {**DEFAULTS, **keys}
        for name in REFUSED:
            if self.keys.get(name):
                raise ConfigError(f"{FILENAME} asks for {name}, which ViT's images do not need.")
        self.size = _size(self.keys["size"])
        self.resample = self.keys["resample"]
        if type(self.resample) is not int or self.resample not in {*map(int, Image.Resampling)}:
            raise ConfigError(f"resample must be a filter of Pillow, 0 to 5, not {self.resample!r:.40}.")
        factor = self.keys["rescale_factor"]
        if not _is_number(factor):
            raise ConfigError(f"rescale_factor must be a number, not {factor!r:.40}.")
        self.mean, self.std = (_channels(self.keys, name) for name in ("image_mean", "image_std"))
        if not self.std.all():
            raise ConfigError("image_std must not be 0.")

    @classmethod
    def from_files(cls, paths: Paths) -> Self:
        """The processor in the files of a model.

        Raises:
            MissingTokenizerError: It is not among them.
            ConfigError: The file is damaged.
        """
        if FILENAME not in paths:
            raise MissingTokenizerError(f"{FILENAME} is not among {', '.join(sorted(paths)) or 'the files'}.")
        keys = read_json_object(paths[FILENAME])
        try:
            return cls(**keys)
        except ConfigError as problem:
            raise ConfigError(f"{paths[FILENAME]}: {problem.message}") from problem

    def files(self) -> dict[str, Callable[[Path], None]]:
        """What saving writes."""
        return {FILENAME: content_writer(json.dumps({**WRITTEN, **self.keys}, indent=2, sort_keys=True) + "\n")}

    def __call__(self, images: OneImage | Iterable[OneImage]) -> "dict[str, Tensor]":
        """The inputs of a model.

        Args:
            images: Images, arrays ``(height, width, 3)`` of bytes, or paths of files; one, or several.

        Returns:
            ``pixel_values``, ``(batch, 3, height, width)``.

        Raises:
            InputError: A file is not an image, there is none, or without resizing they differ in size.
        """
        import torch  # which loading a processor does not need

        several = [images] if isinstance(images, Image.Image | np.ndarray | str | Path) else list(images)
        found = [self.pixels(image) for image in several]
        if len({pixels.shape for pixels in found}) != 1:
            raise InputError("Images of a batch must have one size." if found else "There is no image.")
        return {"pixel_values": torch.from_numpy(np.stack(found))}

    def pixels(self, image: OneImage) -> "np.ndarray[Any, np.dtype[np.float32]]":
        """The pixel values of one image, ``(3, height, width)``."""
        opened = _opened(image)
        if self.keys["do_resize"]:
            opened = opened.resize(self.size[::-1], resample=self.resample)
        pixels = np.asarray(opened)
        if self.keys["do_rescale"]:
            pixels = (pixels.astype(np.float64) * self.keys["rescale_factor"]).astype(np.float32)
        pixels = pixels.astype(np.float32)
        if self.keys["do_normalize"]:
            pixels = (pixels - self.mean) / self.std
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def __repr__(self) -> str:
        return f"ViTProcessor({self.size[0]} x {self.size[1]} pixels)"


def _opened(image: OneImage) -> Image.Image:
    """An image with three colors."""
    try:
        if isinstance(image, np.ndarray):
            return Image.fromarray(image).convert("RGB")
        if isinstance(image, Image.Image):
            return image.convert("RGB")
        with Image.open(image) as file:
            return file.convert("RGB")
    except Exception as problem:  # decoders of Pillow raise errors of many kinds
        name = str(image) if isinstance(image, str | Path) else f"A {type(image).__name__}"
        raise InputError(f"{name} is not an image that can be read: {problem}.") from problem


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value)


def _size(size: Any) -> tuple[int, int]:
    """Height and width, which older files have as one number."""
    found: tuple[Any, Any] = (size, size)
    if isinstance(size, Mapping):
        found = size.get("height"), size.get("width")
    if not all(type(side) is int and 0 < side <= LARGEST_SIDE for side in found):
        raise ConfigError(f"size must have a height and a width of 1 to {LARGEST_SIDE:,} pixels, not {size!r:.80}.")
    return found


def _channels(keys: Mapping[str, Any], name: str) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """A number for each of the three colors, in single precision."""
    found = keys[name]
    numbers = found if isinstance(found, list | tuple) else [found] * 3
    if len(numbers) != 3 or not all(map(_is_number, numbers)):
        raise ConfigError(f"{name} must be a number for each of three colors, not {found!r:.80}.")
    return np.array(numbers, dtype=np.float32)
