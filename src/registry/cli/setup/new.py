"""``registry new NAME``: the package of a working plugin, as a starting point."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from keyword import iskeyword
from pathlib import Path

import click

from registry.cli.output import echo

TEMPLATE = "my-tiny"
"""The name of the plugin in ``scaffold/``, a complete package whose files end in ``.in``."""


@click.command()
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Target directory (default: NAME).",
)
@click.option("--weights/--no-weights", default=True, help="Train the tiny model (default); imports torch.")
def command(name: str, directory: Path | None, weights: bool) -> None:
    """Create a plugin package, ready to install and test.

    It has a one-block model, a tokenizer, a card, conformance tests and a CI workflow.  NAME becomes the name of the
    plugin, the distribution and the architecture: lower-case words separated by '-'.
    """
    _check_name(name)
    target = directory or Path(name)
    if target.exists() and any(target.iterdir()):
        raise click.ClickException(f"{target} is not empty; choose another --directory.")
    try:
        for path, text in render(name):
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            echo(f"{file}")
        if weights:
            _train(target)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)  # it was empty or did not exist before
        raise
    training = "" if weights else "python make_tiny.py && "  # a test loads the trained model
    echo(f"\nNext:  cd {target} && {training}pip install -e '.[test]' && pytest")


def render(name: str) -> Iterator[tuple[Path, str]]:
    """The files of a new package: path and text of each."""
    module, words = name.replace("-", "_"), re.split("[-_]", name)
    names = {TEMPLATE: name, "my_tiny": module, "MyTiny": "".join(map(str.capitalize, words))}

    def named(text: str) -> str:
        return re.sub("|".join(names), lambda found: names[found[0]], text)

    for parts, file in _template_files(files(f"{__package__}.scaffold")):
        path = Path(*(named(re.sub("^dot_", ".", part)) for part in parts))
        yield path.with_name(path.name.removesuffix(".in")), named(file.read_text(encoding="utf-8"))


def _template_files(directory: Traversable) -> Iterator[tuple[tuple[str, ...], Traversable]]:
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from (((entry.name, *parts), file) for parts, file in _template_files(entry))
        elif entry.name.endswith(".in"):
            yield (entry.name,), entry


def _check_name(name: str) -> None:
    """Refuse invalid names of distributions or modules, and names that are already taken."""
    from registry import discovery

    module = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or iskeyword(module):
        raise click.UsageError(f"NAME must be lower-case words and digits separated by '-', not {name!r}.")
    if module in sys.stdlib_module_names or module in ("registry", "plugins", "torch", "tests"):
        raise click.UsageError(f"a module {module!r} already exists; choose another NAME.")
    if discovery.architecture(name).config is not None:
        raise click.UsageError(f"an installed plugin already declares the architecture {name!r}; choose another NAME.")


def _train(target: Path) -> None:
    """Run the script that trains the tiny model, in a separate process, since the package is not installed."""
    run = subprocess.run(  # this interpreter, the file written above
        [sys.executable, "make_tiny.py"],
        cwd=target,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise click.ClickException(f"make_tiny.py failed; --no-weights skips it.\n{run.stderr}")
    echo(run.stdout.strip())
