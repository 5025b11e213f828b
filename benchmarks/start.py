"""How long `import registry`, `registry list` and completing a name take, in fresh processes, over bare Python.

Run with the interpreter that the registry is installed in: ``python benchmarks/start.py``.  Each command runs once
unmeasured, so that Python's compiled files exist as they do in an installed package, and then in turn with the others.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

from results import row

FORBIDDEN = ("torch", "pluggy", "requests", "regex", "numpy", "attrs", "click")
FORBIDDEN_TO_LIST = ("torch", "requests", "regex", "numpy")

ON_A_TERMINAL = """
import pty, sys
pty.spawn([sys.executable, "-m", "registry", "list"])
"""

COMMANDS = {
    "python": ["-c", "pass"],
    "import registry": ["-c", "import registry"],
    "import transformers": ["-c", "import transformers"],
    "registry list": ["-m", "registry", "list"],
    "registry list, terminal": ["-c", ON_A_TERMINAL],
    "registry info be<TAB>": ["-m", "registry"],
}
COMPLETING = {"_REGISTRY_COMPLETE": "bash_complete", "COMP_WORDS": "registry info be", "COMP_CWORD": "2"}
"""How a shell asks for the names that begin so."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--shared", help="not needed here; taken so that all benchmarks are called alike")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        seconds = {name: [] for name in COMMANDS}
        for number in range(rounds + 1):
            for name, arguments in COMMANDS.items():
                asked = COMPLETING if name.endswith("<TAB>") else {}
                start = time.perf_counter()
                subprocess.run(
                    [sys.executable, *arguments],
                    env=environment | asked, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True,
                )  # fmt: skip
                if number:
                    seconds[name].append(time.perf_counter() - start)
        report({name: 1000 * statistics.median(times) for name, times in seconds.items()}, rounds)
        for code, forbidden in (
            ("import registry", FORBIDDEN),
            ("from registry.cli import main; main(['list'], standalone_mode=False)", FORBIDDEN_TO_LIST),
        ):
            found = [name for name in modules_after(code, environment) if name in forbidden]
            print(f"of {', '.join(forbidden)}\n  loaded by `{code}`: {', '.join(found) or 'none'}")


def report(medians: dict[str, float], rounds: int) -> None:
    bare = medians["python"]
    print(f"{'median of ' + str(rounds):24}{'ms':>8}{'over bare python':>20}{'limit':>8}")
    limits = {"import registry": "15 over", "registry list": "150"}  # milliseconds, the latter of the whole process
    for name, milliseconds in medians.items():
        row(name, milliseconds, "ms")
        print(f"{name:24}{milliseconds:8.1f}{milliseconds - bare:20.1f}{limits.get(name, ''):>8}")
    ratio = medians["import transformers"] / medians["import registry"]
    print(f"whole processes: import transformers / import registry = {ratio:.0f}x")


def modules_after(code: str, environment: dict[str, str]) -> list[str]:
    listing = f"{code}\nimport sys\nprint('\\n' + ' '.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", listing], env=environment, capture_output=True, text=True, check=True)
    return run.stdout.splitlines()[-1].split()


if __name__ == "__main__":
    main()
