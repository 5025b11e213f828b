"""A save that is killed leaves what was there, or what was saved: whole, at whatever moment."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes that are killed are forks")

ROOT = Path(__file__).parents[3]

STEPS = """
import json, os, signal, sys
from pathlib import Path
from registry.files.atomic import content_writer
from registry.saving.folder import write_files, write_folder
from registry.sources.on_disk import files_at

left = None

def step(*_):
    global left
    if left is not None:
        left -= 1
    if left == -1:
        left = None
        os.kill(os.getpid(), signal.SIGKILL)

def hook(event, _):
    if event.startswith(("open", "os.", "fcntl.")):
        step()

sys.addaudithook(hook)
# a kill, unlike a loss of power, leaves what was written
os.fsync = step

def save(folder, files):
    write = {name: content_writer(text) for name, text in files.items()}
    write_files(folder, write) if "merges.txt" in files else write_folder(folder, write, about={})

def forked(folder, files, number):
    global left
    child = os.fork()
    if child == 0:
        left = number
        save(folder, files)
        os._exit(0)
    return os.waitpid(child, 0)[1]

def read(folder):
    return {name: path.read_text() for name, path in files_at(folder).items() if not name.startswith("registry")}

old, new, after = json.loads(sys.argv[2])
outcomes = []
for number in range(10_000):
    folder = Path(sys.argv[1], str(number), "m")
    save(folder, old)
    ended = forked(folder, new, number)
    outcomes.append([ended, read(folder)])
    save(folder, after)
    outcomes[-1].append([read(folder), sorted(path.name for path in folder.parent.rglob(".*"))])
    if ended == 0:
        break
print(json.dumps(outcomes))
"""
"""Saves over a directory in a process that kills itself before its first, second, ... call of the system."""

OLD = {"config.json": "old config", "vocab.txt": "old words", "model.safetensors": "old weights"}
SAME_SIZES = {name: text.replace("old", "new") for name, text in OLD.items()}
SHARDS = {
    "config.json": "a new config",
    "model-00001-of-00002.safetensors": "new weights",
    "model-00002-of-00002.safetensors": "more new weights",
    "model.safetensors.index.json": "{}",
}
AFTER = {"config.json": "later config", "model.safetensors": "later weights"}
WORDS = {"vocab.json": "old words", "merges.txt": "old merges"}
NEW_WORDS = {"vocab.json": "new words", "merges.txt": "new merges"}


@pytest.mark.parametrize(
    ("old", "new", "after"),
    [
        (OLD, SAME_SIZES, AFTER),
        (OLD, SHARDS, AFTER),
        ({**SHARDS, "vocab.txt": "old words"}, OLD, AFTER),
        (WORDS, NEW_WORDS, {"vocab.json": "later words", "merges.txt": "later merges"}),
    ],
    ids=["same sizes", "a file, then shards", "shards, then a file", "a vocabulary"],
)
def test_killed_before_any_call_of_the_system_the_old_or_the_new_files_are_there(
    tmp_path: Path, old: dict[str, str], new: dict[str, str], after: dict[str, str]
) -> None:
    """Nothing that was killed is left by the next save, which finishes what was begun."""
    command = [sys.executable, "-c", STEPS, str(tmp_path), json.dumps([old, new, after])]
    outcomes = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    replaced = {name: text for name, text in old.items() if name == "vocab.txt"}
    assert [ended for ended, _, _ in outcomes] == [signal.SIGKILL] * (len(outcomes) - 1) + [0]
    found = [files for _, files, _ in outcomes]
    assert all(files in (old, {**replaced, **new}) for files in found)
    assert found[0] == old
    assert found[-1] == {**replaced, **new}
    assert found == sorted(found, key=lambda files: files != old), "from one moment on the new ones are there"
    assert len(outcomes) > 40
    for _, files, (later, left) in outcomes:
        assert later == {**{name: text for name, text in files.items() if name == "vocab.txt"}, **after}
        assert left == []


@pytest.mark.slow
def test_models_whose_saving_is_killed_are_never_mixtures() -> None:
    """The short form of what CONTRIBUTING names for a long one."""
    command = [sys.executable, "-m", "tests.reliability", "saving", "--kills", "20", "--seconds", "1"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "| 0 mixtures" in ended.stdout
