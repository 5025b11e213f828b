"""``registry list``."""

import click

from registry.cli.output import json_option, print_json, print_table, size_in_words


@click.command()
@click.argument("pattern", required=False)
@click.option("--architecture", metavar="NAME", help="Only models of this architecture.")
@click.option("--task", metavar="NAME", help="Only models whose weights are for this task.")
@click.option("--language", metavar="CODE", help="Only models for this language (ISO 639: en, de).")
@click.option("--cached/--not-cached", default=None, help="Only models that are (not) on this computer.")
@json_option
def command(
    pattern: str | None,
    architecture: str | None,
    task: str | None,
    language: str | None,
    cached: bool | None,
    as_json: bool,
) -> None:
    """List the models that can be loaded by name.

    PATTERN is a glob such as 'bert-*', or a word that the name contains.
    """
    from registry.catalogue import plugins, search

    cards = search(pattern, architecture=architecture, task=task, language=language, cached=cached)
    if as_json:
        print_json(cards)
        return
    if not cards:
        click.echo("No model matches.", err=True)
        return
    print_table(
        ("name", "architecture", "task", "languages", "size"),
        [(c.name, c.architecture, c.task, _few(c.languages), size_in_words(c.size)) for c in cards],
    )
    for plugin in plugins():
        for record, winner in plugin.shadowed.items():
            click.echo(f"{record} of {plugin} is hidden by the one of {winner}.", err=True)


def _few(languages: tuple[str, ...]) -> str:
    return ", ".join(languages[:3]) + " ..." * (len(languages) > 3)
