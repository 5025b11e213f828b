"""``registry cache``: list, path, rm, clear, prune and verify."""

import sys
from typing import TYPE_CHECKING

import click

from registry.cli.exit_codes import ExitCode
from registry.cli.names import name_argument
from registry.cli.output import echo, json_option, print_json, print_table, say
from registry.formatting import format_size, plural

if TYPE_CHECKING:
    from registry.cache.cache import Cache


@click.group()
def command() -> None:
    """Manage the download cache.

    Every command takes --json.
    """


@command.command("path")
@json_option
def print_path(as_json: bool) -> None:
    """Print the cache directory."""
    from registry.cache.directories import cache_directory

    path = cache_directory()
    print_json({"path": path}) if as_json else echo(path)


@command.command("list")
@click.option("--files", "by_file", is_flag=True, help="List files by URL.")
@json_option
def list_cache(by_file: bool, as_json: bool) -> None:
    """List the cached models.

    A size counts the files that only this model has; all sizes add up to the total.
    """
    from registry.cache.cache import Cache

    cache = Cache.at()
    (_list_files if by_file else _list_models)(cache, as_json)


def _list_models(cache: "Cache", as_json: bool) -> None:
    from registry.cli.manage.inventory import other_rows, take_inventory

    found = take_inventory(cache)
    if as_json:
        print_json(found)
        return
    rows = [(m.model, str(m.files), format_size(m.size), (m.fetched or "")[:10]) for m in found.models]
    rows += [(kind, "", format_size(size), "") for kind, size in other_rows(found)]
    if rows:
        print_table(("model", "files", "size", "fetched"), rows, numbers=("files", "size"))
    say(f"{format_size(found.total)} in {found.directory}.")


def _list_files(cache: "Cache", as_json: bool) -> None:
    from registry.cache.upkeep import kept

    found = kept(cache)
    if as_json:
        print_json(found)
    elif found:
        print_table(
            ("URL", "size", "fetched", "state"),
            [(file.url, format_size(file.size), (file.fetched or "")[:10], file.state) for file in found],
        )


@command.command("rm")
@name_argument("names", nargs=-1, required=True, metavar="NAME|URL...")
@json_option
def remove_models(names: tuple[str, ...], as_json: bool) -> None:
    """Remove models from the cache.

    Files that another model needs are kept.
    """
    from registry.cache.cache import Cache
    from registry.cache.upkeep import disk_usage, remove
    from registry.files.urls import redacted
    from registry.sources.origins import urls_of

    cache = Cache.at()
    removed = []
    for name in names:
        before = disk_usage(cache)
        removed += remove(urls_of(name), cache, asked=name)
        if not as_json:
            say(f"Removed {redacted(name)}: {format_size(before - disk_usage(cache))}.")
    if as_json:
        print_json(removed)


@command.command("clear")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
def clear_cache(yes: bool, as_json: bool) -> None:
    """Remove all models from the cache.

    Files of pytorch-pretrained-bert in the same directory stay.
    """
    from registry.cache.cache import Cache
    from registry.cache.upkeep import clear, disk_usage

    cache = Cache.at()
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("cache clear removes all models: add --yes.")
        click.confirm(f"Remove all models, {format_size(disk_usage(cache))}, from {cache.home}?", abort=True, err=True)
    freed = clear(cache)
    if as_json:
        print_json({"removed": freed})
    else:
        say(f"Removed {format_size(freed)}.")


@command.command("prune")
@json_option
def prune_cache(as_json: bool) -> None:
    """Remove files of no model and leftovers of crashed processes.

    Files younger than an hour are kept, since a process may still be writing them.
    """
    from registry.cache.cache import Cache
    from registry.cache.upkeep import prune

    removed = prune(Cache.at())
    if as_json:
        print_json(removed)
        return
    for path in removed:
        echo(path)
    say(f"Removed {plural(len(removed), 'path')}.")


@command.command("verify")
@json_option
@click.pass_context
def verify_cache(ctx: click.Context, as_json: bool) -> None:
    """Hash all cached files, and quarantine damaged ones.

    Those are downloaded again when they are needed.  A model that an installed package has is hashed by `registry
    verify NAME`.
    """
    from registry.cache.cache import Cache
    from registry.cache.upkeep import verify

    checked = verify(Cache.at())
    if as_json:
        print_json(checked)
    else:
        for path, problem in checked.damaged.items():
            echo(f"{path}: {problem}")
        total = checked.sound + len(checked.damaged)
        say(f"Hashed {plural(total, 'file')}: {checked.sound:,} intact, {len(checked.damaged):,} damaged.")
    if checked.damaged:
        ctx.exit(ExitCode.DAMAGED)
