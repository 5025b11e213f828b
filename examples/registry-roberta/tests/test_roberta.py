"""RoBERTa beside transformers: ids, numbers, and folders in both directions; and the conformance kit."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
import tokenizers
import torch
import transformers
from safetensors.torch import load_file
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from torch.testing import assert_close

import registry.zoo
from registry.errors import InputError
from registry.testing import Conformance
from registry.tokenization.byte_level import bytes_to_unicode
from registry_roberta.tokenization import RobertaTokenizer

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
TEXTS = ("hello world", "the cat sat on the mat .", " Paris is<mask> of France, naïve 你好", "a <mask>b", "")
SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 16,
    "type_vocab_size": 1,
    "initializer_range": 0.2,
}


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the ``tokenizer.json`` of a small RoBERTa, as transformers writes it."""
    trained = tokenizers.Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=290, special_tokens=[*SPECIAL, "<mask>"], initial_alphabet=alphabet)
    trained.train_from_iterator(TEXTS, trainer)
    trained.add_special_tokens([tokenizers.AddedToken("<mask>", lstrip=True, special=True)])
    sep, cls = (("</s>", 2), ("<s>", 0))
    trained.post_processor = processors.RobertaProcessing(sep, cls, trim_offsets=False, add_prefix_space=False)
    directory = tmp_path_factory.mktemp("vocabulary")
    trained.save(str(directory / "tokenizer.json"))
    return directory


def test_ids_are_those_of_the_library(vocabulary: Path) -> None:
    ours = RobertaTokenizer.from_pretrained(vocabulary)
    theirs = tokenizers.Tokenizer.from_file(str(vocabulary / "tokenizer.json"))
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text).ids, text
        assert ours.encode(text, "and more") == theirs.encode(text, "and more").ids, text
        found = ours(text, return_offsets_mapping=True)["offset_mapping"]
        assert found == theirs.encode(text).offsets, text


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("base", "RobertaModel"),
        ("masked-lm", "RobertaForMaskedLM"),
        ("sequence-classification", "RobertaForSequenceClassification"),
    ],
)
def test_folders_of_transformers_load_with_its_numbers_and_are_saved_as_they_were(
    task: str, name: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    config = transformers.RobertaConfig(**SIZES, num_labels=3)
    theirs = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = registry.load_model(tmp_path / "theirs", task)
    assert ours.load_report.new == ours.load_report.dropped == ()
    ids = torch.randint(3, 300, (2, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    ids[1, 6:], mask[1, 6:] = 1, 0
    found, expected = ours(ids, attention_mask=mask)[0], theirs(ids, attention_mask=mask)[0]
    shown = ... if found.dim() == 2 else mask.bool()
    assert_close(found[shown], expected[shown], atol=1e-5, rtol=0)
    saved = registry.save(ours, tmp_path / "ours")
    was, now = (load_file(folder / "model.safetensors") for folder in (tmp_path / "theirs", saved))
    assert now.keys() == was.keys()
    again, info = type(theirs).from_pretrained(saved, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert_close(again.eval()(ids, attention_mask=mask)[0][shown], expected[shown], atol=1e-5, rtol=0)


def test_a_text_may_be_as_long_as_there_are_positions_after_padding() -> None:
    model = registry.zoo.RobertaModel(registry.zoo.RobertaConfig(**SIZES)).eval()
    assert model(torch.full((1, 14), 5))[0].isfinite().all()
    with pytest.raises(InputError, match="15 tokens is too long: this model has 14 positions"):
        model(torch.full((1, 15), 5))


class TestRoberta(Conformance):
    plugin = "roberta"
    config: ClassVar[dict[str, Any]] = SIZES

    def make_tokenizer(self, directory: Path) -> RobertaTokenizer:
        symbols = [*SPECIAL, *bytes_to_unicode().values(), "<mask>"]
        return RobertaTokenizer({symbol: number for number, symbol in enumerate(symbols)}, merges_file=())
