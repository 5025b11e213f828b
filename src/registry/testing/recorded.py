"""Names and shapes of weights as a plugin published them: a text file beside the author's tests, one weight a line.

::

    causal-lm transformer.wte.weight 40x24
    causal-lm transformer.ln_f.bias 24
"""

from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen


@frozen
class RecordedWeights:
    """What is recorded of the weights of one task."""

    path: Path
    task: str
    renew: bool = field(default=False, kw_only=True)
    """Whether what is found shall replace what is recorded (``pytest --record-weights``)."""

    def read(self) -> dict[str, str]:
        """Name -> shape; empty when nothing is recorded of the task."""
        return {name: shape for task, name, shape in self._lines() if task == self.task}

    def write(self, found: Mapping[str, str]) -> None:
        """Replace what is recorded of the task, and of no other."""
        others = [line for line in self._lines() if line[0] != self.task]
        lines = sorted(
            [*others, *((self.task, name, shape) for name, shape in found.items())], key=lambda line: line[0]
        )
        self.path.write_text("".join(f"{' '.join(line)}\n" for line in lines), encoding="utf-8")

    def _lines(self) -> list[tuple[str, str, str]]:
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        lines = [line.split(" ") for line in text.splitlines()]
        return [(task, name, shape) for task, name, shape in lines]
