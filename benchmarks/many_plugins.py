"""How long it takes to find a model by name among 200 installed third-party plugins, in fresh processes.

Run with the interpreter that the registry is installed in: ``python benchmarks/many_plugins.py``.  The distributions
are made in a directory of their own: metadata, and a package with a plugin that declares a card, a configuration and a
model.  Each question runs once unmeasured, and then in turn with the others; what is measured is the time from after
``import registry`` to the answer.  The peers do what other frameworks do: scan all metadata with the standard library,
and import every plugin that is installed, with pluggy's own loader.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from results import row

SOURCE = '''"""The hooks of this plugin."""

from collections.abc import Iterable

from registry import hookimpl
from registry.records import Card, ConfigSpec, FileSpec, ModelSpec

URL = "https://example.org/toy-{number}"


@hookimpl
def registry_cards() -> Iterable[Card]:
    files = (FileSpec(role="config", filename="config.json", urls=(f"{{URL}}/config.json",)),)
    yield Card(name="toy-{number}", architecture="toy-{number}", task="base", files=files)


@hookimpl
def registry_configs() -> Iterable[ConfigSpec]:
    yield ConfigSpec(architecture="toy-{number}", cls="toy_{number}.config:Config", model_types=("toy-{number}",))


@hookimpl
def registry_models() -> Iterable[ModelSpec]:
    yield ModelSpec(architecture="toy-{number}", task="base", cls="toy_{number}.modeling:Model")
'''

RESOLVE = "import registry\nasked = perf_counter()\nassert registry.resolve({name!r}).card.name == {name!r}"
IMPORTED = RESOLVE.replace("import registry", "import registry\nregistry.resolve")
QUESTIONS = {
    "a first-party name": (RESOLVE.format(name="bert-base-uncased"), "50"),
    "... without imports of the core": (IMPORTED.format(name="bert-base-uncased"), ""),
    "a third party's name": (RESOLVE.format(name="toy-137"), "300"),
    "peer: importlib.metadata scans": (
        "from importlib.metadata import entry_points\nasked = perf_counter()\nentry_points(group='registry.v1')",
        "",
    ),
    "peer: pluggy imports all": (
        "import pluggy\nasked = perf_counter()\n"
        "pluggy.PluginManager('registry').load_setuptools_entrypoints('registry.v1')",
        "",
    ),
}
REPORT = """
from time import perf_counter
import sys
{code}
seconds = perf_counter() - asked
imported = [name for name in sys.modules if name.startswith("toy_") and name.endswith(".plugin")]
print(seconds, len(imported), "torch" in sys.modules)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--plugins", type=int, default=200)
    parser.add_argument("--shared", help="not needed here; taken so that all benchmarks are called alike")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as site, tempfile.TemporaryDirectory() as compiled:
        for number in range(arguments.plugins):
            install(Path(site), number)
        environment = {**os.environ, "PYTHONPATH": site, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        found = {question: [] for question in QUESTIONS}
        for turn in range(arguments.rounds + 1):
            for question, (code, _) in QUESTIONS.items():
                answer = ask(code, environment)
                if turn:
                    found[question].append(answer)
    report(found, arguments)


def install(site: Path, number: int) -> None:
    """Write a distribution as pip would leave it."""
    info, package = site / f"toy_{number}-1.0.dist-info", site / f"toy_{number}"
    info.mkdir()
    package.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: toy-{number}\nVersion: 1.0\n\n{'A toy. ' * 300}\n")
    (info / "entry_points.txt").write_text(f"[registry.v1]\ntoy-{number} = toy_{number}.plugin\n")
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text(SOURCE.format(number=number))


def ask(code: str, environment: dict[str, str]) -> tuple[float, int, bool]:
    """Seconds to the answer, third-party plugins that were imported, and whether torch was."""
    run = subprocess.run(
        [sys.executable, "-c", REPORT.format(code=code)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, imported, torch = run.stdout.split()
    return float(seconds), int(imported), torch == "True"


def report(found: dict[str, list[tuple[float, int, bool]]], arguments: argparse.Namespace) -> None:
    print(f"{arguments.plugins} third-party plugins, medians of {arguments.rounds} fresh processes")
    print(f"{'':32}{'ms':>8}{'limit':>8}{'imported':>10}{'torch':>7}")
    medians = {question: statistics.median(seconds for seconds, *_ in answers) for question, answers in found.items()}
    for question, answers in found.items():
        _, imported, torch = answers[0]
        row(f"200 plugins, {question}", 1000 * medians[question], "ms")
        limit = QUESTIONS[question][1]
        print(f"{question:32}{1000 * medians[question]:8.1f}{limit:>8}{imported:10}{'yes' if torch else 'no':>7}")
    third_party = medians["a third party's name"]
    scan, all_imported = (medians[f"peer: {peer}"] for peer in ("importlib.metadata scans", "pluggy imports all"))
    print(f"a first-party name / a scan of the metadata = {medians['a first-party name'] / scan:.2f}x")
    print(f"a third party's name / importing all with pluggy = {third_party / all_imported:.2f}x")


if __name__ == "__main__":
    main()
