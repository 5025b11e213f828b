"""Lightning: a module around a model, its checkpoints, and mixed precision."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import registry
from registry.errors import WeightsMismatchError
from registry.zoo import BertConfig, BertForSequenceClassification, TransfoXLConfig, TransfoXLLMHeadModel

lightning = pytest.importorskip("lightning", reason="the extra `integrations` is not installed")
pytestmark = [
    pytest.mark.integrations,
    # its advice on workers of data loaders, and on modules that were loaded for evaluation
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*isinstance.treespec:FutureWarning"),
]

BERT = BertConfig(
    vocab_size=61, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
    max_position_embeddings=16,
)  # fmt: skip
XL = TransfoXLConfig(
    vocab_size=61, cutoffs=[20, 40], d_model=16, d_embed=16, n_head=2, d_head=8, d_inner=24, n_layer=2, div_val=2,
    mem_len=8, tgt_len=8,
)  # fmt: skip
IDS = torch.randint(1, 61, (8, 9), generator=torch.Generator().manual_seed(1))


class Task(lightning.LightningModule):  # type: ignore[misc,name-defined]
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.losses: list[Tensor] = []

    def training_step(self, batch: dict[str, Tensor], _number: int) -> Tensor:
        loss: Tensor = self.model(**batch).loss
        self.losses.append(loss.detach())
        return loss

    def validation_step(self, batch: dict[str, Tensor], _number: int) -> None:
        self.log("val_loss", self.model(**batch).loss)

    def predict_step(self, batch: dict[str, Tensor], _number: int) -> Tensor:
        logits: Tensor = self.model(**batch).logits
        return logits

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


def loader(*rows: dict[str, Tensor]) -> torch.utils.data.DataLoader[Any]:
    return torch.utils.data.DataLoader(list(rows), batch_size=None)  # type: ignore[arg-type]


def trainer(directory: Path, **options: Any) -> Any:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(
        accelerator="cpu",
        default_root_dir=str(directory),
        max_epochs=2,
        **{**quiet, "enable_checkpointing": False, **options},
    )


def test_the_weights_of_its_checkpoint_load_here(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(BERT)
    registry.save(model, tmp_path / "before")
    batches = loader(
        {"input_ids": IDS[:4], "labels": torch.arange(4) % 2}, {"input_ids": IDS[4:], "labels": torch.arange(4) % 2}
    )
    task = Task(model.train())
    fit = trainer(tmp_path)
    fit.fit(task, batches, batches)
    assert len(task.losses) == 4
    assert fit.callback_metrics["val_loss"].isfinite()
    predicted = torch.cat(fit.predict(task, loader({"input_ids": IDS})))
    fit.save_checkpoint(tmp_path / "last.ckpt")

    weights = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    with pytest.raises(WeightsMismatchError, match=r"fit without 'model\.'"):
        BertForSequenceClassification.from_pretrained(tmp_path / "before", state_dict=weights)
    weights = {name.removeprefix("model."): tensor for name, tensor in weights.items()}
    loaded = BertForSequenceClassification.from_pretrained(tmp_path / "before", state_dict=weights)
    assert_close(loaded(IDS).logits, predicted)
    assert_close(registry.load_model(registry.save(task.model, tmp_path / "after")).state_dict(), loaded.state_dict())


def test_mixed_precision_with_a_model_that_has_a_memory(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TransfoXLLMHeadModel(XL)
    task = Task(model.train())
    fit = trainer(tmp_path, precision="bf16-mixed", gradient_clip_val=1.0, accumulate_grad_batches=2)
    fit.fit(task, loader({"input_ids": IDS[:4], "labels": IDS[:4]}, {"input_ids": IDS[4:], "labels": IDS[4:]}))
    assert all(loss.isfinite() for loss in task.losses)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
