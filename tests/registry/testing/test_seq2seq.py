"""The checks of models that answer texts, applied to a correct encoder-decoder, and to some broken in one way each."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from registry.testing import Seq2SeqSuite

Run = Callable[..., Any]

PLUGIN = """
from registry import ConfigSpec, ModelSpec, hookimpl


@hookimpl
def registry_configs():
    yield ConfigSpec(
        architecture="my-answers", cls="my_tiny.answers_config:AnswersConfig", model_types=("my-answers",),
        default_task="seq2seq-lm",
    )


@hookimpl
def registry_models():
    yield ModelSpec(architecture="my-answers", task="base", cls="my_tiny.answers:Answers")
    yield ModelSpec(architecture="my-answers", task="seq2seq-lm", cls="my_tiny.answers:AnswersForGeneration")
"""

CONFIG = """
from typing import ClassVar

from attrs import frozen

from registry.config import Config
from registry.config.fields import optional_token, size


@frozen(kw_only=True)
class AnswersConfig(Config):
    architecture: ClassVar[str] = "my-answers"
    model_type: ClassVar[str] = "my-answers"

    vocab_size: int = size(30)
    width: int = size(16)
    positions: int = size(12)
    pad_token_id: int | None = optional_token(0)
    eos_token_id: int | None = optional_token(1)
    decoder_start_token_id: int | None = optional_token(2)
"""

MODELING = """
import torch
from torch import nn

from registry.loading.model import Model
from registry.nn.seq2seq.head import EncodedTexts, Seq2SeqLM
from registry.nn.seq2seq.models import EncoderDecoder
from registry.weights.names import Layout

from .answers_config import AnswersConfig


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)

    def forward(self, x, attend):
        return self.out(attend(self.heads(self.query(x)), *self.project(x)).flatten(-2))

    def across(self, x, attend):
        return self.out(attend(self.heads(self.query(x)), self.project).flatten(-2))

    def project(self, x):
        key, value = self.key_value(x).chunk(2, dim=-1)
        return self.heads(key), self.heads(value)

    def heads(self, x):
        return x.unflatten(-1, (2, -1))


