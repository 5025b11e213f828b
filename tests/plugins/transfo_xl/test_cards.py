from plugins.transfo_xl.cards import CARDS
from plugins.transfo_xl.config import TransfoXLConfig
from plugins.transfo_xl.modeling import TransfoXLLMHeadModel
from registry.download.hub import canonical
from registry.loading.meta import build

REVISION = "40a186da79458c9f9de846edfaea79c412137f97"
"""What the documentation of transformers names."""


def test_the_number_of_parameters_is_that_of_the_model() -> None:
    (card,) = CARDS
    model = build(lambda: TransfoXLLMHeadModel(TransfoXLConfig()))
    assert card.num_parameters == sum(parameter.numel() for parameter in model.parameters())


def test_the_hub_comes_first_and_s3_after_it() -> None:
    (card,) = CARDS
    assert (card.name, card.aliases) == ("transfo-xl-wt103", ("transfo-xl/transfo-xl-wt103",))
    for file in card.files:
        hub, *mirrors = file.urls
        assert canonical(hub) == f"https://huggingface.co/{card.aliases[0]}/resolve/{REVISION}/{file.filename}"
        on_s3 = file.filename in ("config.json", "pytorch_model.bin", "vocab.bin")
        s3 = f"https://s3.amazonaws.com/models.huggingface.co/bert/transfo-xl-wt103-{file.filename}"
        assert mirrors == ([s3] if on_s3 else [])
        assert file.sha256 is None, "nobody took it"
