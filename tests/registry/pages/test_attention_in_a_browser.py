"""The picture of attention, used as people use it; on real weights."""

from pathlib import Path
from typing import Any

import pytest
import torch

import registry
from registry.pages.attention import attention_page

NAME = "all-minilm-l6-v2"
TEXT = "The violinist tuned her instrument because it was out of tune."
TOKENS = ["[CLS]", *TEXT.removesuffix(".").split(), ".", "[SEP]"]


@pytest.fixture(scope="module")
def attentions() -> torch.Tensor:
    """(layers, heads, tokens, tokens)"""
    loaded = registry.load(NAME)
    with torch.inference_mode():
        result = loaded.model(**loaded.tokenizer([TEXT], return_tensors="pt"), output_attentions=True)
    return torch.cat(result.attentions)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("attention") / "page.html"
    path.write_text(attention_page(registry.load(NAME), NAME, TEXT), "utf-8")
    return path


def shares(browser: Any, side: str) -> list[float]:
    """The percentages beside the tokens of one side."""
    return [float(text.removeprefix("< ").removesuffix(" %")) for text in browser.texts(f".lines .{side} .value")]


def press(browser: Any, side: str, token: str) -> None:
    next(found for found in browser.all(f".lines .{side} button") if found.text.split("\n")[0] == token).click()


def head(browser: Any, title: str) -> Any:
    (found,) = browser.all(f'.heads button[aria-label="{title}"]')
    return found


def ink(browser: Any, canvases: str) -> list[int]:
    """How many dots of canvases are drawn on."""
    script = (
        "return [...document.querySelectorAll(arguments[0])].map((c) => {"
        "const {data} = c.getContext('2d').getImageData(0, 0, c.width, c.height);"
        "let n = 0; for (let i = 3; i < data.length; i += 4) n += data[i] > 0; return n})"
    )
    return [int(number) for number in browser(script, canvases)]


def test_every_layer_and_head_is_there(browser: Any, page: Path) -> None:
    browser.open(page)
    assert len(browser.all(".heads button")) == 6 * (12 + 1)
    assert browser.texts(".which") == ["Layer 1, head 1"]
    assert browser.texts(".lines .from button") == browser.texts(".lines .to button") == TOKENS
    assert min(ink(browser, ".lines canvas")) > 1000
    assert min(ink(browser, ".heads canvas")) > 10


@pytest.mark.parametrize(("layer", "number"), [(1, 1), (4, 7), (6, 12)])
def test_a_token_shows_what_it_attends_to(layer: int, number: int, browser: Any, page: Path, attentions: Any) -> None:
    browser.open(page)
    head(browser, f"Layer {layer}, head {number}").click()
    assert browser.texts(".which") == [f"Layer {layer}, head {number}"]
    press(browser, "from", "it")
    expected = 100 * attentions[layer - 1, number - 1, TOKENS.index("it")]
    torch.testing.assert_close(torch.tensor(shares(browser, "to")), expected, rtol=0, atol=0.11)
    assert browser.texts(".readout")[0].startswith(f"it attends most to {TOKENS[int(expected.argmax())]} ")
    press(browser, "to", "violinist")
    expected = 100 * attentions[layer - 1, number - 1, :, TOKENS.index("violinist")]
    torch.testing.assert_close(torch.tensor(shares(browser, "from")), expected, rtol=0, atol=0.11)
    assert browser.texts(".readout")[0].startswith("violinist is attended to most by ")


def test_the_mean_of_a_layer_is_shown(browser: Any, page: Path, attentions: Any) -> None:
    browser.open(page)
    head(browser, "Layer 2, mean of heads").click()
    press(browser, "from", "her")
    expected = 100 * attentions[1].mean(0)[TOKENS.index("her")]
    torch.testing.assert_close(torch.tensor(shares(browser, "to")), expected, rtol=0, atol=0.11)


