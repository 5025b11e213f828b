"""Labels of texts, of words, and answers in texts, by the heads that were trained for them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from registry.embedding.embed import longest_input
from registry.errors import InputError
from registry.loading.loaded import Pretrained

OUTSIDE = frozenset(("o", "none", "nothing", "outside"))
"""Labels, in lower case, of words that belong to no span."""
BEGINNINGS = ("B-", "S-", "U-")
"""Prefixes of the label of the first word of a span (BIO, BIOES, BILOU)."""
PREFIXES = (*BEGINNINGS, "I-", "E-", "L-")
WINDOW, STRIDE = 512, 64
"""Tokens of a window on a text, where the model does not say, and tokens that neighboring windows share."""
LONGEST = 50
"""Tokens of the longest answer."""


def predicted(loaded: Pretrained, task: str, texts: Sequence[str], question: str | None) -> list[dict[str, Any]]:
    """What a model predicts for texts, as mappings that JSON can hold; the task is that of its head.

    Args:
        loaded: The model and its tokenizer.
        task: ``sequence-classification``, ``token-classification`` or ``question-answering``.
        texts: The texts.
        question: What is asked of each text, for the last of the tasks.
    """
    if question is not None:
        return answered(loaded, texts, question)
    compute = classified if task == "sequence-classification" else tagged
    if loaded.tokenizer.pad_token is None:
        return [answer for text in texts for answer in compute(loaded, [text])]
    return compute(loaded, texts)


def classified(loaded: Pretrained, texts: Sequence[str]) -> list[dict[str, Any]]:
    """The labels of texts, with their probabilities.

    A model that was trained for several labels of a text (``problem_type``) gives each its own probability, and
    ``labels`` are those from one half on; one for a single number gives a ``value``.
    """
    answers = _labels(loaded.config, _outputs(loaded, _batch(loaded, texts)).logits)
    return [{"text": text, **answer} for text, answer in zip(texts, answers, strict=True)]


def classified_files(loaded: Pretrained, paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The labels of files, such as images, which the model's processor reads; as ``classified`` has those of texts."""
    processor: Any = loaded.processor
    answers = _labels(loaded.config, _outputs(loaded, processor(paths)).logits)
    return [{"file": str(path), **answer} for path, answer in zip(paths, answers, strict=True)]


def _labels(config: Any, logits: Tensor) -> list[dict[str, Any]]:
    """What each row of logits, ``(batch, labels)``, says."""
    kind = getattr(config, "problem_type", None)
    if kind == "regression" or (kind is None and config.num_labels == 1):
        return [{"value": value} for value in logits[:, 0].tolist()]
    several = kind == "multi_label_classification"
    found = []
    for row in (logits.sigmoid() if several else logits.softmax(-1)).tolist():
        probabilities = {config.id2label[number]: probability for number, probability in enumerate(row)}
        best = max(probabilities, key=lambda label: probabilities[label])
        answer = {"label": best, "probability": probabilities[best], "probabilities": probabilities}
        if several:
            answer["labels"] = [label for label, probability in probabilities.items() if probability >= 0.5]
        found.append(answer)
    return found


# --- Words ------------------------------------------------------------------------------------------------------------


def tagged(loaded: Pretrained, texts: Sequence[str]) -> list[dict[str, Any]]:
    """The labeled spans of texts: consecutive words of one label are a span; the first subword of a word decides.

    Where no label says that a word belongs to no span, as with parts of speech, each word is a span of its own.
    """
    batch = _batch(loaded, texts)
    probabilities = _outputs(loaded, batch).logits.softmax(-1)
    labels = loaded.config.id2label
    merges = not OUTSIDE.isdisjoint(map(str.lower, labels.values()))
    return [
        {"text": text, "spans": _spans(text, _words(batch, row, probabilities[row], labels), merges=merges)}
        for row, text in enumerate(texts)
    ]


def _words(batch: Any, row: int, probabilities: Tensor, labels: Mapping[int, str]) -> list[dict[str, Any]]:
    """The words of a text, each with the label of its first subword."""
    found: list[dict[str, Any]] = []
    before = None
    for token, word in enumerate(batch.word_ids(row)):
        chars = None if word is None else batch.token_to_chars(row, token)
        if chars is None:
            before = None
        elif word == before:
            found[-1]["end"] = chars.end
        else:
            probability, number = probabilities[token].max(-1)
            label = labels[int(number)]
            found.append({"start": chars.start, "end": chars.end, "label": label, "probability": float(probability)})
            before = word
    return found


