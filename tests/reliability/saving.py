"""Kills of processes that save over a directory, and what a reader then finds there.

Every save has a number, which stands in its configuration, in all its weights and in its vocabulary, each time in as
many bytes as any other number.  So a reader tells a mixture, whatever the sizes of the files say.
"""

import os
import random
import shutil
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from tests.reliability.processes import end, forked

import registry
from registry.errors import IntegrityError, RegistryError
from registry.zoo import BertConfig, BertModel, BertTokenizer

SHARD = 20_000
"""Bytes of a shard: a model has several."""
LAYOUTS: dict[str, list[dict[str, Any]]] = {
    "safetensors": [{}],
    "safetensors, shards": [{"max_shard_size": SHARD}],
    "torch": [{"format": "torch"}],
    "torch, shards": [{"format": "torch", "max_shard_size": SHARD}],
    "each in turn": [{}, {"max_shard_size": SHARD}, {"format": "torch"}, {"format": "torch", "max_shard_size": SHARD}],
}
TRACED = tuple(os.path.join("registry", room, "") for room in ("saving", "files"))


class Outcome(NamedTuple):
    """What a reader finds in a directory."""

    kind: str
    """``read``, or ``old`` and ``new``; ``refused``, by name; ``unexplained``, for another error; or ``mixture``."""
    warned: bool
    number: int | None = None
    """The number of the save that was read."""


