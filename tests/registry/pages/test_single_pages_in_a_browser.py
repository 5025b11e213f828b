"""Pages of one file, used as people use them: each opens, can be driven by keys, and has no barrier that axe finds."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import registry
from registry.catalog import search
from registry.pages.attention import attention_page
from registry.pages.catalog import write_catalog
from registry.pages.comparison import comparison_page
from registry.pages.neighbors import neighbors_page
from registry.pages.next_tokens import next_tokens_page
from registry.pages.report import report_page
from registry.pages.tokens import tokens_page
from registry.tokenization.byte_level import bytes_to_unicode
from registry.zoo import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

NAME = "all-minilm-l6-v2"
LINES = [
    "The cat sleeps on the sofa.",
    "A kitten naps on the couch.",
    "The stock market fell today.",
    "Shares lost value this morning.",
    "He plays the violin.",
]
KINDS = ("attention", "pair", "short", "tokens", "next", "comparison", "report", "neighbors")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of each kind, and the catalog."""
    directory = tmp_path_factory.mktemp("pages")
    loaded = registry.load(NAME)
    torch.manual_seed(0)
    tokenizer = GPT2Tokenizer({token: number for number, token in enumerate(bytes_to_unicode().values())}, [])
    model = GPT2LMHeadModel(GPT2Config(vocab_size=256, n_positions=64, n_embd=24, n_layer=2, n_head=2))
    model.init_weights()
    registry.save(model, directory / "writer", tokenizer=tokenizer)
    with pytest.warns(registry.errors.UntrainedWarning):
        writer = registry.load(directory / "writer")
    changed = registry.load_model(NAME)
    for name, parameter in changed.named_parameters():
        if "layer.5" in name:
            parameter.data = 1.25 * parameter.data
    registry.save(changed, directory / "changed")
    classifier = registry.load_model(NAME, "sequence-classification", num_labels=3)
    made = {
        "attention": attention_page(loaded, NAME, "The animal didn't cross the street because it was tired."),
        "pair": attention_page(loaded, NAME, "Who wrote it?", "Mary Shelley wrote it."),
        "short": attention_page(loaded, NAME, "hi"),
        "tokens": tokens_page({NAME: loaded.tokenizer, "bytes": tokenizer}, "naïve 🙂 tokens"),
        "next": next_tokens_page(writer, "writer", "the cat", max_new_tokens=8),
        "comparison": comparison_page(NAME, directory / "changed"),
        "report": report_page(classifier.load_report, classifier, NAME),
        "neighbors": neighbors_page(loaded, NAME, LINES),
    }
    for kind, page in made.items():
        (directory / f"{kind}.html").write_text(page, "utf-8")
    write_catalog(directory / "site", [card for card in search() if card.name in (NAME, "gpt2", "transfo-xl-wt103")])
    return directory


def press(browser: Any, *keys: str) -> None:
    for key in keys:
        browser.driver.switch_to.active_element.send_keys(key)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(scheme: str, browser: Any, axe: str, pages: Path) -> None:
    rules = "" if scheme == "light" else ", runOnly: ['color-contrast', 'link-in-text-block']"  # all that colors change
    for page in (*sorted({*KINDS} - {"attention", "short"}), "site/index", "site/models/gpt2"):
        browser.open(pages / f"{page}.html", dark=scheme == "dark")
        browser(axe)
        violations = browser.driver.execute_async_script(
            f"const done = arguments[0]; axe.run(document, {{preload: false{rules}}}).then(({{violations}}) =>"
            " done(violations.map((found) => [found.id, found.nodes.length, found.nodes[0].html])))"
        )
        assert violations == [], page


@pytest.mark.parametrize("width", [320, 1200])
def test_pages_fit_their_window(width: int, browser: Any, pages: Path) -> None:
    for page in KINDS:
        browser.open(pages / f"{page}.html", width=width)
        assert browser.overflow() <= 0, page


def test_without_scripts_the_text_is_there(browser: Any, pages: Path) -> None:
    for page, said in {"tokens": "naïve", "next": "the·cat", "comparison": "layer.5", "neighbors": "violin"}.items():
        browser.open(pages / f"{page}.html", scripts=False)
        assert said in browser.texts("main")[0].replace(" ", "·" if page == "next" else " "), page
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("kind", ["short", "attention"])
def test_lines_end_at_their_tokens(kind: str, browser: Any, pages: Path) -> None:
    browser.open(pages / f"{kind}.html")
    rows, canvas = browser(
        "const box = (e) => { const r = e.getBoundingClientRect(); return [r.top, r.height]; };"
        "const rows = [...document.querySelectorAll('.lines .from li')].map(box);"
        "return [rows, box(document.querySelector('.lines canvas'))]"
    )
    assert canvas[0] == pytest.approx(rows[0][0], abs=1)
    assert canvas[1] == pytest.approx(sum(height for _, height in rows), abs=1)
    step = canvas[1] / len(rows)
    for number, (top, height) in enumerate(rows):
        assert top + height / 2 == pytest.approx(canvas[0] + (number + 0.5) * step, abs=1)


