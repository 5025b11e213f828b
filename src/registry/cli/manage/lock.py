"""``registry lock NAME...``."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from registry.cli.names import name_argument
from registry.cli.output import echo, json_option

if TYPE_CHECKING:
    from registry.sources.lockfile import Models


@click.command()
@name_argument("names", nargs=-1, required=True, metavar="NAME...")
@json_option
def command(names: tuple[str, ...], as_json: bool) -> None:  # noqa: ARG001  # a lock file is JSON in any case
    """Write a lock file: URL, revision, size and sha256 of each file.

    `registry lock NAME... > registry.lock` saves it; with REGISTRY_LOCK=registry.lock, any other file is refused.
    Missing files are downloaded; an active REGISTRY_LOCK is ignored.
    """
    from registry.sources.lockfile import dump

    echo(dump(_locked(names)), end="")


def _locked(names: Iterable[str]) -> "Models":
    from registry.download.policy import Policy
    from registry.errors import LockError
    from registry.sources.origins import origins
    from registry.sources.resolve import resolve

    models, policy = {}, Policy()
    for name in names:
        source = resolve(name)
        model = source.lock_key
        if model is None:
            raise LockError(
                f"{source} is on this disk and cannot be locked: it is not downloaded.",
                hint="`registry verify DIRECTORY` compares a saved directory with its manifest.",
            )
        models[model] = origins(source, source.files(None, policy), policy.cache)
    return models
