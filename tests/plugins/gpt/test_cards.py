from plugins.gpt.cards import CARDS
from plugins.gpt.config import OpenAIGPTConfig
from plugins.gpt.modeling import OpenAIGPTLMHeadModel
from registry.download.hub import canonical
from registry.loading.meta import build

(CARD,) = CARDS


def test_the_number_of_parameters_is_that_of_the_model() -> None:
    model = build(lambda: OpenAIGPTLMHeadModel(OpenAIGPTConfig()))
    assert CARD.num_parameters == sum(parameter.numel() for parameter in model.parameters())


def test_the_hub_comes_first_and_s3_after_it() -> None:
    for file in CARD.files:
        hub, *mirrors = file.urls
        assert canonical(hub) == f"https://huggingface.co/openai-community/openai-gpt/resolve/main/{file.filename}"
        s3 = f"https://s3.amazonaws.com/models.huggingface.co/bert/openai-gpt-{file.filename}"
        assert mirrors == ([] if file.filename == "model.safetensors" else [s3])
    assert (CARD.name, CARD.aliases) == ("openai-gpt", ("openai-community/openai-gpt",))
    assert CARD.tokenizer == {"max_len": 512}