def test_a_striking_head_is_shown_when_it_is_chosen(browser: Any, pages: Path) -> None:
    browser.open(pages / "attention.html")
    browser.click(".striking button")
    chosen, share = browser.texts(".striking button")[0].rsplit("\n", 1)
    assert chosen == "previous token: layer 1, head 3"
    assert browser.texts(".which") == ["Layer 1, head 3"]
    assert browser.texts(".profile")[0].startswith(f"previous token {share}")


def test_a_pair_can_be_seen_from_one_text_to_the_other(browser: Any, pages: Path) -> None:
    from selenium.webdriver.support.select import Select

    browser.open(pages / "pair.html")
    drawn = "return document.querySelector('.lines canvas').toDataURL()"
    pictures = {browser(drawn)}
    for choice in ("first to second", "second to first", "first to first"):
        Select(browser.all("select[name=between]")[0]).select_by_visible_text(choice)
        pictures.add(browser(drawn))
    assert len(pictures) == 4


def test_a_token_marks_the_same_characters_elsewhere(browser: Any, pages: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(pages / "tokens.html")
    browser("document.querySelectorAll('.tokens')[0].querySelector('[tabindex=\"0\"]').focus()")
    press(browser, Keys.ARROW_RIGHT)
    assert browser.texts(".readout") == ["naive · id 15743 · characters 0 to 5"]
    same = browser("return [...document.querySelectorAll('.same')].map((e) => e.dataset.piece).join(' ')")
    assert same == "naive n a Ã ¯ v e"
    press(browser, Keys.END)
    assert browser.texts(".readout")[0].startswith("[SEP] · id 102 · of no characters")


def test_arrow_keys_move_through_next_tokens(browser: Any, pages: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(pages / "next.html")
    assert browser.texts(".which") == ["Token 8 of 15"]
    shares = [float(text.removesuffix(" %")) for text in browser.texts(".bars .value")]
    assert shares == sorted(shares, reverse=True)
    assert "rank 1," in browser.texts(".readout")[0]
    browser("document.querySelector('.tokens [aria-pressed=true]').focus()")
    press(browser, Keys.ARROW_LEFT)
    assert browser.texts(".which") == ["Token 7 of 15"]
    press(browser, Keys.HOME)
    assert browser.texts(".readout") == ["The first token: nothing comes before it."]
    assert browser.all(".bars li") == []


def test_changes_are_shown_by_layer_and_can_be_searched_and_sorted(browser: Any, pages: Path) -> None:
    browser.open(pages / "comparison.html")
    heads = browser.texts(".heat thead th")
    assert heads == ["Part", "0", "1", "2", "3", "4", "5"]
    row = browser.texts(".heat tbody tr:first-child td")
    assert row == [*["–"] * 5, "25.0 %"]
    browser.click("[name=changed]")
    assert browser.texts(".count") == ["16 of 103"]
    browser.all(".search")[0].send_keys("query weight")
    assert browser.texts(".tensors tbody code") == ["bert.encoder.layer.5.attention.self.query.weight"]
    browser.all(".search")[0].clear()
    browser.all(".search")[0].send_keys(" ")
    browser.click("th[data-key=largest] button")
    largest = [float(text) for text in browser.texts(".tensors tbody td:nth-child(5)")]
    assert largest == sorted(largest, reverse=True)


def test_a_report_is_searched_through_closed_groups(browser: Any, pages: Path) -> None:
    browser.open(pages / "report.html")
    assert browser.texts(".group code") == ["classifier.weight", "classifier.bias", "embeddings.position_ids"]
    browser.all(".search")[0].send_keys("layer.3 query")
    assert browser.texts(".group code") == [
        f"bert.encoder.layer.3.attention.self.query.{k}" for k in ("weight", "bias")
    ]
    assert browser.texts(".count") == ["2 found"]


def test_a_map_is_searched_and_shows_neighbors(browser: Any, pages: Path) -> None:
    browser.open(pages / "neighbors.html")
    browser.all(".search")[0].send_keys("SHARES")
    assert browser.texts(".texts button") == [LINES[3]]
    browser.click(".texts button")
    assert browser.texts(".chosen .one") == [LINES[3]]
    (first, *_) = browser.texts(".chosen ol button")
    vectors = registry.load(NAME).embed(LINES, normalize=True)
    cosines = vectors @ vectors[3]
    assert first.split("\n")[0] == LINES[2]
    assert float(first.split("\n")[1]) == pytest.approx(float(cosines[2]), abs=1e-3)
    browser.click(".chosen ol button")
    assert browser.texts(".chosen .one") == [LINES[2]]
    here = browser("const c = document.querySelector('.map .here'); return [c.cx.baseVal.value, c.cy.baseVal.value]")
    assert math.hypot(*here) > 0
