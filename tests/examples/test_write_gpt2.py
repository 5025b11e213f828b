"""A small run of write_gpt2.py, and its rules."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import tokenizers

import registry


def test_it_trains_saves_loads_and_writes(
    run: Callable[..., str], example: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    module = example("write_gpt2")
    few = example("docstrings").docstrings("json", "statistics")
    module.docstrings = lambda *modules: few
    small = ("--steps", 2, "--batch-size", 2, "--context", 32, "--layers", 1, "--width", 32, "--vocabulary", 300)
    printed = run("write_gpt2", tmp_path / "out", *small)
    assert "bits per byte" in printed
    assert printed.count("Return the") >= 1
    saved = registry.load(tmp_path / "out" / "model")
    assert len(saved.tokenizer) == saved.config.vocab_size == 300
    assert saved.tokenizer.decode(saved.tokenizer.encode("naïve\n\t🙂")) == "naïve\n\t🙂"


def test_rules_are_those_which_another_library_learns(example: Callable[[str], ModuleType]) -> None:
    """Up to the order of pairs that are equally frequent, about which nobody agrees: so counts are compared."""
    module = example("write_gpt2")
    texts = [docstring.text for docstring in example("docstrings").docstrings("json", "statistics")]
    ours = module.learn_merges(texts, 60)
    other = tokenizers.Tokenizer(tokenizers.models.BPE())
    other.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Split(tokenizers.Regex(module.WORD.pattern), "isolated"),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    letters = sorted(module.bytes_to_unicode().values())
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=256 + 60, initial_alphabet=letters, show_progress=False)
    other.train_from_iterator(texts, trainer)
    theirs = set(other.get_vocab()) - set(letters)
    assert len({"".join(pair) for pair in ours} & theirs) >= 57
