"""transformers' ``Trainer``, which saves directories that every door loads."""

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.trainer import TRAINING_ARGS_NAME

from registry.loading.model import Model
from registry.tokenization.base import Tokenizer


class Trainer(transformers.Trainer):
    """``transformers.Trainer``; its checkpoints and ``save_model`` are directories as ``registry.save`` writes them.

    transformers' own writes the weights of a model that is not its own without a configuration, and stops where weights
    are tied.  Models of other classes, adapters of PEFT among them, and sharded ones are saved as it saves them.
    """

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model, with its tokenizer where the trainer has it, and the arguments of training.

        Args:
            output_dir: The directory; None for that of the arguments.
            _internal_call: Whether the trainer calls it, for a checkpoint.

        Raises:
            SaveError: A file could not be written.
        """
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        if not isinstance(model, Model) or self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super().save_model(output_dir, _internal_call)
            return
        if self.args.should_save:
            self._save_whole(model, Path(str(output_dir or self.args.output_dir)))
        if self.args.push_to_hub and not _internal_call:
            self.push_to_hub(commit_message="Model save", revision=self.args.hub_revision)

    def _save_whole(self, model: Model, directory: Path) -> None:
        tokenizer: Any = self.processing_class or getattr(self.data_collator, "tokenizer", None)
        ours = isinstance(tokenizer, Tokenizer)
        model.save_pretrained(directory, tokenizer=tokenizer if ours else None)
        if tokenizer is not None and not ours:
            tokenizer.save_pretrained(str(directory))
        torch.save(self.args, directory / TRAINING_ARGS_NAME)
