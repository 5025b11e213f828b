"""Code snippets that use a model, to be copied from its page."""

from collections.abc import Mapping

from registry.records import Card

_LOAD = 'import registry\n\nloaded = registry.load("{name}"{task})\n'

_READ = _LOAD + 'batch = loaded.tokenizer(["A kitten slept in the sun."], return_tensors="pt")\n'

_FILL = (
    _LOAD + 'text = f"Paris is the {{loaded.tokenizer.mask_token}} of France."\n'
    'batch = loaded.tokenizer([text], return_tensors="pt")\n'
    "logits = loaded.model(**batch).logits          # (1, tokens, vocabulary)\n"
)

_ANSWER = (
    _LOAD + 'batch = loaded.tokenizer(["Who wrote it?"], ["It was written by Mary Shelley."], return_tensors="pt")\n'
    "answer = loaded.model(**batch)\n"
    "start, end = answer.start_logits.argmax(), answer.end_logits.argmax()\n"
    'print(loaded.tokenizer.decode(batch["input_ids"][0, start : end + 1].tolist()))\n'
)

_GENERATE = (
    _LOAD + 'prompt = loaded.tokenizer(["Once upon a time"], return_tensors="pt")["input_ids"]\n'
    "ids = loaded.model.generate(prompt, max_new_tokens=40)\n"
    "print(loaded.tokenizer.decode(ids[0].tolist()))\n"
)

PYTHON: Mapping[str, str] = {
    "base": _READ + "hidden = loaded.model(**batch).last_hidden_state     # (1, tokens, width)\n",
    "pretraining": _FILL,
    "masked-lm": _FILL,
    "question-answering": _ANSWER,
    "causal-lm": _GENERATE,
    "double-heads": _GENERATE,
}
"""By the task of the card; for other tasks the model is called."""

SHELL: Mapping[str, str] = {
    "base": 'registry embed {name} "A kitten slept in the sun." --normalize',
    "pretraining": 'registry fill-mask {name} "Paris is the [MASK] of France."',
    "masked-lm": 'registry fill-mask {name} "Paris is the [MASK] of France."',
    "causal-lm": 'registry generate {name} "Once upon a time"',
    "double-heads": 'registry generate {name} "Once upon a time"',
}
"""By the task of the card, where a command exists for it."""

_LOADED = {"pretraining": "masked-lm", "double-heads": "causal-lm"}
"""The task to load, where it differs from the card's."""


def python_snippet(card: Card) -> str:
    """Python code that loads and uses a model."""
    task = _LOADED.get(card.task)
    lines = PYTHON.get(card.task, _READ + "logits = loaded.model(**batch).logits\n")
    return lines.format(name=card.name, task=f', "{task}"' if task else "")


def shell_snippet(card: Card) -> str | None:
    """A command that uses a model; None where no command serves its task."""
    line = SHELL.get(card.task)
    return None if line is None else line.format(name=card.name)
