"""Files that end anywhere: a model loads as ever, or an error names the file; never another error, or other numbers."""

import random
import shutil
import tarfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import transformers

import registry
from registry.errors import RegistryError, RegistryWarning
from registry.zoo import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
    TransfoXLConfig,
    TransfoXLLMHeadModel,
    TransfoXLTokenizer,
)

Limits = Callable[..., AbstractContextManager[None]]

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "sat", "on", "a", "mat", "."]
TEXT = "The cats sat on a mat."
BERT = BertConfig(
    vocab_size=len(WORDS),
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=8,
    max_position_embeddings=16,
)


class Subject(NamedTuple):
    """The files of a model, any of which may be cut off."""

    path: Path
    """What is loaded."""
    task: str
    cut: tuple[str, ...]
    """Names of the files that are cut off; the archive itself where ``path`` is one."""


# --- Models, as they lie on disks -------------------------------------------------------------------------------------


def trained(model: Any) -> Any:
    """A model whose weights are those of no initialization."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def every(path: Path, task: str = "sequence-classification", without: tuple[str, ...] = ()) -> Subject:
    names = (file.name for file in path.iterdir())
    return Subject(path, task, tuple(sorted(name for name in names if name not in without)))


def bert(path: Path, **options: Any) -> Path:
    (path.parent / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    tokenizer = BertTokenizer(str(path.parent / "vocab.txt"))
    return registry.save(trained(BertForSequenceClassification(BERT)), path, tokenizer=tokenizer, **options)


def foreign_bert(path: Path, write: Callable[[dict[str, Any], Path], None] | None = None) -> Subject:
    """Without a manifest, as another library saves it: whether a list of words is complete then, nothing tells."""
    bert(path)
    (path / "registry.json").unlink()
    if write is not None:
        state = registry.load_model(path).state_dict()
        (path / "model.safetensors").unlink()
        write(state, path / "pytorch_model.bin")
    return every(path, without=("vocab.txt",))


def legacy(state: dict[str, Any], path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


def of_transformers(path: Path) -> Subject:
    """With a tokenizer.json."""
    bert(path)
    tokenizer = transformers.BertTokenizerFast(vocab=str(path / "vocab.txt"))
    config = transformers.BertConfig.from_pretrained(path, num_labels=2)
    model = transformers.BertForSequenceClassification.from_pretrained(path, config=config)
    model.save_pretrained(path.with_name("theirs"))
    tokenizer.save_pretrained(path.with_name("theirs"))
    assert path.with_name("theirs").joinpath("tokenizer.json").exists()
    return every(path.with_name("theirs"))


def gpt2(path: Path, vocabulary: Path, **options: Any) -> Subject:
    tokenizer = GPT2Tokenizer(str(vocabulary / "vocab.json"), str(vocabulary / "merges.txt"))
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=8, n_layer=1, n_head=2, n_positions=64)
    return every(registry.save(trained(GPT2LMHeadModel(config)), path, tokenizer=tokenizer, **options), "causal-lm")


def transfo_xl(path: Path) -> Subject:
    words = ["<eos>", "the", "cats", "sat", "on", "a", "mat", ".", "<unk>", "cat"]
    (path.parent / "vocab.txt").write_text("\n".join(words) + "\n")
    tokenizer = TransfoXLTokenizer(str(path.parent / "vocab.txt"), lower_case=True)
    sizes = {"d_model": 8, "d_embed": 8, "n_head": 2, "d_head": 4, "d_inner": 8, "n_layer": 1, "div_val": 2}
    config = TransfoXLConfig(vocab_size=len(words), cutoffs=[4, 6], mem_len=4, **sizes)
    return every(registry.save(trained(TransfoXLLMHeadModel(config)), path, tokenizer=tokenizer), "causal-lm")


def pickled_words(path: Path) -> Subject:
    """With the vocab.bin of pytorch-pretrained-bert."""
    subject = transfo_xl(path)
    words = (path / "vocab.txt").read_text().split()
    (path / "vocab.txt").unlink()
    (path / "registry.json").unlink()
    state = {"counter": Counter(), "special": ["<eos>"], "lower_case": True, "idx2sym": words, "eos_idx": 0}
    torch.save({**state, "sym2idx": {word: number for number, word in enumerate(words)}}, path / "vocab.bin")
    return every(subject.path, "causal-lm")


def tar(path: Path) -> Subject:
    with tarfile.open(path.with_suffix(".tar.gz"), "w:gz") as archive:
        for file in sorted(bert(path).iterdir()):
            archive.add(file, file.name)
    return Subject(path.with_suffix(".tar.gz"), "sequence-classification", (path.with_suffix(".tar.gz").name,))


def zipped(path: Path) -> Subject:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(bert(path).iterdir()):
            archive.write(file, file.name)
    return Subject(path.with_suffix(".zip"), "sequence-classification", (path.with_suffix(".zip").name,))


def tensorflow(path: Path, fixtures: Path) -> Subject:
    shutil.copytree(fixtures / "tensorflow" / "bert_classifier", path)
    return every(path, without=("checkpoint",))  # which names the latest one, and is not needed where there is one


FIXTURES = Path(__file__).parents[1] / "fixtures"
SUBJECTS: dict[str, Callable[[Path], Subject]] = {
    "safetensors": lambda path: every(bert(path)),
    "torch": lambda path: every(bert(path, format="torch")),
    "safetensors in shards": lambda path: every(bert(path, max_shard_size=1500)),
    "torch in shards": lambda path: every(bert(path, format="torch", max_shard_size=1500)),
    "safetensors without a manifest": foreign_bert,
    "torch without a manifest": lambda path: foreign_bert(path, torch.save),  # type: ignore[arg-type]
    "torch before 1.6": lambda path: foreign_bert(path, legacy),
    "transformers with tokenizer.json": of_transformers,
    "GPT-2 with merges": lambda path: gpt2(path, FIXTURES / "vocabularies" / "gpt2"),
    "Transformer-XL": transfo_xl,
    "Transformer-XL with a pickled vocabulary": pickled_words,
    "a TensorFlow checkpoint": lambda path: tensorflow(path, FIXTURES),
    "a tar archive": tar,
    "a zip archive": zipped,
}


# --- Cut off ----------------------------------------------------------------------------------------------------------


def result(subject: Subject) -> tuple[list[int], torch.Tensor]:
    """The ids of a text, and what the model computes of them."""
    labels = {"num_labels": 3} if "bert_config.json" in subject.cut else {}
    loaded = registry.load(subject.path, subject.task, **labels)
    has_words = subject.path.is_file() or any(name.startswith(("vocab", "tokenizer.")) for name in subject.cut)
    ids = loaded.tokenizer(TEXT)["input_ids"] if has_words else [1, 2, 3]
    with torch.inference_mode():
        return ids, loaded.model(torch.tensor([ids])).logits


def outcome(subject: Subject, name: str, expected: tuple[list[int], torch.Tensor]) -> str:
    """What became of a file that was cut off; an assertion for what must not become of it."""
    problem, found = None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = result(subject)
        except RegistryError as error:
            problem = error
    told = [str(warning.message) for warning in caught if issubclass(warning.category, RegistryWarning)]
    named = any(name in message for message in (str(problem), *told))
    if problem is None and not named:
        assert found is not None
        assert (found[0], found[1].tolist()) == (expected[0], expected[1].tolist()), name
        return "as ever"
    assert named, str(problem)
    return "an error" if problem is not None else "a warning"


@pytest.fixture
def subject(request: pytest.FixtureRequest, tmp_path: Path, gpt_release: Callable[[bool], Path]) -> Subject:
    if request.param == "arrays of numpy":
        return every(gpt_release(True), "causal-lm")
    return SUBJECTS[request.param](tmp_path / "model")


@pytest.mark.parametrize("subject", [*SUBJECTS, "arrays of numpy"], indirect=True)
def test_a_file_that_ends_anywhere(subject: Subject, limits: Limits, examples: int) -> None:
    expected = result(subject)
    truncations = examples // (len(SUBJECTS) + 1)
    home = subject.path.parent if subject.path.is_file() else subject.path
    rng, outcomes = random.Random(0), Counter[str]()
    for _ in range(truncations):
        name = rng.choice(subject.cut)
        whole = (home / name).read_bytes()
        near = min(len(whole), 300)
        lengths = (rng.randrange(len(whole)), rng.randrange(near), len(whole) - 1 - rng.randrange(near))
        (home / name).write_bytes(whole[: rng.choice(lengths)])
        with limits(seconds=20, megabytes=2000):
            outcomes[outcome(subject, name, expected)] += 1
        (home / name).write_bytes(whole)
    assert outcomes["an error"] >= truncations // 3, outcomes
