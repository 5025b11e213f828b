"""``dtype=`` and ``device=``, checked before anything is read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

import registry
from registry.errors import MissingFileError, UnknownOptionError, UnsupportedError
from registry.zoo import BertConfig, BertModel

DOORS = [registry.load, registry.load_model, BertModel.from_pretrained]


@pytest.fixture
def saved(tmp_path: Path, sizes: dict[str, int]) -> Path:
    model = BertModel(BertConfig(**sizes))
    model.init_weights()
    return registry.save(model, tmp_path / "saved")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("dtype", ["bfloat16", "torch.bfloat16", torch.bfloat16])
def test_a_type_is_given_as_an_object_or_by_its_name(saved: Path, door: Callable[..., Any], dtype: object) -> None:
    loaded = door(saved, dtype=dtype, device="cpu")
    model = loaded if isinstance(loaded, torch.nn.Module) else loaded.model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert {parameter.device for parameter in model.parameters()} == {torch.device("cpu")}


@pytest.mark.parametrize("default", [torch.bfloat16, torch.float64])
def test_a_loaded_model_has_float32_whatever_type_torch_constructs(
    saved: Path, sizes: dict[str, int], default: torch.dtype
) -> None:
    heads = {}
    before = torch.get_default_dtype()
    for dtype in (before, default):
        torch.set_default_dtype(dtype)
        try:
            torch.manual_seed(0)
            heads[dtype] = registry.load_model(saved, "sequence-classification", num_labels=3)
            assert BertModel(BertConfig(**sizes)).dtype is dtype  # a constructed one is as torch says
        finally:
            torch.set_default_dtype(before)
    assert {parameter.dtype for parameter in heads[default].parameters()} == {torch.float32}
    assert_close(heads[default].state_dict(), heads[before].state_dict(), atol=0, rtol=0)  # a new head, too


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("keywords", "error", "said"),
    [
        ({"dtype": "auto"}, UnknownOptionError, "dtype='auto' is not a floating-point type"),
        ({"dtype": "flot16"}, UnknownOptionError, "Did you mean 'float16'"),
        ({"dtype": torch.int8}, UnknownOptionError, "torch.int8"),
        ({"dtype": "nn"}, UnknownOptionError, "dtype='nn'"),
        ({"dtype": 16}, UnknownOptionError, "dtype=16"),
        ({"device": "auto"}, UnknownOptionError, "device='auto' is not a device"),
        ({"device": -1}, UnknownOptionError, "device=-1"),
        ({"device": 1.5}, UnknownOptionError, "device=1.5"),
        ({"device": "cuda:99"}, UnsupportedError, "device='cuda:99' is not available"),
    ],
)
def test_nonsense_is_refused_before_anything_is_read(
    tmp_path: Path, door: Callable[..., Any], keywords: dict[str, Any], error: type[Exception], said: str
) -> None:
    (tmp_path / "config.json").write_text("damaged")
    with pytest.raises(error, match=said):
        door(tmp_path, **keywords)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="'cuda' is not available to torch"):
        registry.load_model(tmp_path, device="cuda")
    with pytest.raises(MissingFileError):
        registry.load_model(tmp_path, device="cpu")
