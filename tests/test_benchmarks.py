"""``benchmarks/run.py``: what it keeps, compares and writes."""

import json
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from registry.testing.ranks import RankPool

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def script(name: str) -> ModuleType:
    """The module of a benchmark."""
    spec = spec_from_file_location(f"benchmarks_{name}", BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run() -> ModuleType:
    return script("run")


def results(**rows: tuple[float, str, float | None]) -> dict[str, Any]:
    found = [
        {
            "name": name.replace("_", " "),
            "value": [value],
            "unit": unit,
            "ratio": [] if ratio is None else [ratio],
            "peer": None if ratio is None else "transformers",
        }
        for name, (value, unit, ratio) in rows.items()
    ]
    machine = {"processor": "a processor", "cores": 2, "python": "3.11", "versions": {"torch": "2.13"}}
    return {"machine": machine, "rounds": 3, "rows": found}


def test_worse_is_a_smaller_ratio_else_a_larger_time_or_a_smaller_rate(run: ModuleType) -> None:
    old = results(a=(10, "ms", 4.0), b=(10, "ms", None), c=(100, "MB/s", None), d=(10, "ms", 4.0), gone=(1, "ms", None))
    new = results(a=(99, "ms", 3.6), b=(10.6, "ms", None), c=(94, "MB/s", None), d=(99, "ms", 3.9), new=(1, "ms", None))
    assert run.compared(old, new).splitlines() == [
        "Worse by more than 5 %:",
        "a, transformers: -10%",
        "b, alone: -6%",
        "c, alone: -6%",
    ]
    assert run.compared(old, old) == "Nothing is worse by more than 5 %."
    none, some = results(sent=(0, "x of the file", None)), results(sent=(1, "x of the file", None))
    assert run.compared(none, none) == "Nothing is worse by more than 5 %."
    assert run.compared(none, some).splitlines()[1:] == ["sent, alone: -100%"]


def test_the_table_stands_between_its_marks(run: ModuleType) -> None:
    label, name = run.TABLE[0]
    found = results()
    row = {"name": name, "value": [2.0, 1.0, 4.0], "unit": "ms", "ratio": [3.0, 2.5, 8.0], "peer": "transformers"}
    found["rows"] = [row, {**row, "name": "of no row"}]
    written = run.with_table(f"before\n{run.BEGIN}old\n{run.END}after\n", found)
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert f"| {label} | 2 ms | transformers | 3x (2.5 to 8) |" in written
    assert "of no row" not in written
    assert run.with_table(written, found) == written


def test_instructions_are_read_where_they_are_counted(run: ModuleType) -> None:
    assert run.instructions_of("# started\n\n123456,,instructions:u,99,100.00,,\n") == 123456
    assert run.instructions_of("<not supported>,,instructions:u,0,100.00,,\n") is None
    assert run.instructions_of("") is None


@pytest.mark.slow
def test_one_command_runs_benchmarks_and_keeps_their_rows(tmp_path: Path) -> None:
    line = [sys.executable, str(BENCHMARKS / "run.py"), "--quick", "--only", "prescan", "--json", str(tmp_path / "new")]
    printed = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    rows = json.loads((tmp_path / "new").read_text())["rows"]
    assert {row["unit"] for row in rows} == {"ms"}
    assert all(row["name"] in printed and row["value"][0] > 0 for row in rows)


@pytest.mark.slow
def test_the_benchmark_for_a_gpu_runs_without_one(warm: Any) -> None:
    code, printed = warm.run(BENCHMARKS / "gpu.py", "--device", "cpu", "--tiny", "--rounds", "1")
    assert code == 0, printed
    first = next(line for line in printed.splitlines() if line.count("%") > 1)  # warnings may stand before it
    difference, *_, limit = [float(number) for number in re.findall(r"([\d.]+)%", first)]
    assert 0 < difference < limit, "the model of the benchmark is not in bfloat16, or wrong"


def test_the_table_of_the_readme_is_that_of_the_results(run: ModuleType) -> None:
    readme = (BENCHMARKS.parent / "README.md").read_text("utf-8")
    found = json.loads(run.RESULTS.read_text("utf-8"))
    assert run.with_table(readme, found) == readme
    assert {name for _, name in run.TABLE} <= {row["name"] for row in found["rows"]}


@pytest.mark.slow
def test_the_figures_of_processes_that_share_a_model(
    tmp_path: Path, registry_ranks: RankPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process reads its share from the disk, and little more; what two save is what one does."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setenv("BENCHMARK_RESULTS", str(tmp_path / "rows"))
    ranks = script("ranks")
    ranks.write(tmp_path / "model", ranks.TINY)
    ranks.memory(registry_ranks, tmp_path)
    ranks.saving(registry_ranks, tmp_path)
    ranks.disk(registry_ranks, tmp_path)
    rows = {row["name"]: row["value"] for row in map(json.loads, (tmp_path / "rows").read_text().splitlines())}
    for way in ("fsdp", "tp"):
        assert rows[f"{way} 2, float32, rank 0, bytes taken to share"] == 1
        for format in ("safetensors", "torch"):
            assert rows[f"{way} 2, {format}, bit-equal"] == 1
            assert rows[f"{way} 2, {format}, rank 0, memory for saving to largest tensor"] < 2
    assert rows["fsdp 2, bytes from the disk to share"] < 1.1


@pytest.mark.slow
def test_the_script_for_several_gpus_runs_without_one(tmp_path: Path, registry_ranks: RankPool) -> None:
    sizes = script("gpu_ranks").TINY
    assert registry_ranks.run(f"{BENCHMARKS / 'gpu_ranks.py'}:measured", "cpu", sizes, tmp_path) == [[], []]


@pytest.mark.slow
@pytest.mark.integrations
def test_bulk_compares_vectors_with_sentence_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sentence_transformers", reason="the extra `integrations` is not installed")
    monkeypatch.syspath_prepend(BENCHMARKS)
    bulk = script("bulk")
    monkeypatch.setattr(bulk, "lines", lambda number: [f"word{n % 7} of a line" for n in range(min(number, 30))])
    bulk.write(tmp_path, bulk.TINY)
    bulk.against_sentence_transformers(tmp_path, bulk.lines(30))
    assert "30 lines" in capsys.readouterr().out
