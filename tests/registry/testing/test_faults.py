"""Faults that authors made, each found by the kit at once, with words that lead to the line to change."""

from collections.abc import Callable
from typing import Any

import pytest

WEIGHTS = "src/my_tiny/weights.py"
TOKENIZATION = "src/my_tiny/tokenization.py"
MODELING = "src/my_tiny/modeling.py"
TIED = "        self.lm_head.weight = self.model.tokens.weight\n"

FAULTS: dict[str, tuple[str, tuple[str, str, str]]] = {
    "the module of the entry point is misspelled": (
        "No module named 'my_tiny.plugn'",
        ("entry_points.txt", "my_tiny.plugin", "my_tiny.plugn"),
    ),
    "a prefix without its dot": (
        "Layout.prefix must end with a dot, unlike 'model'",
        (WEIGHTS, 'prefix="model."', 'prefix="model"'),
    ),
    "ties without their comma": (
        "Layout.ties: 'model.tokens.weight' is a name, where a group of them is needed",
        (WEIGHTS, '"lm_head.weight"),),  # names', '"lm_head.weight")),  # names'),
    ),
    "parts without their comma": (
        "write ('lm_head.',), with the comma",
        (WEIGHTS, 'parts=("lm_head.",)', 'parts=("lm_head.")'),
    ),
    "another prefix than that of the model": (
        "Layout.prefix is 'backbone.', with which no weight of MyTinyForCausalLM begins",
        (WEIGHTS, 'prefix="model."', 'prefix="backbone."'),
    ),
    "a tie that the model has not": (
        "Layout.ties says that model.tokens.weight and lm_head.weight are one parameter",
        (MODELING, TIED, ""),
    ),
    "no init_module": (
        "MyTinyModel does not define how its weights are initialized",
        (MODELING, "def init_module", "def init_modules"),
    ),
    "no published_classes": (
        "MyTinyTokenizer does not define published_classes",
        (TOKENIZATION, '    published_classes: ClassVar[tuple[str, ...]] = ("MyTinyTokenizer",)\n', ""),
    ),
    "a dict in place of an output": (
        "dict is not a record of registry.nn.outputs, nor a named tuple",
        (
            MODELING,
            TIED,
            TIED + "\n    def forward(self, *a, **k):\n        return dict(super().forward(*a, **k).items())\n",
        ),
    ),
}
"""What is said, and the fault: file, text to replace, replacement."""


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_the_first_failure_says_what_to_change(run: Callable[..., Any], files: dict[str, str], fault: str) -> None:
    words, (path, old, new) = FAULTS[fault]
    before = files.get(path, "[registry.v1]\nmy-tiny = my_tiny.plugin\n")
    assert before.count(old) == 1
    outcome = run({path: before.replace(old, new)}, "--tb=short", "-x", "-m", "not another_process", "-k", "TestMyTiny")
    assert words in outcome.told
    assert outcome.failed