def test_arrow_keys_move_through_the_heads(browser: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    head(browser, "Layer 1, head 1").click()
    for key, title in (
        (Keys.ARROW_RIGHT, "Layer 1, head 2"),
        (Keys.ARROW_DOWN, "Layer 2, head 2"),
        (Keys.ARROW_LEFT, "Layer 2, head 1"),
        (Keys.ARROW_LEFT, "Layer 2, head 1"),
        (Keys.ARROW_UP, "Layer 1, head 1"),
    ):
        browser.driver.switch_to.active_element.send_keys(key)
        assert browser.texts(".which") == [title]
        assert browser.driver.switch_to.active_element.get_attribute("aria-pressed") == "true"


def test_the_matrix_tells_the_weight_of_a_cell(browser: Any, page: Path, attentions: Any) -> None:
    from selenium.webdriver import ActionChains

    browser.open(page)
    head(browser, "Layer 3, head 2").click()
    browser.click("[data-view=matrix]")
    assert browser.all(".lines") == []
    (canvas,) = browser.all(".matrix canvas")
    cell = browser("return cells")
    i, j = TOKENS.index("it"), TOKENS.index("instrument")
    x = cell["left"] + (j + 0.5) * cell["size"] - canvas.size["width"] / 2
    y = cell["top"] + (i + 0.5) * cell["size"] - canvas.size["height"] / 2
    ActionChains(browser.driver).move_to_element_with_offset(canvas, int(x), int(y)).perform()
    (told,) = browser.texts(".readout")
    assert told.startswith("it attends to instrument: ")
    assert float(told.split()[-2]) == pytest.approx(100 * float(attentions[2, 1, i, j]), abs=0.11)


def test_added_tokens_can_be_left_out(browser: Any, page: Path) -> None:
    browser.open(page)
    assert browser.texts(".check") == ["Without [CLS] and [SEP]"]
    browser.click("[name=added]")
    assert browser.texts(".lines .from button") == TOKENS[1:-1]
    browser.click("[name=added]")
    assert browser.texts(".lines .from button") == TOKENS


def test_what_is_shown_stands_in_the_address(browser: Any, page: Path) -> None:
    browser.open(page)
    head(browser, "Layer 5, mean of heads").click()
    browser.click("[data-view=matrix]")
    address = browser.driver.current_url
    assert address.endswith("#layer=5&head=mean&view=matrix")
    browser.open(address)
    assert browser.texts(".which") == ["Layer 5, mean of heads"]
    assert browser.all(".matrix canvas")
    browser.open(page.absolute().as_uri() + "#layer=99&head=-3&view=nothing")
    assert browser.texts(".which") == ["Layer 6, head 1"]


@pytest.mark.parametrize("width", [320, 390, 768])
@pytest.mark.parametrize("view", ["lines", "matrix"])
def test_narrow_screens_need_no_sideways_scrolling(width: int, view: str, browser: Any, page: Path) -> None:
    browser.open(f"{page.absolute().as_uri()}#view={view}", width=width)
    assert browser.overflow() <= 0
    if view == "lines":
        press(browser, "from", "it")
        assert browser.overflow() <= 0


@pytest.mark.parametrize("dark", [False, True])
def test_both_schemes_are_readable_and_drawn_in_their_colours(dark: bool, browser: Any, page: Path) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    browser.open(page, dark=dark)
    colors = browser("const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]")
    background, ink = (sum(map(int, color[4:-1].split(","))) for color in colors)
    assert (background < ink) == dark
    assert min(browser.contrasts("h1, h2, p, footer, button, .heads span, .check span, .lines span")) >= 4.5
    scheme = {"name": "prefers-color-scheme", "value": "light" if dark else "dark"}
    accent = browser("return css('accent')")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    WebDriverWait(browser.driver, 10).until(lambda _: browser("return css('accent')") != accent)  # the picture follows


def test_without_scripts_the_page_shows_the_tokens(browser: Any, page: Path) -> None:
    browser.open(page, scripts=False)
    (note,) = browser.texts("noscript p")
    assert note.startswith("This page needs JavaScript")
    assert "violinist · tuned" in note
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
