"""Options and fixtures of every test."""

import ctypes
import faulthandler
import gc
import importlib.util
import json
import mmap
import re
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest

pytest_plugins = ["registry.testing.plugin", "pytester"]

TESTS = Path(__file__).parent
FIXTURES = TESTS / "fixtures"

COMPLETE = {
    "authors",
    "compatibility",
    "examples",
    "integrations",
    "plugins",
    "cli",
    "pages",
    "servers",
    "testing",
    "test_docs.py",
    "test_extras.py",
}
"""Tests of complete programs and models, which ``--quick`` leaves to the full run."""


HANGS = 900
"""Seconds after which a test hangs, also on a machine that does much else."""
_watched = {"since": float("-inf")}
"""When the clock of the test that hangs was set."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """End the process of a test that hangs, and show where; another process of xdist runs what is left.

    The clock is a thread, for which each setting waits; so it is set once a minute, and not for every test.
    """
    if time.monotonic() > _watched["since"] + 60:
        faulthandler.dump_traceback_later(HANGS, exit=True, file=sys.__stderr__)
        _watched["since"] = time.monotonic()
    try:
        return (yield)
    finally:
        if nextitem is None:
            faulthandler.cancel_dump_traceback_later()
            _watched["since"] = float("-inf")


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_disks() -> Iterator[None]:
    """Do not wait until what a test writes would survive a loss of power; tests of that replace this again."""
    with patch("os.fsync", lambda _handle: None):
        yield


def pytest_configure() -> None:
    """Let tests press Ctrl-C: what a shell starts in the background ignores it, and so does all that it starts.

    And let the collector walk through all objects a twentieth as often as by default: those of torch and transformers
    take it a fifth of a second each time, a tenth of the suite, and are never garbage.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.set_threshold(700, 10, 200)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="one case of each fast test, in less than a minute")
    parser.addoption("--examples", type=int, default=120, help="random cases of each test that is given their number")
    parser.addoption(
        "--shared",
        default=str(Path(__file__).parent.parent.parent / "shared"),
        help="folder with real vocabularies and texts, for tests marked `parity` (default: ../shared)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``--quick``, keep one case of each test that is neither slow nor of a complete program or model.

    Else start with the modules that have slow tests: none shall be left for the end, when other processes have no work.
    """
    if not config.getoption("--quick"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)
        return
    seen: set[str] = set()
    kept: list[pytest.Item] = []
    for item in items:
        function = item.nodeid.partition("[")[0]
        if (
            function not in seen
            and not item.get_closest_marker("slow")
            and COMPLETE.isdisjoint(item.path.relative_to(TESTS).parts)
        ):
            seen.add(function)
            kept.append(item)
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


@pytest.fixture(scope="session")
def shared(request: pytest.FixtureRequest) -> Path:
    """The folder of real data; tests that ask for it are skipped where it is absent."""
    folder = Path(request.config.getoption("--shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"{folder} holds no data; name the folder with --shared DIR")
    return folder / "data"


@pytest.fixture(scope="session")
def examples(request: pytest.FixtureRequest) -> int:
    """How many random cases a test takes: few in the suite, thousands when asked to."""
    number: int = request.config.getoption("--examples")
    return number


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep every test away from the caches and settings of the machine it runs on."""
    for name in (
        "REGISTRY_PLUGINS",
        "REGISTRY_DISABLE_PLUGINS",
        "REGISTRY_STRICT",
        "REGISTRY_OFFLINE",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_ENDPOINT",
        "HF_TOKEN",
        "HF_TOKEN_PATH",
        "HUGGING_FACE_HUB_TOKEN",
        "HF_HOME",
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "TORCH_HOME",
        "XDG_CACHE_HOME",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTORCH_PRETRAINED_BERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # the references we compare with must not look for the hub either


def sibling(name: str) -> ModuleType:
    """A module of this directory, which is not a package."""
    spec = importlib.util.spec_from_file_location(name, TESTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Runs programs in forks of a Python that has imported torch; see ``warm.py``."""
    python = sibling("warm").WarmPython(tmp_path_factory.mktemp("warm"))
    yield python
    python.close()


Limits = Callable[..., AbstractContextManager[None]]


@pytest.fixture(scope="session")
def limits() -> Limits:
    """Fails a test in which the code inside of ``with limits():`` takes longer, or more memory, than a reader may."""
    import torch  # which takes more than that itself

    assert torch
    return within_limits


@contextmanager
def within_limits(seconds: float = 60, megabytes: float = 200) -> Iterator[None]:
    """What runs inside is interrupted after so much time, and must not have mapped so much memory at any moment.

    Counted is address space, and so all that is asked for by whomever, Python, numpy or torch, touched or not; and what
    is resident, which tells of what finds room in memory that the process was given earlier.  Linux alone tells the
    peaks; elsewhere only time is limited.
    """
    with _alarm(seconds), _peak(megabytes * 2**20) if sys.platform == "linux" else nullcontext():
        yield


class _Late(BaseException):
    """No error: a reader that takes every error for a damaged file lets it through."""


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _Late:
        pytest.fail(f"It took longer than {seconds} seconds.")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _peak(most: float) -> Iterator[None]:
    """The peak of address space never falls; so what the process has is filled up to it, with room that costs nothing,
    and then any more raises it.  That of resident memory falls on request, once what lies idle was given back.

    Not noticed is as much as fits into what Python keeps for small objects, which does not go back to the system, and
    what fits into a hole between others that the C library keeps and is never touched.
    """
    _give_back_what_lies_idle()
    peak, size = _memory()["VmPeak"], _memory()["VmSize"]
    filling = mmap.mmap(-1, peak - size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0) if peak > size else None
    Path("/proc/self/clear_refs").write_text("5")
    try:
        before = _memory()
        yield
        after = _memory()
    finally:
        if filling is not None:
            filling.close()
    taken = max(after[kind] - before[kind] for kind in ("VmPeak", "VmHWM"))
    if taken > most:
        pytest.fail(f"It took {taken / 2**20:,.0f} MB of memory, where {most / 2**20:,.0f} are the most.")


_settled = {"VmRSS": 0}
"""What was resident when nothing lay idle."""


def _give_back_what_lies_idle() -> None:
    if _memory()["VmRSS"] > _settled["VmRSS"] + 8 * 2**20:
        ctypes.CDLL(None).malloc_trim(0)
        _settled.update(_memory())


def _memory() -> dict[str, int]:
    """Bytes by kind, as Linux tells them of this process."""
    found = re.findall(r"^(Vm\w+):\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return {kind: int(size) * 1024 for kind, size in found}


@pytest.fixture(scope="session")
def tensorflow() -> Path:
    """The folder of checkpoints that TensorFlow wrote."""
    return FIXTURES / "tensorflow"


@pytest.fixture(scope="session")
def written(tensorflow: Path) -> ModuleType:
    """What they hold: names, shapes and values."""
    spec = importlib.util.spec_from_file_location("tensorflow_values", tensorflow / "values.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def gpt_release(written: ModuleType, tmp_path: Path) -> Callable[[bool], Path]:
    """Writes a release as OpenAI's first one, of ten files of numpy, with the list of names or without it."""
    import numpy as np

    def write(names: bool) -> Path:
        folder = tmp_path / "gpt"
        folder.mkdir()
        row = np.concatenate([written.value(name, shape).ravel() for name, shape in written.gpt()])
        for number, part in enumerate(np.array_split(row, 10)):
            np.save(folder / f"params_{number}.npy", part)
        (folder / "params_shapes.json").write_text(json.dumps([shape for _, shape in written.gpt()]))
        (folder / "config.json").write_text(json.dumps(written.GPT))
        if names:  # the first two arrays are one variable, and two variables have none
            listed = ["model/we:0", *[name for name, _ in written.gpt()][2:], "model/clf/w:0", "model/clf/b:0"]
            (folder / "parameters_names.json").write_text(json.dumps(listed))
        return folder

    return write


WORDS = (
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    + list("abcdefghijklmnopqrstuvwxyz0123456789.,!?'-")
    + [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
    + ["the", "cat", "sat", "on", "mat", "##ing", "##ed", "Paris"]
)


@pytest.fixture
def words() -> list[str]:
    """A vocabulary of our own, in the order of its ids."""
    return list(WORDS)


@pytest.fixture
def vocab_file(tmp_path: Path) -> Path:
    """The same vocabulary as a file."""
    path = tmp_path / "vocabulary" / "vocab.txt"
    path.parent.mkdir()
    path.write_text("".join(f"{word}\n" for word in WORDS))
    return path


@pytest.fixture
def sizes() -> dict[str, int]:
    """The sizes of a BERT that is built in a millisecond and fits the vocabulary above."""
    return {
        "vocab_size": len(WORDS),
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 40,
        "max_position_embeddings": 64,
    }
