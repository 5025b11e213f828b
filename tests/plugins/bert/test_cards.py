import pytest

import registry
from plugins.bert.cards import CARDS
from plugins.bert.config import BertConfig
from registry.download.hub import canonical
from registry.loading.meta import build
from registry.records import Card

LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
SIZES = {  # vocabulary and sizes, as pytorch-pretrained-bert's manual and the published configurations give them
    "bert-base-uncased": {"vocab_size": 30522},
    "bert-large-uncased": {"vocab_size": 30522, **LARGE},
    "bert-base-cased": {"vocab_size": 28996},
    "bert-large-cased": {"vocab_size": 28996, **LARGE},
    "bert-base-multilingual-uncased": {"vocab_size": 105879},
    "bert-base-multilingual-cased": {"vocab_size": 119547},
    "bert-base-chinese": {"vocab_size": 21128},
    "bert-base-german-cased": {"vocab_size": 30000},
    "bert-large-uncased-whole-word-masking": {"vocab_size": 30522, **LARGE},
    "bert-large-cased-whole-word-masking": {"vocab_size": 28996, **LARGE},
    "bert-large-uncased-whole-word-masking-finetuned-squad": {"vocab_size": 30522, **LARGE},
    "bert-large-cased-whole-word-masking-finetuned-squad": {"vocab_size": 28996, **LARGE},
    "bert-base-cased-finetuned-mrpc": {"vocab_size": 28996},
    "all-minilm-l6-v2": {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
}
BY_NAME = {card.name: card for card in CARDS}


def test_every_name_of_the_manual_is_declared() -> None:
    assert set(BY_NAME) == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_the_number_of_parameters_is_that_of_the_model(name: str) -> None:
    card = BY_NAME[name]
    specs = {"pretraining": "BertForPreTraining", "base": "BertModel", "question-answering": "BertForQuestionAnswering"}
    cls = getattr(registry.zoo, specs.get(card.task, "BertForSequenceClassification"))
    model = build(lambda: cls(BertConfig(**SIZES[name])))
    assert card.num_parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_the_casing_is_that_of_the_name(card: Card) -> None:
    assert card.tokenizer["do_lower_case"] == ("-cased" not in card.name)
    assert card.tokenizer["max_len"] == 512


@pytest.mark.parametrize(
    "card", [card for card in CARDS if card.name != "all-minilm-l6-v2"], ids=lambda card: card.name
)
def test_the_hub_comes_first_and_s3_after_it(card: Card) -> None:
    hub, s3 = card.files[:4], card.files[4:]
    for file in hub:
        (url,) = file.urls
        revision = url.partition("@")[2].partition("/")[0] or "main"
        assert canonical(url) == f"https://huggingface.co/google-bert/{card.name}/resolve/{revision}/{file.filename}"
    assert [(file.role, file.filename) for file in hub] == [
        ("config", "config.json"),
        ("weights", "model.safetensors"),
        ("weights", "pytorch_model.bin"),
        ("vocab", "vocab.txt"),
    ]
    assert [(file.role, file.filename) for file in s3] == [
        ("config", "config.json"),
        ("weights", "pytorch_model.bin"),
        ("vocab", "vocab.txt"),
    ]
    assert all("amazonaws.com" in url for file in s3 for url in file.urls)


def test_the_first_generation_had_an_archive_for_each_of_its_names() -> None:
    archived = {card.name for card in CARDS if card.archives}
    assert archived == {
        "bert-base-uncased",
        "bert-large-uncased",
        "bert-base-cased",
        "bert-large-cased",
        "bert-base-multilingual-uncased",
        "bert-base-multilingual-cased",
        "bert-base-chinese",
    }
