"""``registry plugins``."""

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from registry.cli.exit_codes import ExitCode
from registry.cli.output import echo, json_option, print_json, print_table

if TYPE_CHECKING:
    from registry.discovery import PluginInfo
    from registry.discovery.probe import Probe

    Probes: TypeAlias = Mapping[tuple[str, str | None], Probe]
    """The observations of each plugin, by its name and its distribution's."""


@click.command()
@json_option
@click.option("--check", is_flag=True, help="Import each plugin and all its classes in a separate process.")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds that --check allows per plugin.")
@click.pass_context
def command(ctx: click.Context, as_json: bool, check: bool, timeout: float) -> None:
    """List plugins and their status.

    With --check, each is imported in a separate process, and one that hangs or crashes is reported as well.  Cards of
    architectures or tasks that no plugin declares are reported, too.  Exits with 1 if something is broken.
    """
    from registry.catalog import plugins

    probes = _probes(timeout) if check else {}
    found, cards = _without_harmful(probes) if check else (plugins(), {})
    if as_json:
        print_json([_keys(plugin, probes, cards) for plugin in found])
    else:
        _print(found, probes, cards)
    if cards or any(probe.error or probe.broken for probe in probes.values()):
        ctx.exit(ExitCode.ERROR)


# --- Checking ---------------------------------------------------------------------------------------------------------


def _probes(timeout: float) -> "Probes":
    """Observe every enabled plugin in a separate process."""
    from registry.discovery import announced
    from registry.discovery.probe import probe

    return {
        (plugin.name, plugin.distribution): probe(plugin.name, plugin.distribution, timeout=timeout)
        for plugin in announced()
        if plugin.state != "disabled" and plugin.distribution is not None
    }


def _without_harmful(probes: "Probes") -> "tuple[list[PluginInfo], Mapping[str, str]]":
    """All plugins, and cards that none can load; plugins that failed in their process are not imported in this one."""
    from registry.catalog import plugins, unusable_cards

    failed = {name: probe.error for (name, _), probe in probes.items() if probe.error}
    before = os.environ.get("REGISTRY_DISABLE_PLUGINS")
    os.environ["REGISTRY_DISABLE_PLUGINS"] = " ".join([before or "", *failed])
    try:
        found, cards = plugins(), unusable_cards()
    finally:
        del os.environ["REGISTRY_DISABLE_PLUGINS"]
        if before is not None:
            os.environ["REGISTRY_DISABLE_PLUGINS"] = before
    listed = [
        plugin._replace(state="failed", error=failed[plugin.name]) if plugin.name in failed else plugin
        for plugin in found
    ]
    return listed, cards


# --- Printing ---------------------------------------------------------------------------------------------------------


def _keys(plugin: "PluginInfo", probes: "Probes", cards: Mapping[str, str]) -> dict[str, Any]:
    keys: dict[str, Any] = plugin._asdict()
    probe = probes.get((plugin.name, plugin.distribution))
    unusable = {name: cards[name] for name in plugin.declares.get("cards", ()) if name in cards}
    return keys if probe is None else {**keys, "check": probe, "unusable": unusable}


def _print(found: "list[PluginInfo]", probes: "Probes", cards: Mapping[str, str]) -> None:
    print_table(
        ("plugin", "distribution", "state", "imported in", "declares"),
        [
            (
                plugin.name,
                f"{plugin.distribution} {plugin.version}" if plugin.distribution else "",
                plugin.state,
                f"{1000 * plugin.import_seconds:.1f} ms",
                ", ".join(_counted(kind, len(names)) for kind, names in plugin.declares.items()),
            )
            for plugin in found
        ],
        numbers=("imported in",),
    )
    for plugin in found:
        for line in (plugin.error or "").splitlines():
            echo(line if plugin.state == "failed" else f"{plugin} is {line}.")
        for record, winner in plugin.shadowed.items():
            echo(f"{record} of {plugin} is shadowed by the one of {winner}.")
        for line in _remarks(probes.get((plugin.name, plugin.distribution))):
            echo(f"{plugin} {line}.")
        for name in plugin.declares.get("cards", ()):
            if name in cards:
                echo(f"The card {name!r} of {plugin} cannot be loaded: {cards[name]}")


def _remarks(probe: "Probe | None") -> Iterator[str]:
    """Findings of a check, as text after the name of the plugin."""
    if probe is None or probe.error:
        return
    for reference, problem in probe.broken.items():
        yield f"refers to {reference}, which fails: {problem}"
    if probe.heavy:
        yield f"imports {', '.join(probe.heavy)} when its hooks are called"
    if probe.heavy_for_text:
        yield f"imports {', '.join(probe.heavy_for_text)} for a configuration, a tokenizer or a detector"
    for change in probe.changed:
        yield f"changes the state of others: {change}"


def _counted(kind: str, number: int) -> str:
    noun = kind.replace("_", " ")
    return f"{number} {noun.removesuffix('s') if number == 1 else noun}"
