"""Checks of models that answer texts: an encoder reads a text once, and a decoder continues from its cache."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from registry.generation import Seq2SeqModel
from registry.testing.inputs import TARGETS, padded, padding_id
from registry.testing.suite import Suite, needs

PREFIX = 2
"""Tokens of an answer that a decoder reads at once, before it continues one by one."""


class Seq2SeqSuite(Suite):
    """Each class for a task that answers texts: how it begins, continues and generates."""

    def test_labels_are_predicted_from_the_tokens_before_them(self, answering_task: str) -> None:
        """Labels alone give the logits of ``decoder_input_ids`` that begin with the first token, and end before."""
        model, inputs = self._answering(answering_task), self.make_inputs(answering_task)
        labels = inputs.pop("decoder_input_ids")
        _, first = model.start(_texts(inputs))
        before = torch.cat([first, labels[:, :-1]], dim=1)
        with torch.inference_mode():
            found, wanted = model(**inputs, labels=labels), model(**inputs, decoder_input_ids=before)
            self.assert_close("logits", found.logits, wanted.logits)
            loss = torch.nn.functional.cross_entropy(wanted.logits.flatten(0, 1), labels.flatten())
            self.assert_close("loss", found.loss, loss)
            ignored = model(**inputs, labels=torch.cat([labels, torch.full_like(labels, -100)], dim=1))
            self.assert_close("the loss with labels of -100, which are not predicted", ignored.loss, loss)

    @needs("padding", "left-padding")
    def test_padding_of_an_answer_changes_nothing(self, answering_task: str) -> None:
        """With ``decoder_attention_mask``, an answer that is padded on the left has the logits that it has alone."""
        model, inputs = self._answering(answering_task), self.make_inputs(answering_task)
        ids, mask = padded(inputs["decoder_input_ids"], "left", padding_id(model.config))
        with torch.inference_mode():
            found = model(**{**inputs, "decoder_input_ids": ids}, decoder_attention_mask=mask).logits
            for row, tokens in enumerate(mask.bool()):
                alone = {key: x[row : row + 1] for key, x in inputs.items()}
                alone["decoder_input_ids"] = ids[row : row + 1, tokens]
                self.assert_close(f"logits of answer {row}", found[row][tokens], model(**alone).logits[0])

    @needs("cache")
    def test_an_answer_is_continued_from_what_was_returned(self, answering_task: str) -> None:
        """``past_key_values`` of a call, given to the next one, have the place of the tokens before."""
        model, inputs = self._answering(answering_task), self.make_inputs(answering_task)
        ids = inputs.pop("decoder_input_ids")
        with torch.inference_mode():
            full = model(**inputs, decoder_input_ids=ids).logits
            past = model(**inputs, decoder_input_ids=ids[:, :PREFIX], use_cache=True).past_key_values
            rest = model(**inputs, decoder_input_ids=ids[:, PREFIX:], past_key_values=past).logits
        self.assert_close("logits", rest, full[:, PREFIX:])

    @needs("cache")
    def test_a_cache_changes_no_score_of_an_answer(self, answering_task: str) -> None:
        """``score`` with a cache, for chunks of any length, equals the logits of ``forward`` for all tokens at once."""
        model, inputs = self._answering(answering_task), self.make_inputs(answering_task)
        ids = inputs["decoder_input_ids"]
        with torch.inference_mode():
            full = model(**inputs).logits
            decoder, _ = model.start(_texts(inputs))
            cache, last = decoder.new_cache(len(ids), TARGETS), 0
            for stop in (PREFIX, PREFIX + 1, TARGETS):
                self.assert_close(
                    f"the score after {stop} tokens", decoder.score(ids[:, last:stop], cache), full[:, stop - 1]
                )
                last = stop

    @needs("cache")
    def test_greedy_answers_follow_the_logits(self, answering_task: str) -> None:
        """Greedy decoding with a cache takes the most likely token of ``forward`` without a cache at each step."""
        model, inputs = self._answering(answering_task), self.make_inputs(answering_task)
        del inputs["decoder_input_ids"]
        _, ids = model.start(_texts(inputs))
        generated = model.generate(_texts(inputs), max_new_tokens=TARGETS, eos_token_id=())  # it need not end early
        with torch.inference_mode():
            for _ in range(TARGETS):
                logits = model(**inputs, decoder_input_ids=ids).logits
                ids = torch.cat([ids, logits[:, -1:].argmax(-1)], dim=1)
        assert generated.tolist() == ids.tolist()

    @needs("cache")
    def test_beams_answer_each_text_as_alone(self, answering_task: str) -> None:
        """The beams of a text are not mixed with those of others, which the cache of the encoder would not follow."""
        model, texts = self._answering(answering_task), _texts(self.make_inputs(answering_task))
        how: dict[str, Any] = {"max_new_tokens": TARGETS, "num_beams": 3, "num_return_sequences": 2, "eos_token_id": ()}
        alone = torch.cat([model.generate(text[None], **how) for text in texts])
        assert model.generate(texts, **how).tolist() == alone.tolist()

    @needs("cache")
    def test_a_text_is_encoded_once(self, answering_task: str) -> None:
        """Layers of the encoder run as often for an answer of many tokens as for one of a single token."""
        model, texts = self._answering(answering_task), _texts(self.make_inputs(answering_task))
        if not hasattr(model, "encode"):
            pytest.skip(f"{type(model).__name__} has no method encode, by which its encoder is known")
        layers = [name for name in _calls(model, partial(model.encode, texts)) if _has_parameters(model, name)]
        once, often = (
            _calls(model, partial(model.generate, texts, max_new_tokens=number, eos_token_id=()))
            for number in (1, TARGETS)
        )
        assert any(once[name] == often[name] for name in layers), (
            "every layer of the encoder runs again for each token: generation needs its output once"
        )

    def _answering(self, task: str) -> Any:
        model = self.make_model(task)
        assert isinstance(model, Seq2SeqModel), (
            f"{type(model).__name__} has no start (registry.generation.Seq2SeqModel)"
        )
        return model


def _texts(inputs: dict[str, Tensor]) -> Tensor:
    """What the encoder reads."""
    return next(x for name, x in inputs.items() if not name.startswith("decoder_"))


def _has_parameters(model: Any, name: str) -> bool:
    return any(True for _ in model.get_submodule(name).parameters(recurse=False))


def _calls(model: Any, run: Callable[[], object]) -> Counter[str]:
    """How often each module is called meanwhile."""
    found: Counter[str] = Counter()
    names = {module: name for name, module in model.named_modules() if name}
    hooks = [module.register_forward_hook(lambda module, *_: found.update([names[module]])) for module in names]
    try:
        with torch.inference_mode():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return found
