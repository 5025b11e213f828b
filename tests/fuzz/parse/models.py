"""How the files of a model and of its tokenizer are parsed."""

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tests.fuzz.inputs import Files, put
from tests.fuzz.seeds.tokenizers import gpt2_tokenizer

import registry
from registry.errors import RegistryError
from registry.files.atomic import content_writer
from registry.files.strict_json import read_json_object
from registry.saving.folder import write_folder
from registry.saving.verify import verify
from registry.sources.on_disk import files_at
from registry.tokenization.sentencepiece.tokenizer import SentencePieceTokenizer
from registry.zoo import GPT2Config, GPT2LMHeadModel


def model(files: Files, directory: Path) -> None:
    """Load a model, and write its configuration."""
    put(files, directory)
    config = registry.load_config(directory)
    type(config).from_dict(config.to_dict())
    registry.load_model(directory)


CHAT = [{"role": "user", "content": "the cat"}]


def tokenizer(files: Files, directory: Path) -> None:
    """Load a tokenizer, and use it."""
    put(files, directory)
    use(registry.load_tokenizer(directory))


def use(found: Any) -> None:
    """Encode, decode and write."""
    batch = found("The cat, [MASK] <unk> a\n!", "b")
    found.decode(batch["input_ids"])
    found.files()
    if getattr(found, "chat_template", None):
        found.apply_chat_template(CHAT, tokenize=False)


def pickled_vocabulary(files: Files, directory: Path) -> None:
    """Read a pickled vocabulary."""
    from plugins.transfo_xl.pickled import read_pickled

    for name, data in files.items():
        read_pickled(data, origin=name)


def sentencepiece_model(files: Files, directory: Path) -> None:
    """Load a model of sentencepiece, and use it."""
    for path in put(files, directory).values():
        use(AnySentencePieceTokenizer(path))


class AnySentencePieceTokenizer(SentencePieceTokenizer):
    """A tokenizer of whatever model."""

    published_classes = ("AnyTokenizer",)


def saved_directory(files: Files, directory: Path) -> None:
    """Look at a directory that was saved, and save over it."""
    put(files, directory)
    with suppress(RegistryError):
        files_at(directory)
    with suppress(RegistryError):
        verify(directory)
    with suppress(RegistryError):
        registry.load_config(directory)
    write_folder(directory, {"config.json": content_writer("{}"), "model.safetensors": content_writer(b"w")}, about={})


def generation(files: Files, directory: Path) -> None:
    """Generate a token with the defaults of a file."""
    for path in put(files, directory).values():
        causal, tokens = _causal()
        causal.generation_config = read_json_object(path)
        torch.manual_seed(0)
        causal.generate(torch.tensor([[1, 2, 3]]), max_new_tokens=2, tokenizer=tokens)


@cache
def _causal() -> tuple[Any, Any]:
    torch.manual_seed(0)
    causal = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=4, n_layer=1, n_head=1, n_positions=16))
    causal.init_weights()
    return causal.eval(), gpt2_tokenizer()


def sentences(files: Files, directory: Path) -> None:
    """Embed a text."""
    put(files, directory)
    registry.load(directory).embed(["the cat"])
