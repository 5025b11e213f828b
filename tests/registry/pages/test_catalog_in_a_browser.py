"""The site of all models, used as people use it."""

from pathlib import Path
from typing import Any

import pytest

from registry.catalog import search
from registry.pages.catalog import write_catalog

NAMES = [card.name for card in search()]
GERMAN = "bert-base-german-cased"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    write_catalog(directory, search())
    return directory


def names(browser: Any) -> list[str]:
    return browser.texts(".models .model a")


def type_into_search(browser: Any, text: str) -> None:
    (field,) = browser.all("input[type=search]")
    field.clear()
    field.send_keys(text)


def choose(browser: Any, name: str, value: str) -> None:
    from selenium.webdriver.support.select import Select

    Select(browser.all(f"select[name={name}]")[0]).select_by_visible_text(value)


def test_searching_narrows_the_table(browser: Any, site: Path) -> None:
    browser.open(site / "index.html")
    assert names(browser) == NAMES
    assert browser.texts(".count") == [f"{len(NAMES)} models"]
    type_into_search(browser, "GERMAN")
    assert names(browser) == [GERMAN]
    assert browser.texts(".count") == [f"1 of {len(NAMES)} models"]
    type_into_search(browser, "whole masked squad")  # all of the words, wherever they stand
    assert names(browser) == [name for name in NAMES if name.endswith("squad")]
    type_into_search(browser, "sentence-transformers/")  # an alias
    assert names(browser) == ["all-minilm-l6-v2"]
    type_into_search(browser, "nothing like it")
    assert names(browser) == browser.texts(".count") == []
    assert browser.texts(".none") == ["No matching models. Clear filters"]
    browser.click("[data-reset]")
    assert names(browser) == NAMES


def test_filters_narrow_the_table_together(browser: Any, site: Path) -> None:
    browser.open(site / "index.html")
    choose(browser, "architecture", "gpt2")
    assert names(browser) == [card.name for card in search(architecture="gpt2")]
    choose(browser, "license", "Apache-2.0")
    assert names(browser) == ["distilgpt2"]
    choose(browser, "architecture", "any")
    choose(browser, "license", "any")
    choose(browser, "task", "question-answering")
    assert names(browser) == [card.name for card in search(task="question-answering")]
    choose(browser, "task", "any")
    choose(browser, "language", "German")
    assert names(browser) == [GERMAN]
    choose(browser, "language", "any")
    choose(browser, "size", "up to 500 MB")
    assert names(browser) == [card.name for card in search() if (card.size or 4 * (card.num_parameters or 0)) <= 500e6]
    choose(browser, "size", "any")
    browser.click("input[name=cached]")
    assert names(browser) == [card.name for card in search(cached=True)]


def test_columns_sort_up_and_down_and_back(browser: Any, site: Path) -> None:
    parameters = {card.name: card.num_parameters or 0 for card in search()}
    browser.open(site / "index.html")
    header = "th[data-key=parameters]"
    browser.click(f"{header} button")
    assert names(browser) == sorted(NAMES, key=parameters.__getitem__)
    assert browser.all(header)[0].get_attribute("aria-sort") == "ascending"
    browser.click(f"{header} button")
    numbers = [int(row.get_attribute("data-parameters")) for row in browser.all(".models tbody tr")]
    assert numbers == sorted(numbers, reverse=True)
    browser.click(f"{header} button")
    assert names(browser) == NAMES
    assert browser.all(header)[0].get_attribute("aria-sort") is None
    browser.click("th[data-key=name] button")
    assert names(browser) == sorted(NAMES)


def test_what_is_chosen_stands_in_the_address(browser: Any, site: Path) -> None:
    browser.open(site / "index.html")
    choose(browser, "architecture", "gpt2")
    browser.click("th[data-key=size] button")
    browser.click("th[data-key=size] button")
    shown = names(browser)
    address = browser.driver.current_url
    assert address.endswith("#architecture=gpt2&sort=-size")
    browser.open(address)
    assert names(browser) == shown == ["gpt2-xl", "gpt2-large", "gpt2-medium", "gpt2", "distilgpt2"]


def test_links_lead_to_a_model_and_back_to_those_like_it(browser: Any, site: Path) -> None:
    browser.open(site / "index.html")
    browser.click(f'a[href="models/{GERMAN}.html"]')
    assert browser.texts("h1") == [GERMAN]
    assert browser.driver.title == GERMAN
    browser.click("nav a")
    assert names(browser) == NAMES
    browser.open(site / "models" / "gpt2.html")
    browser.click(".facts a[href*=architecture]")
    assert names(browser) == [card.name for card in search(architecture="gpt2")]


def test_snippets_are_copied(browser: Any, site: Path) -> None:
    browser.open(site / "models" / "gpt2.html")
    browser.driver.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    browser.click(".snippet button")
    assert browser.texts(".snippet button")[0] in ("Copied", "Selected")
    copied = browser.driver.execute_async_script(
        "const done = arguments[0]; navigator.clipboard.readText().then(done, () => done(getSelection().toString()))"
    )
    assert copied == browser("return document.querySelector('.snippet code').textContent")
    assert copied.startswith('import registry\n\nloaded = registry.load("gpt2"')


def test_the_drawing_opens_and_closes(browser: Any, site: Path) -> None:
    browser.open(site / "models" / "bert-base-uncased.html")
    assert "BertLayer × 12" in browser.texts(".part .kind")
    assert "query" not in browser.texts(".part .name")
    for name in ("attention", "self"):
        next(part for part in browser.all(".part .name") if part.text == name).click()
    assert {"query", "key", "value"} <= set(browser.texts(".part .name"))
    assert "weight 768 × 768, bias 768" in browser.texts(".part .shape")


@pytest.mark.parametrize("width", [320, 390, 768])
def test_narrow_screens_need_no_sideways_scrolling(width: int, browser: Any, site: Path) -> None:
    pages = ["index", "models/bert-large-uncased-whole-word-masking-finetuned-squad", "models/all-minilm-l6-v2"]
    for page in pages:
        browser.open(site / f"{page}.html", width=width)
        assert browser.overflow() <= 0, page
    browser.open(site / "index.html", width=width)
    type_into_search(browser, "german")
    assert names(browser) == [GERMAN]


@pytest.mark.parametrize("dark", [False, True])
def test_both_schemes_are_readable(dark: bool, browser: Any, site: Path) -> None:
    for page in ("index", "models/bert-base-uncased", "models/all-minilm-l6-v2"):
        browser.open(site / f"{page}.html", dark=dark)
        colours = browser("const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]")
        background, ink = (sum(map(int, colour[4:-1].split(","))) for colour in colours)
        assert (background < ink) == dark
        texts = "h1, h2, p, a, td, th, dt, dd, code, li > span, .part span, button, footer, .here"
        assert min(browser.contrasts(texts)) >= 4.5, page


def test_without_scripts_everything_can_be_read(browser: Any, site: Path) -> None:
    browser.open(site / "index.html", scripts=False)
    assert names(browser) == NAMES
    assert browser.all(".controls") == browser.all("button") == []
    browser.open(site / "models" / "bert-base-uncased.html", scripts=False)
    assert "encoder.layer" in browser.texts(".part .name")
    assert browser.all("button") == []
    next(part for part in browser.all(".part .name") if part.text == "attention").click()
    assert "self" in browser.texts(".part .name")
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