class Encoder(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.attention = Attention(width)

    def forward(self, x, rows, shown):
        x = shown(rows.pack(x))
        return x + self.attention(x, rows.attend)


class Decoder(nn.Module):
    num_layers = 2

    def __init__(self, config):
        super().__init__()
        self.positions = nn.Embedding(config.positions, config.width)
        self.attentions = nn.ModuleList(Attention(config.width) for _ in range(2))
        self.crosses = nn.ModuleList(Attention(config.width) for _ in range(2))

    def forward(self, x, state, cross, shown):
        x = x + self.positions(state.positions(x.device))
        for number, (attention, across) in enumerate(zip(self.attentions, self.crosses)):
            x = shown(x)
            x = x + attention(x, state.attend_in(number))
            x = x + across.across(x, cross.attend_in(number))
        return x


class Answers(EncoderDecoder, Model):
    config_class = AnswersConfig
    layout = Layout(parts=("lm_head.",), vocabulary=("tokens.weight", "lm_head.weight"))

    def __init__(self, config):
        super().__init__(config)
        self.tokens = nn.Embedding(config.vocab_size, config.width)
        self.encoder, self.decoder = Encoder(config.width), Decoder(config)
        self.init_weights()

    def init_module(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.3)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


class AnswersForGeneration(Seq2SeqLM, Answers):
    def __init__(self, config):
        super().__init__(config)
        self.lm_head = nn.Linear(config.width, config.vocab_size)
        self.lm_head.apply(self.init_module)
"""

TESTS = """
from registry.testing import Conformance


class TestAnswers(Conformance):
    plugin = "my-answers"
    config = {"vocab_size": 30, "width": 16, "positions": 12}
    unsupported = {"cards": "it is for this test alone", "tokenizer": "it is for this test alone"}
"""

FILES = {
    "src/my_tiny/answers_plugin.py": PLUGIN,
    "src/my_tiny/answers_config.py": CONFIG,
    "src/my_tiny/answers.py": MODELING,
    "entry_points.txt": "[registry.v1]\nmy-answers = my_tiny.answers_plugin\n",
    "tests/test_conformance.py": TESTS,
}

SCORES = "test_a_cache_changes_no_score_of_an_answer"
GREEDY = "test_greedy_answers_follow_the_logits"
BEAMS = "test_beams_answer_each_text_as_alone"

BROKEN: Mapping[str, tuple[str, str]] = {
    "labels are what is read, too": (
        "test_labels_are_predicted_from_the_tokens_before_them",
        "    def prepare_decoder_input_ids_from_labels(self, labels):\n        return labels.clamp(min=0)\n",
    ),
    "the mask of an answer is dropped": (
        "test_padding_of_an_answer_changes_nothing",
        "    def decode(self, input_ids=None, *, attention_mask=None, **others):\n"
        "        return super().decode(input_ids, **others)\n",
    ),
    "what was returned is dropped": (
        f"test_an_answer_is_continued_from_what_was_returned {SCORES} {GREEDY}",
        "    def decode(self, input_ids=None, *, past_key_values=None, **others):\n"
        "        return super().decode(input_ids, **others)\n",
    ),
    "scores are those of the first new token": (
        SCORES,
        "    def score(self, input_ids, cache, **others):\n"
        "        first = super().score(input_ids[:, :1], cache, **others)\n"
        "        if input_ids.shape[1] > 1:\n            super().score(input_ids[:, 1:], cache, **others)\n"
        "        return first\n",
    ),
    "the least likely token is generated": (
        f"{SCORES} {GREEDY}",
        "    def score(self, *arguments, **others):\n        return -super().score(*arguments, **others)\n",
    ),
    "texts are repeated in another order than beams": (
        BEAMS,
        "    def score(self, input_ids, cache, *, encoded, **others):\n"
        "        cache.cross.clear()\n"
        "        encoded = encoded.repeat(len(input_ids) // len(encoded), 1, 1)\n"
        "        return super().score(input_ids, cache, encoded=encoded, **others)\n",
    ),
    "the texts are encoded at each step": (
        "test_a_text_is_encoded_once",
        "    def start(self, input_ids, **others):\n"
        "        self.texts = input_ids\n        return super().start(input_ids, **others)\n\n"
        "    def score(self, input_ids, cache, *, encoded, **others):\n"
        "        encoded = self.encode(self.texts).last_hidden_state\n"
        "        return super().score(input_ids, cache, encoded=encoded, **others)\n",
    ),
}
"""What is wrong: the checks that must fail, and the methods that make it so."""
CHECKS = {name for name in vars(Seq2SeqSuite) if name.startswith("test_")}


@pytest.mark.slow
def test_an_encoder_decoder_passes_every_check(run: Run, capsys: Any) -> None:
    outcome = run(FILES, "-m", "not another_process")
    assert outcome.failed == outcome.not_begun == set(), capsys.readouterr().out
    assert outcome.passed >= CHECKS
    assert "test_padding_on_the_left_changes_nothing" in outcome.passed


@pytest.mark.slow
@pytest.mark.parametrize("broken", BROKEN)
def test_an_encoder_decoder_that_is_broken_in_one_way_fails_the_check_for_it(run: Run, broken: str) -> None:
    failing, methods = BROKEN[broken]
    outcome = run({**FILES, "src/my_tiny/answers.py": f"{MODELING}\n{methods}"}, "-k", " or ".join(CHECKS))
    assert outcome.failed == set(failing.split())
    assert outcome.passed == CHECKS - outcome.failed


def test_every_check_has_an_encoder_decoder_that_fails_it() -> None:
    assert {name for failing, _ in BROKEN.values() for name in failing.split()} == CHECKS
