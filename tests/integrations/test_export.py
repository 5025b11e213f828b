"""Programs made of models leave Python: torch.export, ONNX by both exporters, torch.jit.trace.

docs/integrations.md, which a test runs, has AOTInductor.
"""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from registry.zoo import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    TransfoXLConfig,
    TransfoXLLMHeadModel,
)

pytestmark = pytest.mark.integrations

GPT = {"vocab_size": 61, "n_positions": 20, "n_embd": 24, "n_layer": 2, "n_head": 4, "initializer_range": 0.3}
MODELS: dict[str, tuple[type, Any]] = {
    "BERT": (
        BertForSequenceClassification,
        BertConfig(
            vocab_size=61, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40,
            max_position_embeddings=20, initializer_range=0.3,
        ),
    ),
    "GPT": (OpenAIGPTLMHeadModel, OpenAIGPTConfig(**GPT)),
    "GPT-2": (GPT2LMHeadModel, GPT2Config(**GPT)),
    "Transformer-XL": (
        TransfoXLLMHeadModel,
        TransfoXLConfig(
            vocab_size=61, cutoffs=[9, 25], d_model=32, d_embed=32, n_head=4, d_head=8, d_inner=40, n_layer=1,
            div_val=2, tgt_len=8, mem_len=6, init_std=0.2, proj_init_std=0.2,
        ),
    ),
}  # fmt: skip
IDS = torch.randint(1, 61, (3, 8), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1] * 8, [1] * 5 + [0] * 3, [1] * 2 + [0] * 6])
OTHERS = torch.randint(1, 61, (2, 11), generator=torch.Generator().manual_seed(1))
OTHER_MASK = torch.tensor([[1] * 7 + [0] * 4, [1] * 11])
AXES = {0: torch.export.Dim("batch", max=64), 1: torch.export.Dim("tokens", max=20)}
BATCHES = ((IDS, MASK), (OTHERS, OTHER_MASK))

each_model = pytest.mark.parametrize("name", MODELS)


def made(name: str) -> Any:
    cls, config = MODELS[name]
    torch.manual_seed(0)
    return cls(config).eval().requires_grad_(False)


class Logits(nn.Module):
    """What servers take: tensors in, one tensor out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.model(ids, attention_mask=mask).logits


def exported(model: nn.Module, strict: bool = False) -> torch.export.ExportedProgram:
    axes = {"input_ids": AXES, "attention_mask": AXES}
    inputs = {"input_ids": IDS, "attention_mask": MASK}
    return torch.export.export(model, (), inputs, dynamic_shapes=axes, strict=strict)


@each_model
def test_an_exported_program_is_stored_and_gives_the_records_of_the_model(name: str, tmp_path: Path) -> None:
    model = made(name)
    torch.export.save(exported(model, strict=name in ("BERT", "GPT-2")), tmp_path / "program.pt2")
    program = torch.export.load(tmp_path / "program.pt2").module()
    for ids, mask in BATCHES:
        found, expected = (run(input_ids=ids, attention_mask=mask) for run in (program, model))
        assert type(found) is type(expected)
        assert_close(found.logits, expected.logits, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore")  # of the exporters
@pytest.mark.parametrize("dynamo", [True, False])
@each_model
def test_onnxruntime_computes_the_outputs_by_their_names(name: str, dynamo: bool, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="the extra `integrations` is not installed")
    pytest.importorskip("onnx", reason="the extra `integrations` is not installed")
    if dynamo and importlib.util.find_spec("onnxscript") is None:
        pytest.skip("the extra `integrations` is not installed")
    if dynamo and name == "GPT":
        pytest.skip("its graph is that of GPT-2 but for the order of normalization, and the exporter takes seconds")
    model = Logits(made(name)).eval()
    axes = AXES if dynamo else {0: "batch", 1: "tokens"}
    shapes = {"dynamic_shapes" if dynamo else "dynamic_axes": {"ids": axes, "mask": axes}}
    path = tmp_path / "model.onnx"
    names = {"input_names": ["ids", "mask"], "output_names": ["logits"]}
    torch.onnx.export(model, (IDS, MASK), str(path), dynamo=dynamo, **names, **shapes)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["logits"]
    for ids, mask in BATCHES:
        (found,) = session.run(["logits"], {"ids": ids.numpy(), "mask": mask.numpy()})
        assert_close(torch.from_numpy(found), model(ids, mask), atol=1e-5, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:`torch.jit:DeprecationWarning")
@each_model
def test_a_traced_program_is_stored_and_serves_other_shapes(name: str, tmp_path: Path) -> None:
    model = Logits(made(name))
    torch.jit.trace(model, (IDS, MASK)).save(str(tmp_path / "program.pt"))
    program = torch.jit.load(str(tmp_path / "program.pt"))
    for ids, mask in BATCHES:
        assert_close(program(ids, mask), model(ids, mask), atol=1e-5, rtol=1e-5)


def test_a_compiled_backbone_generates_the_same_ids() -> None:
    model = made("GPT-2")
    expected = model.generate(IDS, max_new_tokens=3)
    torch._dynamo.reset()
    model.transformer.compile(backend="eager")
    assert torch.equal(model.generate(IDS, max_new_tokens=3), expected)
