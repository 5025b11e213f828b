"""``registry cache``: list, path, rm, prune and verify."""

import click

from registry.cli.output import format_size, json_option, print_json, print_table

DAMAGED = 4
"""The exit code, as for every command that finds something damaged."""


@click.group()
def command() -> None:
    """Look after the files that were fetched.

    Each command takes --json.
    """


@command.command("path")
@json_option
def print_path(as_json: bool) -> None:
    """Print the folder in which fetched files are kept."""
    from registry.cache.directories import cache_directory

    path = cache_directory()
    print_json({"path": path}) if as_json else click.echo(path)


@command.command("list")
@json_option
def list_files(as_json: bool) -> None:
    """List what is kept, by the address from which it came."""
    from registry.cache.cache import Cache
    from registry.cache.upkeep import disk_usage, kept

    cache = Cache.at()
    found = kept(cache)
    if as_json:
        print_json(found)
        return
    if found:
        print_table(
            ("address", "size", "fetched", "state"),
            [(file.url, format_size(file.size), (file.fetched or "")[:10], file.state) for file in found],
        )
    click.echo(f"{format_size(disk_usage(cache))} in {cache.home}.", err=True)


@command.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME|URL...")
@json_option
def remove_models(names: tuple[str, ...], as_json: bool) -> None:
    """Remove the files of models, or of addresses; what another model needs, too, stays."""
    from registry.cache.cache import Cache
    from registry.cache.upkeep import remove

    cache = Cache.at()
    _print_removed([url for name in names for url in remove(name, cache)], as_json)


@command.command("prune")
@json_option
def prune_cache(as_json: bool) -> None:
    """Remove what no address needs any more, and what processes left that died.

    What is younger than an hour is left alone: a process may be at work on it.
    """
    from registry.cache.cache import Cache
    from registry.cache.upkeep import prune

    _print_removed(prune(Cache.at()), as_json)


@command.command("verify")
@json_option
@click.pass_context
def verify_cache(ctx: click.Context, as_json: bool) -> None:
    """Hash everything that is kept; what is damaged is put aside, and is fetched anew when it is needed."""
    from registry.cache.cache import Cache
    from registry.cache.upkeep import verify

    checked = verify(Cache.at())
    if as_json:
        print_json(checked)
    else:
        for path, problem in checked.damaged.items():
            click.echo(f"{path}: {problem}")
        click.echo(f"{checked.sound} files are sound, {len(checked.damaged)} are not.", err=True)
    if checked.damaged:
        ctx.exit(DAMAGED)


def _print_removed(removed: list[str], as_json: bool) -> None:
    if as_json:
        print_json(removed)
        return
    for name in removed:
        click.echo(name)
    click.echo(f"{len(removed)} removed.", err=True)