def save(directory: Path, number: int, *, wider: bool, **options: Any) -> None:
    """Save the model of a number, its tokenizer with it."""
    sizes = {"hidden_size": 48 if wider else 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", f"n{number:06d}", *(f"w{index}" for index in range(100))]
    keys = {**sizes, "intermediate_size": 64, "max_position_embeddings": 16, "vocab_size": len(words)}
    model = BertModel(BertConfig.from_dict({**keys, "note": f"{number:06d}"}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(number)
    registry.save(
        model, directory, tokenizer=BertTokenizer({word: index for index, word in enumerate(words)}), **options
    )


def numbers(directory: Path) -> set[int]:
    """The numbers of the saves of which a reader gets anything."""
    found = registry.load(directory)
    values = torch.cat([torch.stack([p.min(), p.max()]) for p in found.model.parameters()])
    words = [word for word in found.tokenizer.get_vocab() if word[0] == "n"]
    return {
        int(found.config.to_dict()["note"]),
        *map(int, values.tolist()),
        *(int(word[1:]) for word in words),
    }


def look(directory: Path) -> Outcome:
    """Load what is in a directory over which a save was killed, or goes on."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = numbers(directory)
        except IntegrityError as problem:
            return Outcome("refused" if str(directory) in str(problem) else "unexplained", bool(caught))
        except (RegistryError, OSError):
            return Outcome("unexplained", bool(caught))
    return Outcome("mixture", bool(caught)) if len(found) > 1 else Outcome("read", bool(caught), found.pop())


# --- Kills ------------------------------------------------------------------------------------------------------------


def traced(work: Callable[[], object], step: Callable[[FrameType], None]) -> None:
    """Do the work, and call ``step`` before each line of the code that saves."""

    def line(frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            step(frame)
        return line

    def call(frame: FrameType, _event: str, _argument: object) -> Any:
        return line if any(part in frame.f_code.co_filename for part in TRACED) else None

    sys.settrace(call)
    try:
        work()
    finally:
        sys.settrace(None)


class Lines(NamedTuple):
    """Lines of the code that saves, as they run in one save."""

    number: int
    names: int
    """The lines from which on files get their names."""


def lines_of(work: Callable[[], object]) -> Lines:
    """Count the lines that run in the work, which is done in another process."""
    reading, writing = os.pipe()
    lines = [0, 0]

    def step(frame: FrameType) -> None:
        lines[0] += 1
        if frame.f_code.co_name == "begin":
            lines[1] = lines[1] or lines[0]

    def counted() -> None:
        traced(work, step)
        os.write(writing, f"{lines[0]} {lines[1]}".encode())

    os.waitpid(forked(counted), 0)
    os.close(writing)
    with os.fdopen(reading) as file:
        return Lines(*map(int, file.read().split()))


def kill_at_line(work: Callable[[], object], number: int) -> None:
    """Do the work in a process that kills itself before the line of this number."""
    left = [number]

    def step(_: FrameType) -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    os.waitpid(forked(lambda: traced(work, step)), 0)


def kill_after(work: Callable[[], object], seconds: float) -> None:
    """Do the work in a process that is killed after so many seconds."""
    child = forked(work)
    time.sleep(seconds)
    end(child)


def duration(work: Callable[[], object]) -> float:
    """Seconds of the work in another process."""
    start = time.perf_counter()
    os.waitpid(forked(work), 0)
    return time.perf_counter() - start


# --- Figures ----------------------------------------------------------------------------------------------------------


def kills_of(directory: Path, layout: str, other: bool, kills: int, seed: int) -> Iterator[Outcome]:
    """Kill so many saves over one directory; what one kill leaves is what the next save finds.

    Half of the kills come at random times, a quarter at lines that are chosen from all, and a quarter at lines where
    files get their names.
    """
    chosen = random.Random(f"{layout} {other} {seed}")
    options = LAYOUTS[layout]

    def saving(number: int) -> Callable[[], None]:
        return lambda: save(directory, number, wider=other and number % 2 == 1, **options[number % len(options)])

    saving(1)()
    with trial_of(directory) as trial:
        lines = lines_of(lambda: save(trial, 2, wider=False, **options[0]))
        seconds = duration(lambda: save(trial, 3, wider=False, **options[0]))
    old = 1
    for number in range(2, kills + 2):
        if number % 2:
            kill_after(saving(number), chosen.uniform(0, 1.1 * seconds))
        else:
            kill_at_line(saving(number), chosen.randrange(lines.names if number % 4 else 0, lines.number))
        found = look(directory)
        if found.number not in (None, old, number):
            raise AssertionError(f"what was read is of the save {found.number}, neither {old} nor {number}")
        yield found if found.number is None else found._replace(kind="new" if found.number == number else "old")
        if found.number is None:
            shutil.rmtree(directory)
            saving(number)()
        old = found.number or number
    saving(kills + 2)()
    left = [path.name for path in (*directory.iterdir(), *directory.parent.iterdir()) if path.name.startswith(".")]
    assert not left, f"the next save leaves {left}"


@contextmanager
def trial_of(directory: Path) -> Iterator[Path]:
    """A copy of a directory, to be saved over once."""
    trial = directory.parent / "trial"
    shutil.copytree(directory, trial)
    yield trial
    shutil.rmtree(trial)


def read_meanwhile(directory: Path, seconds: float) -> Counter[str]:
    """Load a directory again and again while another process saves over it; what the loads found."""
    save(directory, 1, wider=False)
    end = time.monotonic() + seconds

    def saving() -> None:
        number = 1
        while time.monotonic() < end:
            number += 1
            save(directory, number, wider=False, **({"max_shard_size": SHARD} if number % 3 == 0 else {}))

    child = forked(saving)
    counts: Counter[str] = Counter()
    while time.monotonic() < end:
        counts[look(directory).kind] += 1
    os.waitpid(child, 0)
    return counts


def report(directory: Path, kills: int, seconds: float, seed: int) -> Iterator[str]:
    """Print how many kills left what, by layout, and what was loaded meanwhile; yields what must not be."""
    print(f"Saving over a directory: {kills} kills, each of a save over what the one before it left")
    cells = [(layout, other) for layout in LAYOUTS for other in (False, True)]
    total: Counter[str] = Counter()
    for position, (layout, other) in enumerate(cells):
        share = kills * (position + 1) // len(cells) - kills * position // len(cells)
        found = [*kills_of(directory / str(position) / "m", layout, other, share, seed)]
        counts = Counter(f"{each.kind}, warned" if each.warned else each.kind for each in found)
        total.update(each.kind for each in found)
        shown = "; ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
        print(f"| {layout}, {'other' if other else 'same'} configuration | {shown} |", flush=True)
    print(f"| all | {total['mixture']} mixtures, {total['unexplained']} unexplained, {total['refused']} refused |")
    meanwhile = read_meanwhile(directory / "m", seconds)
    print(f"Loading for {seconds:g} s meanwhile: " + "; ".join(f"{n} {kind}" for kind, n in sorted(meanwhile.items())))
    for kind in ("mixture", "unexplained"):
        if number := total[kind] + meanwhile[kind]:
            yield f"saving: {number} times {kind}"
