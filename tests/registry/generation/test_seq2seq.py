"""Generation by a model that says how to start: what its decoder gets, and what is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from registry.errors import ConfigError, InputError
from registry.generation import CausalModel, Seq2SeqModel, TextStreamer, beam_search, sample
from registry.generation.generate import generate
from registry.generation.texts import continue_texts
from registry.nn.seq2seq.head import Seq2SeqLM

TEXTS = torch.tensor([[5, 6, 7], [8, 9, 0]])
MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])


class Answering(nn.Module):
    """Has a toy decoder, for which texts only choose the first token."""

    def __init__(self, decoder: Any, **config: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.decoder = decoder
        self.config = type("Config", (), {"eos_token_id": None, "pad_token_id": 4, **config})()
        self.generation_config: dict[str, Any] = {}
        self.given: list[Any] = []

    def start(
        self, input_ids: Tensor, *, attention_mask: Tensor | None = None, decoder_input_ids: Tensor | None = None
    ) -> tuple[CausalModel, Tensor]:
        self.given.append((input_ids, attention_mask))
        return self.decoder, input_ids[:, :1] if decoder_input_ids is None else decoder_input_ids


@pytest.fixture
def model(toy: Callable[..., Any]) -> Answering:
    return Answering(toy())


def test_the_decoder_continues_what_the_model_starts_with(model: Answering) -> None:
    assert isinstance(model, Seq2SeqModel)
    ids = generate(model, TEXTS, attention_mask=MASK, max_new_tokens=5)
    assert ids.tolist() == [model.decoder.likeliest([first], 5) for first in (5, 8)]
    ((given, mask),) = model.given
    assert given is TEXTS
    assert mask is MASK
    assert all(call.mask is None for call in model.decoder.calls), "the mask is that of the texts"


def test_answers_begin_as_the_caller_says(model: Answering) -> None:
    begun = torch.tensor([[3, 4], [1, 2]])
    ids = generate(model, TEXTS, decoder_input_ids=begun, max_new_tokens=3)
    assert ids.tolist() == [model.decoder.likeliest(first, 3) for first in ([3, 4], [1, 2])]


def test_beams_and_samples_are_those_of_the_decoder(model: Answering) -> None:
    common: dict[str, Any] = {"max_new_tokens": 4, "eos_token_id": 7, "pad_token_id": 4}
    beams: dict[str, Any] = {"num_beams": 3, "num_return_sequences": 2, **common}
    wanted = beam_search(model.decoder, TEXTS[:, :1], **beams)
    assert generate(model, TEXTS, **beams).tolist() == wanted.tolist()
    samples: dict[str, Any] = {"temperature": 1.5, "num_return_sequences": 3, **common}
    wanted = sample(model.decoder, TEXTS[:, :1], generator=torch.Generator().manual_seed(0), **samples)
    found = generate(model, TEXTS, generator=torch.Generator().manual_seed(0), **samples)
    assert found.tolist() == wanted.tolist()


def test_padding_is_that_of_the_configuration_and_a_length_counts_what_an_answer_begins_with(
    toy: Callable[..., Any],
) -> None:
    ends = int(toy().next_scores([5]).argmax())
    model = Answering(toy(), eos_token_id=ends)
    ids = generate(model, TEXTS, max_new_tokens=5)
    assert ids[0].tolist() == [5, ends, 4, 4, 4, 4][: ids.shape[1]]
    model.generation_config = {"max_length": 4}
    assert generate(model, TEXTS, eos_token_id=()).shape[1] == 4


def test_what_is_generated_is_streamed(model: Answering) -> None:
    class Letters:
        def decode(self, ids: Any, *_: Any, **__: Any) -> str:
            return "".join(chr(97 + number) for number in ids)

    streamer = TextStreamer(Letters(), show=None)  # type: ignore[arg-type]
    ids = generate(model, TEXTS[:1], max_new_tokens=4, on_token=streamer)
    streamer.end()
    assert streamer.text == Letters().decode(ids[0, 1:].tolist())


def test_texts_are_padded_on_the_right_and_answers_come_alone(model: Answering) -> None:
    class Numbers:
        eos_token_id = None

        def __call__(self, texts: list[str]) -> dict[str, list[list[int]]]:
            return {"input_ids": [[int(word) for word in text.split()] for text in texts]}

        def decode(self, ids: list[int], **_: Any) -> str:
            return " ".join(map(str, ids))

    found = continue_texts(model, Numbers(), ["5 6 7", "8 9"], max_new_tokens=3)  # type: ignore[arg-type]
    assert found == [" ".join(map(str, model.decoder.likeliest([first], 3))) for first in (5, 8)]
    ((given, mask),) = model.given
    assert given.tolist() == TEXTS.tolist()
    assert mask.tolist() == MASK.tolist()


def test_what_makes_no_sense_is_refused(model: Answering, toy: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="decoder_input_ids has no effect: Toy continues input_ids themselves"):
        generate(toy(), TEXTS, decoder_input_ids=TEXTS, max_new_tokens=1)
    with pytest.raises(InputError, match="input_ids must be a tensor"):
        generate(model, [[1]], max_new_tokens=1)  # type: ignore[call-overload]
    with pytest.raises(InputError, match="Linear does not predict next tokens"):
        generate(nn.Linear(1, 1), TEXTS, max_new_tokens=1)
    model.generation_config = {"decoder_start_token_id": "zero"}
    with pytest.raises(ConfigError, match="decoder_start_token_id='zero', where a whole number is needed"):
        generate(model, TEXTS, max_new_tokens=1)


class Config:
    decoder_start_token_id: int | None = 2
    pad_token_id = 0


def test_the_first_token_is_that_of_the_files() -> None:
    model = Seq2SeqLM()
    model.config, model.generation_config = Config(), {}
    assert model.first_ids(TEXTS).tolist() == [[2], [2]]
    labels = torch.tensor([[5, -100, 6], [7, 8, -100]])
    assert model.prepare_decoder_input_ids_from_labels(labels).tolist() == [[2, 5, 0], [2, 7, 8]]
    model.generation_config = {"decoder_start_token_id": 3}
    assert model.first_ids(TEXTS).tolist() == [[3], [3]]
    decoder, first = model.start(TEXTS, decoder_input_ids=TEXTS)
    assert isinstance(decoder, CausalModel)
    assert first is TEXTS
    with pytest.raises(InputError, match="begin 1 answers, where there are 2 texts"):
        model.start(TEXTS, decoder_input_ids=TEXTS[:1])
    model.config.decoder_start_token_id, model.generation_config = None, {}
    with pytest.raises(ConfigError, match="decoder_start_token_id is null"):
        model.start(TEXTS)
