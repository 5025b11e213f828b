"""``registry cache``: list, path, rm, prune and verify."""

import click

from registry.cli.exit_codes import ExitCode
from registry.cli.names import name_argument
from registry.cli.output import echo, json_option, print_json, print_table, say
from registry.formatting import format_size


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
@json_option
def list_files(as_json: bool) -> None:
    """List the cached files by URL."""
    from registry.cache.cache import Cache
    from registry.cache.upkeep import disk_usage, kept

    cache = Cache.at()
    found = kept(cache)
    if as_json:
        print_json(found)
        return
    if found:
        print_table(
            ("URL", "size", "fetched", "state"),
            [(file.url, format_size(file.size), (file.fetched or "")[:10], file.state) for file in found],
        )
    say(f"{format_size(disk_usage(cache))} in {cache.home}.")


@command.command("rm")
@name_argument("names", nargs=-1, required=True, metavar="NAME|URL...")
@json_option
def remove_models(names: tuple[str, ...], as_json: bool) -> None:
    """Remove the files of models or URLs; files shared with other models are kept."""
    from registry.cache.cache import Cache
    from registry.cache.upkeep import remove
    from registry.sources.origins import urls_of

    cache = Cache.at()
    _print_removed([url for name in names for url in remove(urls_of(name), cache, asked=name)], as_json)


@command.command("prune")
@json_option
def prune_cache(as_json: bool) -> None:
    """Remove unreferenced files and leftovers of crashed processes.

    Files younger than an hour are kept, since a process may still be writing them.
    """
    from registry.cache.cache import Cache
    from registry.cache.upkeep import prune

    _print_removed(prune(Cache.at()), as_json)


@command.command("verify")
@json_option
@click.pass_context
def verify_cache(ctx: click.Context, as_json: bool) -> None:
    """Hash all cached files; damaged ones are quarantined, and downloaded again when needed."""
    from registry.cache.cache import Cache
    from registry.cache.upkeep import verify

    checked = verify(Cache.at())
    if as_json:
        print_json(checked)
    else:
        for path, problem in checked.damaged.items():
            echo(f"{path}: {problem}")
        say(f"{checked.sound} files are intact, {len(checked.damaged)} are damaged.")
    if checked.damaged:
        ctx.exit(ExitCode.DAMAGED)


def _print_removed(removed: list[str], as_json: bool) -> None:
    if as_json:
        print_json(removed)
        return
    for name in removed:
        echo(name)
    say(f"{len(removed)} removed.")
