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
    for file in card.files:
        hub, *mirrors = file.urls
        assert canonical(hub) == f"https://huggingface.co/{organization}/{card.name}/resolve/main/{file.filename}"
        mirrored = card.name in ("gpt2", "gpt2-medium") and file.filename != "model.safetensors"
        s3 = f"https://s3.amazonaws.com/models.huggingface.co/bert/{card.name}-{file.filename}"
        assert mirrors == ([s3] if mirrored else [])
    assert [file.role for file in card.files] == ["config", "weights", "weights", "vocab", "merges"]
    assert card.aliases == (f"{organization}/{card.name}",)
    assert card.tokenizer == {"max_len": 1024}


def test_nothing_has_a_digest_that_nobody_took() -> None:
    assert not any(file.sha256 or file.size for card in CARDS for file in card.files)