def _spans(text: str, words: Sequence[Mapping[str, Any]], *, merges: bool) -> list[dict[str, Any]]:
    """The spans that labeled words make up; the probability of a span is that of its least certain word."""
    found: list[dict[str, Any]] = []
    before = None
    for word in words:
        kind = word["label"]
        kind = kind[2:] if kind.startswith(PREFIXES) else kind
        if kind.lower() in OUTSIDE:
            before = None
            continue
        if merges and kind == before and not word["label"].startswith(BEGINNINGS):
            last = found[-1]
            last["end"], last["probability"] = word["end"], min(last["probability"], word["probability"])
        else:
            found.append({**word, "label": kind})
        before = kind
    return [{**span, "text": text[span["start"] : span["end"]]} for span in found]


# --- Answers ----------------------------------------------------------------------------------------------------------


def answered(loaded: Pretrained, texts: Sequence[str], question: str) -> list[dict[str, Any]]:
    """The most likely answer to a question in each text; a long text is read in windows that overlap.

    The probability is that of the span among all of its window, special tokens included.

    Raises:
        InputError: The question leaves no room for the text.
    """
    tokenizer = loaded.tokenizer
    longest = longest_input(loaded.model, tokenizer) or WINDOW
    batch = tokenizer(
        [question] * len(texts),
        list(texts),
        truncation="only_second",
        max_length=longest,
        stride=min(STRIDE, longest // 4),
        padding=True,
        return_tensors="pt",
    )
    outputs = _outputs(loaded, batch)
    best: dict[int, tuple[float, dict[str, Any]]] = {}
    for row, number in enumerate(batch.text_index):
        starts, ends = outputs.start_logits[row], outputs.end_logits[row]
        inside = [token for token, sequence in enumerate(batch.sequence_ids(row)) if sequence == 1]
        if not inside:
            raise InputError("the question, or a text, leaves no tokens to answer from.")
        score, start, end = _best_span(starts, ends, inside)
        probability = starts.softmax(-1)[start] * ends.softmax(-1)[end]
        if number not in best or score > best[number][0]:
            begin, last = batch.token_to_chars(row, start), batch.token_to_chars(row, end)
            assert begin is not None  # both are tokens of the text
            assert last is not None
            best[number] = score, {"start": begin.start, "end": last.end, "probability": float(probability)}
    found = []
    for number, text in enumerate(texts):
        _, place = best[number]
        found.append({"question": question, "answer": text[place["start"] : place["end"]], **place, "text": text})
    return found


def _best_span(starts: Tensor, ends: Tensor, inside: Sequence[int]) -> tuple[float, int, int]:
    """The score of the best span, its first and its last token; it lies inside of the text."""
    scores = starts[:, None] + ends[None, :]
    allowed = torch.zeros_like(scores, dtype=torch.bool)
    allowed[inside[0] : inside[-1] + 1, inside[0] : inside[-1] + 1] = True
    allowed = allowed.triu().tril(LONGEST - 1)
    scores = scores.masked_fill(~allowed, -torch.inf)
    start, end = divmod(int(scores.argmax()), scores.shape[1])
    return float(scores[start, end]), start, end


def _batch(loaded: Pretrained, texts: Sequence[str]) -> Any:
    longest = longest_input(loaded.model, loaded.tokenizer)
    how: dict[str, Any] = {"truncation": longest is not None, "max_length": longest, "return_tensors": "pt"}
    return loaded.tokenizer(list(texts), padding=len(texts) > 1, **how)


def _outputs(loaded: Pretrained, batch: Any) -> Any:
    """What the model computes for a batch, on the CPU."""
    device = next(loaded.model.parameters()).device
    with torch.inference_mode():
        outputs = loaded.model(**{key: value.to(device) for key, value in batch.items()})
    return _OnCPU(outputs)


class _OnCPU:
    """Outputs whose tensors are moved to the CPU, in float32, when they are read."""

    def __init__(self, outputs: Any) -> None:
        self._outputs = outputs

    def __getattr__(self, name: str) -> Tensor:
        found: Tensor = getattr(self._outputs, name)
        return found.float().cpu()
