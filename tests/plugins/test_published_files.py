"""Revisions, sizes and digests of published files: the cards say what a recorded table says, no more and no less.

The table was compiled from public lists of the hub's files; ``sha256_status`` and ``size_status`` say how well each
number was confirmed: by two sources, by one and the rebuilt content (``-r``), by one whose other numbers were confirmed
(``-1``), or for a sibling repository alone (``single-i``).
"""

import csv
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

import registry
from registry import Card, FileSpec
from registry.catalog import search

TABLE = Path(__file__).parent.parent / "fixtures" / "published_files.csv"
LLAMA = Path(__file__).parents[2] / "examples" / "registry-llama" / "src" / "registry_llama" / "cards.py"
CONFIRMED = {"confirmed", "confirmed-r", "confirmed-1"}
KNOWN_SIZES = {"confirmed", "derived", "recalculated"}


@pytest.fixture(scope="module")
def table() -> dict[tuple[str, str], dict[str, str]]:
    with TABLE.open(newline="") as file:
        return {(row["repository"], row["file"]): row for row in csv.DictReader(file)}


def cards() -> list[Card]:
    """First-party cards, and those of the example plugin, which need not be installed."""
    return [*search(), *runpy.run_path(str(LLAMA))["CARDS"]]


def on_the_hub() -> Iterator[tuple[str, str | None, FileSpec]]:
    """Repository, revision and file of every published file of every card."""
    for card in cards():
        for file in card.files:
            for url in file.urls:
                if url.startswith("hub:"):
                    at = url.removeprefix("hub:").removesuffix(f"/{file.filename}")
                    yield at.partition("@")[0], at.partition("@")[2] or None, file


def test_no_card_says_what_the_table_does_not(table: dict[tuple[str, str], dict[str, str]]) -> None:
    of_package = {
        "modules.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
    }
    for repository, revision, file in on_the_hub():
        rows = [row for (name, _), row in table.items() if name == repository]
        assert revision == (rows[0]["revision"] or None if rows else None), repository
        row = table.get((repository, file.filename), {})
        if file.filename not in of_package:
            assert file.sha256 in (None, row.get("sha256")), f"{repository}/{file.filename}"
            assert file.size is None or str(file.size) == row["size"], f"{repository}/{file.filename}"
        if file.sha256 is not None and row:
            assert row["sha256_status"] in CONFIRMED


def test_every_confirmed_number_is_on_its_card(table: dict[tuple[str, str], dict[str, str]]) -> None:
    for repository, _, file in on_the_hub():
        row = table.get((repository, file.filename), {})
        if row.get("sha256_status") in CONFIRMED:
            assert file.sha256 == row["sha256"], f"{repository}/{file.filename}"
        if row.get("size_status") in KNOWN_SIZES and row["sha256_status"] != "single-i":
            assert file.size == int(row["size"]), f"{repository}/{file.filename}"


def test_a_digest_is_promised_of_the_hubs_edition_alone() -> None:
    for card in cards():
        for file in card.files:
            if any("amazonaws" in url for url in file.urls):
                assert (file.sha256, file.size) == (None, None), f"{card.name}: {file.filename}"


def test_sizes_of_the_famous_models_are_those_of_their_files() -> None:
    assert registry.info("bert-base-uncased").size == 570 + 440_449_768 + 231_508
    assert registry.info("gpt2").size == 665 + 548_105_171 + 1_042_301 + 456_318
    assert registry.info("gpt2-xl").size is None, "one of its sizes is not confirmed"
