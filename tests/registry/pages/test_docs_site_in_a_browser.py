"""The site that mkdocs makes of docs/, from disk: links lead somewhere, no server is asked, the search finds."""

import importlib.util
import os
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("mkdocstrings") is None:
        pytest.skip("mkdocs is not installed: `scripts/docs` brings it")
    directory = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(directory)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": "ignore"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return directory


class Links(HTMLParser):
    """What a page refers to, and the names that others may refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.assets: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.names |= {str(values[key]) for key in ("id", "name") if values.get(key)}
        if tag == "a" and values.get("href"):
            self.links.append(str(values["href"]))
        self.assets += [str(values[key]) for key in ("src", "href") if tag != "a" and values.get(key)]


@cache
def links(path: Path) -> Links:
    return Links(path.read_text("utf-8"))


def test_every_link_leads_to_a_file_and_a_heading(site: Path) -> None:
    pages = [path for path in site.rglob("*.html") if path.name != "404.html"]
    assert len(pages) > 25
    for page in pages:
        for link in links(page).links:
            parts = urlsplit(link)
            if parts.scheme or link in ("#", "."):
                continue
            target = page if not parts.path else (page.parent / unquote(parts.path)).resolve()
            assert target.is_file(), f"{page.name}: {link}"
            assert not parts.fragment or parts.fragment in links(target).names, f"{page.name}: {link}"
        for asset in links(page).assets:
            assert asset.startswith("data:") or (page.parent / unquote(urlsplit(asset).path)).exists(), asset


def test_the_search_finds_from_disk(browser: Any, site: Path) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    browser.open(site / "index.html")
    browser("document.querySelector('[data-md-component=search-query]').focus()")
    browser.driver.switch_to.active_element.send_keys("UnknownModelError")
    found = ".md-search-result__list a"
    WebDriverWait(browser.driver, 20).until(lambda _: browser.all(found))
    assert any("errors.html" in element.get_attribute("href") for element in browser.all(found))


def test_signatures_wrap_and_arguments_are_a_table(browser: Any, site: Path) -> None:
    browser.open(site / "reference" / "loading.html", width=1200)
    (signature,) = browser("return [document.getElementById('registry.loading.pretrained.load')"
                           ".parentElement.querySelector('.highlight code').innerText]")  # fmt: skip
    assert signature.count("\n") > 5
    assert max(map(len, signature.splitlines())) <= 90
    text = browser("return document.getElementById('registry.loading.pretrained.load').parentElement.innerText")
    assert "Parameters:" in text
    assert "Returns:" in text
    assert "Raises:" in text
    assert browser.overflow() <= 0


def test_errors_are_indexed_by_name(site: Path) -> None:
    import registry.errors

    page = links(site / "reference" / "errors.html")
    for name, value in vars(registry.errors).items():
        if isinstance(value, type) and issubclass(value, (registry.errors.RegistryError, Warning)):
            assert f"#registry.errors.{name}" in page.links, name
            assert f"registry.errors.{name}" in page.names, name
