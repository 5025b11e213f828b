"""``registry plugins``."""

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import click

from registry.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from registry.discovery import PluginInfo
    from registry.discovery.probe import Probe

    Probes: TypeAlias = Mapping[tuple[str, str | None], Probe]
    """What was found of each plugin, by its name and its distribution's."""


@click.command()
@json_option
@click.option("--check", is_flag=True, help="Import each, and all that it refers to, in a process of its own.")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds that --check gives each.")
@click.pass_context
def command(ctx: click.Context, as_json: bool, check: bool, timeout: float) -> None:
    """List the plugins, and say why one is not at work.

    With --check, one that hangs or ends its process does no harm; the command ends with 1 when one is broken.
    """
    from registry.catalog import plugins

    probes = _probes(timeout) if check else {}
    found = _without_harmful(probes) if check else plugins()
    if as_json:
        print_json([_keys(plugin, probes) for plugin in found])
    else:
        _print(found, probes)
    if any(probe.error or probe.broken for probe in probes.values()):
        ctx.exit(1)


# --- Checking ---------------------------------------------------------------------------------------------------------


def _probes(timeout: float) -> "Probes":
    """Observe every plugin that is not disabled; none is imported here."""
    from registry.discovery import announced
    from registry.discovery.probe import probe

    return {
        (plugin.name, plugin.distribution): probe(plugin.name, plugin.distribution, timeout=timeout)
        for plugin in announced()
        if plugin.state != "disabled" and plugin.distribution is not None
    }


def _without_harmful(probes: "Probes") -> "list[PluginInfo]":
    """All plugins; those that failed in a process of their own are not imported here, where they might do harm."""
    from registry.catalog import plugins

    failed = {name: probe.error for (name, _), probe in probes.items() if probe.error}
    before = os.environ.get("REGISTRY_DISABLE_PLUGINS")
    os.environ["REGISTRY_DISABLE_PLUGINS"] = " ".join([before or "", *failed])
    try:
        found = plugins()
    finally:
        del os.environ["REGISTRY_DISABLE_PLUGINS"]
        if before is not None:
            os.environ["REGISTRY_DISABLE_PLUGINS"] = before
    return [
        attrs.evolve(plugin, state="failed", error=failed[plugin.name]) if plugin.name in failed else plugin
        for plugin in found
    ]


# --- Printing ---------------------------------------------------------------------------------------------------------


def _keys(plugin: "PluginInfo", probes: "Probes") -> dict[str, Any]:
    keys = {field.name: getattr(plugin, field.name) for field in attrs.fields(type(plugin))}
    probe = probes.get((plugin.name, plugin.distribution))
    return keys if probe is None else {**keys, "check": probe}


def _print(found: "list[PluginInfo]", probes: "Probes") -> None:
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
            click.echo(line if plugin.state == "failed" else f"{plugin} is {line}.")
        for record, winner in plugin.shadowed.items():
            click.echo(f"{record} of {plugin} is hidden by the one of {winner}.")
        for line in _remarks(probes.get((plugin.name, plugin.distribution))):
            click.echo(f"{plugin} {line}.")


def _remarks(probe: "Probe | None") -> Iterator[str]:
    """What a check found, in words that follow the name of the plugin."""
    if probe is None or probe.error:
        return
    for reference, problem in probe.broken.items():
        yield f"refers to {reference}, which fails: {problem}"
    if probe.heavy:
        yield f"imports {', '.join(probe.heavy)} when it is asked"
    if probe.heavy_for_text:
        yield f"imports {', '.join(probe.heavy_for_text)} for a configuration, a tokenizer or a detector"
    for change in probe.changed:
        yield f"changes the state of others: {change}"


def _counted(kind: str, number: int) -> str:
    words = kind.replace("_", " ")
    return f"{number} {words.removesuffix('s') if number == 1 else words}"
