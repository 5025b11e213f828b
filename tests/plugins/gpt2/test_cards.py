import pytest

from plugins.gpt2.cards import CARDS
from plugins.gpt2.config import GPT2Config
from plugins.gpt2.modeling import GPT2LMHeadModel
from registry.download.hub import canonical
from registry.loading.meta import build
from registry.records import Card

SIZES = {  # as the published configurations have them
    "gpt2": {},
    "gpt2-medium": {"n_embd": 1024, "n_layer": 24, "n_head": 16},
    "gpt2-large": {"n_embd": 1280, "n_layer": 36, "n_head": 20},
    "gpt2-xl": {"n_embd": 1600, "n_layer": 48, "n_head": 25},
    "distilgpt2": {"n_layer": 6},
}
BY_NAME = {card.name: card for card in CARDS}


def test_every_published_name_is_declared() -> None:
    assert set(BY_NAME) == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_the_number_of_parameters_is_that_of_the_model(name: str) -> None:
    model = build(lambda: GPT2LMHeadModel(GPT2Config(**SIZES[name])))
    assert BY_NAME[name].num_parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_the_hub_comes_first_and_s3_after_it(card: Card) -> None:
    organization = "distilbert" if card.name == "distilgpt2" else "openai-community"
    names = ["config.json", "model.safetensors", "pytorch_model.bin", "vocab.json", "merges.txt"]
    hub, s3 = card.files[:5], card.files[5:]
    assert [file.filename for file in hub] == names
    assert [file.role for file in hub] == ["config", "weights", "weights", "vocab", "merges"]
    for file in hub:
        (url,) = file.urls
        revision = url.partition("@")[2].partition("/")[0]
        there = f"https://huggingface.co/{organization}/{card.name}/resolve/{revision}/{file.filename}"
        assert canonical(url) == there
    at = f"https://s3.amazonaws.com/models.huggingface.co/bert/{card.name}"
    mirrored = [name for name in names if card.name in ("gpt2", "gpt2-medium") and name != "model.safetensors"]
    assert [file.urls for file in s3] == [(f"{at}-{name}",) for name in mirrored]
    assert card.aliases == (f"{organization}/{card.name}",)
    assert card.tokenizer == {"max_len": 1024}
