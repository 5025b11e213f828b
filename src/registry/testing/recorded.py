"""Names and shapes of weights as a plugin published them: a text file next to the tests, one weight per line.

::

    causal-lm transformer.wte.weight 40x24
    causal-lm transformer.ln_f.bias 24
"""

from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen


@frozen
class RecordedWeights:
    """The recorded weights of one task."""

    path: Path
    task: str
    renew: bool = field(default=False, kw_only=True)
    """Whether to replace the recorded weights (``pytest --record-weights``)."""

    def read(self) -> dict[str, str]:
        """The shape of each weight by name; empty when nothing is recorded for the task."""
        return {name: shape for task, name, shape in self._lines() if task == self.task}

    def write(self, found: Mapping[str, str]) -> None:
        """Replace the recorded weights of this task; those of others stay."""
        others = [line for line in self._lines() if line[0] != self.task]
        lines = sorted(
            [*others, *((self.task, name, shape) for name, shape in found.items())], key=lambda line: line[0]
        )
        self.path.write_text("".join(f"{' '.join(line)}\n" for line in lines), encoding="utf-8")

    def _lines(self) -> list[tuple[str, str, str]]:
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        lines = [line.split(" ") for line in text.splitlines()]
        return [(task, name, shape) for task, name, shape in lines]
