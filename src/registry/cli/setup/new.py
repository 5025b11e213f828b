"""``registry new NAME``: the package of a working plugin, as a starting point."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from keyword import iskeyword
from pathlib import Path
from typing import NamedTuple

import click

from registry.cli.output import echo

NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
"""How names of distributions and architectures are spelled."""

TRAINER = "make_tiny.py"
"""The script of a package that trains its model."""

SHARED = "shared"
"""The directory of ``scaffold/`` with the files of every kind of package."""


class Kind(NamedTuple):
    """A kind of package, whose files are in the directory of ``scaffold/`` that is named like it."""

    summary: str
    entry_point: str = "my_tiny.plugin"
    requires: tuple[str, ...] = ()
    """What it imports, in addition to the registry."""
    based_on: str | None = None
    """The architecture to which it adds, unless another is named; None where it declares one."""


KINDS: Mapping[str, Kind] = {
    "causal": Kind("a model that reads from left to right", requires=("attrs", "torch")),
    "encoder": Kind("a model that reads from both sides", requires=("attrs", "torch")),
    "head": Kind("a head on a model of another plugin", requires=("attrs", "torch"), based_on="bert"),
    "cards": Kind("names of models of another plugin", entry_point="my_tiny", based_on="bert"),
    "weights": Kind("a weight format", requires=("numpy", "torch"), based_on="bert"),
}

TINY_CONFIGS: Mapping[str, str] = {
    "bert": """\
        "vocab_size": 30,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 20,
        "max_position_embeddings": 16,""",
    "gpt2": """\
        "vocab_size": 30,
        "n_embd": 16,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 16,""",
}
"""Configurations for tests of what is added to an architecture: the lines of a dictionary."""

BACKBONES: Mapping[str, Mapping[str, str]] = {
    "bert": {
        "base_name": "bert",
        "Base": "Bert",
        "BASE_CONSTRUCTOR": "BertModel(config, add_pooling_layer=False)",
        "UNSUPPORTED": '{"left-padding": "positions are absolute, counted from the first column"}',
    },
    "gpt2": {
        "base_name": "transformer",
        "Base": "GPT2",
        "BASE_CONSTRUCTOR": "GPT2Model(config)",
        "UNSUPPORTED": "{}",
    },
}
"""Architectures on which a head is written, with what its templates say of each."""


@click.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(list(KINDS)),
    default="causal",
    help=f"What it declares (default: causal): {'; '.join(f'{kind}: {of.summary}' for kind, of in KINDS.items())}.",
)
@click.option(
    "--architecture",
    metavar="WORD",
    help="Its architecture (default: NAME without a leading 'registry-'), or that to which it adds (default: bert).",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Target directory (default: NAME).",
)
@click.option("--weights/--no-weights", default=True, help="Train the tiny model (default); imports torch.")
def command(name: str, kind: str, architecture: str | None, directory: Path | None, weights: bool) -> None:
    """Create a plugin package, ready to install and test.

    A kind with a model has a tokenizer, a card, trained weights, conformance tests and a CI workflow.  NAME becomes the
    name of the plugin and of the distribution: lower-case words separated by '-'.
    """
    architecture = architecture or KINDS[kind].based_on or name.removeprefix("registry-")
    _check_name(name)
    _check_architecture(kind, architecture)
    target = directory or Path(name)
    if target.exists() and any(target.iterdir()):
        raise click.ClickException(f"{target} is not empty; choose another --directory.")
    try:
        for path, text in render(name, kind, architecture):
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            echo(f"{file}")
        trains = (target / TRAINER).exists()
        if trains and weights:
            _train(target)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)  # it was empty or did not exist before
        raise
    training = f"python {TRAINER} && " if trains and not weights else ""  # a test loads the trained model
    echo(f"\nNext:  cd {target} && {training}pip install -e '.[test]' && pytest")


def render(name: str, kind: str = "causal", architecture: str | None = None) -> Iterator[tuple[Path, str]]:
    """The files of a new package: path and text of each.

    Args:
        name: Of the plugin and the distribution.
        kind: Of ``KINDS``.
        architecture: Which it declares, or to which it adds; the name unless given.
    """
    of, architecture = KINDS[kind], architecture or KINDS[kind].based_on or name
    words = name if of.based_on else architecture
    names = {
        "my-tiny": name,
        "my_tiny": name.replace("-", "_"),
        "MyTiny": "".join(map(str.capitalize, words.split("-"))),
        "tiny-arch": architecture,
        "DESCRIPTION": f"{name}: {of.summary}, for the registry",
        "DEPENDENCIES": "".join(f', "{package}"' for package in of.requires),
        "ARCHITECTURE\n": "" if architecture == name else f'    architecture = "{architecture}"\n',
        "TINY_CONFIG": TINY_CONFIGS.get(architecture, ""),
        **(BACKBONES[architecture] if kind == "head" else {}),
        **(_declared(architecture) if kind == "cards" else {}),
    }
    names["ENTRY_POINT"] = of.entry_point.replace("my_tiny", names["my_tiny"])
    pattern = "|".join(sorted(map(re.escape, names), key=len, reverse=True))

    def named(text: str) -> str:
        return re.sub(pattern, lambda found: names[found[0]], text)

    scaffold = files(f"{__package__}.scaffold")
    for directory in (SHARED, kind):
        for parts, file in _template_files(scaffold / directory):
            path = Path(*(named(re.sub("^dot_", ".", part)) for part in parts))
            yield path.with_name(path.name.removesuffix(".in")), named(file.read_text(encoding="utf-8"))


def _declared(architecture: str) -> dict[str, str]:
    """What the templates of cards say of an installed architecture: its task, and the files of its tokenizer."""
    from registry import discovery

    found = discovery.architecture(architecture)
    roles = {} if found.tokenizer is None else found.tokenizer.files
    listed = "\n".join(f'    "{role}": "{filename}",' for role, filename in roles.items())
    return {"TASK": "base" if found.config is None else found.config.default_task, "TOKENIZER_FILES": listed}


def _template_files(directory: Traversable) -> Iterator[tuple[tuple[str, ...], Traversable]]:
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from (((entry.name, *parts), file) for parts, file in _template_files(entry))
        elif entry.name.endswith(".in"):
            yield (entry.name,), entry


def _check_name(name: str) -> None:
    """Refuse invalid names of distributions or modules, and names that are already taken."""
    module = name.replace("-", "_")
    if not re.fullmatch(NAME, name) or iskeyword(module):
        raise click.UsageError(f"NAME must be lower-case words and digits separated by '-', not {name!r}.")
    if module in sys.stdlib_module_names or module in ("registry", "plugins", "torch", "tests"):
        raise click.UsageError(f"a module {module!r} already exists; choose another NAME.")


def _check_architecture(kind: str, architecture: str) -> None:
    """Refuse an architecture that is taken, or to which nothing can be added."""
    from registry import discovery

    if not re.fullmatch(NAME, architecture):
        raise click.UsageError(
            f"--architecture must be lower-case words and digits separated by '-', not {architecture!r}."
        )
    installed = discovery.architecture(architecture).config is not None
    if KINDS[kind].based_on is None:
        if installed:
            raise click.UsageError(
                f"an installed plugin already declares the architecture {architecture!r}; choose another NAME, or "
                f"another word as --architecture."
            )
    elif kind == "cards":
        if not installed:
            raise click.UsageError(f"no installed plugin declares the architecture {architecture!r}.")
    elif architecture not in TINY_CONFIGS:
        raise click.UsageError(f"--architecture of a package of this kind is {' or '.join(TINY_CONFIGS)}.")


def _train(target: Path) -> None:
    """Run the script that trains the tiny model, in a separate process, since the package is not installed."""
    run = subprocess.run(  # noqa: S603  # this interpreter, the file written above
        [sys.executable, TRAINER],
        cwd=target,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise click.ClickException(f"{TRAINER} failed; --no-weights skips it.\n{run.stderr}")
    echo(run.stdout.strip())
