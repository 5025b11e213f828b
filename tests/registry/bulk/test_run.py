"""Jobs over files: what they read and write, how they go on after a kill, and what they refuse."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest

import registry
from registry.bulk import Embedder, run
from registry.bulk.engines import RayCluster
from registry.errors import BulkError, InputError, MissingFileError, SaveError
from registry.files.atomic import locked
from registry.tokenization.corpus import readers

WORKS = '''
"""Works that die, each as often as ``deaths`` says."""
import os
from pathlib import Path
from attrs import frozen
from registry.bulk.work import Work


@frozen
class Fragile(Work):
    kind = "fragile"
    into = "length"
    task = "base"

    def computed(self, texts):
        deaths = Path(self.name)
        left = int(deaths.read_text())
        if "\\N{SKULL AND CROSSBONES}" in "".join(texts) and left:
            deaths.write_text(str(left - 1))
            os._exit(9)
        return [len(text) for text in texts]
'''


@pytest.fixture(scope="module")
def vectors(bert: Path, texts: list[str]) -> np.ndarray[Any, Any]:
    return registry.load(bert, "base").embed(texts).numpy()


def rows_of(directory: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(directory.glob("*.jsonl")) for row in map(json.loads, path.read_text().splitlines())]


# --- Files ------------------------------------------------------------------------------------------------------------


def test_lines_become_parquet_with_all_rows_in_their_order(
    bert: Path, lines: Path, texts: list[str], vectors: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    done = run(Embedder(str(bert)), [lines], tmp_path / "out", rows=20)
    assert (done.rows, done.parts, done.computed) == (95, 5, 95)
    files = sorted((tmp_path / "out").glob("*.parquet"))
    assert [path.name for path in files] == [f"part-0000{n}.parquet" for n in range(5)]
    table = parquet.read_table(files)
    assert table.column("id").to_pylist() == list(range(95))
    assert table.column("text").to_pylist() == texts
    np.testing.assert_allclose(np.stack(table.column("vector").to_numpy()), vectors, atol=1e-6)


def test_objects_keep_their_keys_and_ids(
    bert: Path, objects: Path, vectors: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    run(Embedder(str(bert), column="body"), [objects, objects], tmp_path / "out", format="jsonl", rows=60)
    rows = rows_of(tmp_path / "out")
    assert [row["id"] for row in rows] == [f"t{n}" for n in range(95)] * 2
    np.testing.assert_allclose([row["vector"] for row in rows], np.concatenate([vectors, vectors]), atol=1e-6)


def test_parquet_and_arrays_are_read_and_vectors_alone_written(
    bert: Path, lines: Path, texts: list[str], vectors: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    run(Embedder(str(bert)), [lines], tmp_path / "first", rows=50)
    np.save(tmp_path / "texts.npy", np.array(texts))
    inputs = [*sorted((tmp_path / "first").glob("*.parquet")), tmp_path / "texts.npy"]
    run(Embedder(str(bert)), inputs, tmp_path / "out", format="npy", rows=100)
    found = np.concatenate([np.load(path) for path in sorted((tmp_path / "out").glob("*.npy"))])
    np.testing.assert_allclose(found, np.concatenate([vectors, vectors]), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"good\nb\xe4d\n", "line 2 of .*a.txt is not UTF-8"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "line 2 of .* is not JSON"),
        ("a.jsonl", b'{"text": "a"}\n["b"]\n', "line 2 of .* is not a JSON object"),
        ("a.jsonl", b'{"text": "a"}\n{"txt": "b"}\n', r"row 1 \(in .*\) has no text 'text': only the columns 'txt'"),
        ("a.jsonl", b'{"text": 3}\n', "row 0 .* has no text 'text': 3"),
        ("a.parquet", b"PAR1 not", "cannot be read as Parquet"),
        ("a.npy", b"\x93NUMPY", "cannot be read as an array"),
        ("a.csv", b"text\ngood\n", "the lines of a .csv file are not texts"),
    ],
)
def test_a_damaged_input_is_named_before_anything_is_computed(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        run(Embedder("no model is loaded"), [tmp_path / name], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_byte_order_mark_is_no_part_of_the_first_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("good\r\n\ufeffday\r\n".encode("utf-8-sig"))
    assert [row["text"] for row in readers.rows_of([tmp_path / "a.txt"], "text")] == ["good", "\ufeffday"]


@pytest.mark.parametrize("number", [0x110000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_an_array_whose_numbers_are_no_characters_is_refused(number: int, tmp_path: Path) -> None:
    array = np.array(["good", "text"])
    array.view(np.uint32)[5] = number
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match="cannot be read as an array of texts"):
        list(readers.rows_of([tmp_path / "a.npy"], "text"))


@pytest.mark.parametrize("order", "<>")
def test_arrays_of_any_byte_order_and_width_are_read(order: str, tmp_path: Path) -> None:
    texts = ["", "\U0010ffff grüßt", *map(str, range(2000))]
    np.save(tmp_path / "a.npy", np.array(texts, dtype=f"{order}U20"))
    np.save(tmp_path / "empty.npy", np.zeros(3, dtype="U0"))
    rows = list(readers.rows_of([tmp_path / "a.npy", tmp_path / "empty.npy"], "text"))
    assert [row["text"] for row in rows] == [*texts, "", "", ""]


def test_impossible_requests_are_refused(bert: Path, lines: Path, tmp_path: Path) -> None:
    work = Embedder(str(bert))
    for options, said in (
        ({"rows": 0}, "rows must be at least 1, not 0"),
        ({"workers": 0}, "workers must be at least 1, not 0"),
        ({"format": "csv"}, "'csv'"),
    ):
        with pytest.raises(InputError, match=said):
            run(work, [lines], tmp_path / "out", **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no input files"):
        run(work, [], tmp_path / "out")
    with pytest.raises(MissingFileError, match="nowhere"):
        run(work, [tmp_path / "nowhere.txt"], tmp_path / "out")
    (tmp_path / "empty.txt").touch()
    assert run(work, [tmp_path / "empty.txt"], tmp_path / "out").rows == 0


# --- Directories ------------------------------------------------------------------------------------------------------


def test_what_is_there_is_not_computed_again(bert: Path, lines: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(Embedder(str(bert)), [lines], out, format="jsonl", rows=20)
    before = rows_of(out)
    (out / "part-00001.jsonl").unlink()
    (out / "part-00004.jsonl").unlink()
    (out / ".part-00001.jsonl.0123456789abcdef0123456789abcdef.tmp").write_text("of a dead process")
    assert run(Embedder(str(bert)), [lines], out, format="jsonl", rows=20).computed == 20 + 15
    assert rows_of(out) == before


def test_another_job_is_refused(bert: Path, lines: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(Embedder(str(bert)), [lines], out, format="jsonl", rows=50)
    written = {path: path.read_bytes() for path in out.iterdir()}

    def refused(said: str, work: Embedder, **options: Any) -> None:
        with pytest.raises(SaveError, match=said):
            run(work, [lines], out, **{"format": "jsonl", "rows": 50, **options})

    refused("with work ", Embedder(str(bert), normalize=True))
    refused("with rows 50, not 40", Embedder(str(bert)), rows=40)
    refused("with format ", Embedder(str(bert)), format="npy")
    with locked(out):
        refused("another process works on it", Embedder(str(bert)))
    lines.write_text("other\n")
    refused("with inputs ", Embedder(str(bert)))
    with pytest.raises(SaveError, match="holds no bulk job"):
        run(Embedder(str(bert)), [lines], tmp_path)
    assert {path: path.read_bytes() for path in out.iterdir()} == written


# --- Processes --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_job_that_is_killed_goes_on_where_it_was_with_other_workers(
    bert: Path, lines: Path, vectors: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    program = tmp_path / "job.py"
    program.write_text(
        "from registry.bulk import Embedder, run\n"
        "if __name__ == '__main__':\n"
        f"    run(Embedder({str(bert)!r}), [{str(lines)!r}], {str(out)!r}, format='jsonl', rows=2, workers=2)\n"
    )
    job = subprocess.Popen([sys.executable, str(program)], start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list(out.glob("part-*"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    there = len(list(out.glob("part-*")))
    assert there >= 3
    done = run(Embedder(str(bert)), [lines], out, format="jsonl", rows=2)
    assert done.computed == 95 - min(95, 2 * there)
    rows = rows_of(out)
    assert [row["id"] for row in rows] == list(range(95))
    np.testing.assert_allclose([row["vector"] for row in rows], vectors, atol=1e-6)


@pytest.fixture
def fragile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Any]:
    (tmp_path / "fragile_works.py").write_text(WORKS, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    def make(deaths: int) -> Any:
        from fragile_works import Fragile  # type: ignore[import-not-found]

        (tmp_path / "deaths").write_text(str(deaths))
        return Fragile(str(tmp_path / "deaths"))

    yield make
    sys.modules.pop("fragile_works", None)


@pytest.mark.slow
def test_a_worker_that_dies_costs_its_part_and_one_that_dies_always_ends_the_job(
    fragile: Callable[[int], Any], lines: Path, texts: list[str], tmp_path: Path
) -> None:
    lines.write_text("".join(f"{text}{' ☠' * (n == 41)}\n" for n, text in enumerate(texts)), "utf-8")
    done = run(fragile(1), [lines], tmp_path / "once", format="jsonl", rows=20, workers=2)
    assert ((tmp_path / "deaths").read_text(), done.computed) == ("0", 95)
    assert [row["length"] for row in rows_of(tmp_path / "once")] == [
        len(t) + 2 * (n == 41) for n, t in enumerate(texts)
    ]
    with pytest.raises(BulkError, match=r"3 processes died while they computed part 2 \(ids 40 to 59\).* code is 9"):
        run(fragile(99), [lines], tmp_path / "always", format="jsonl", rows=20, workers=2)
    assert not (tmp_path / "always" / "part-00002.jsonl").exists()


@pytest.mark.slow
def test_an_error_of_the_work_ends_the_job(lines: Path, tmp_path: Path) -> None:
    with pytest.raises(registry.errors.UnknownModelError, match="no-such-model"):
        run(Embedder("no-such-model"), [lines], tmp_path / "out", workers=2)


# --- Ray --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.integrations
def test_a_ray_cluster_computes_the_same_parts_also_when_an_actor_dies(
    fragile: Callable[[int], Any], lines: Path, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # only the loopback address is listened on
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    lines.write_text("".join(f"{text}{' ☠' * (n == 41)}\n" for n, text in enumerate(texts)), "utf-8")
    engine = RayCluster("local", workers=2)
    done = run(fragile(1), [lines], tmp_path / "out", format="jsonl", rows=10, engine=engine)
    assert ((tmp_path / "deaths").read_text(), done.computed) == ("0", 95)
    rows = rows_of(tmp_path / "out")
    assert [row["id"] for row in rows] == list(range(95))
    assert [row["length"] for row in rows] == [len(text) + 2 * (n == 41) for n, text in enumerate(texts)]
