"""A real browser, driven by selenium; tests that ask for it are skipped where none is installed."""

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


class Browser:
    """Chromium, and what these tests ask of it; everything else is the driver's."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(
        self, page: Path | str, *, width: int = 1200, height: int = 900, dark: bool = False, scripts: bool = True
    ) -> None:
        """Open a page as somebody with such a window, scheme and settings would."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        window = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        self.driver.get("about:blank")  # so that a page that only differs behind the # is loaded again
        self.driver.get(page.absolute().as_uri() if isinstance(page, Path) else page)

    def __call__(self, script: str, *arguments: Any) -> Any:
        """The value of a script."""
        return self.driver.execute_script(script, *arguments)

    def all(self, selector: str) -> list[Any]:
        """The elements that are shown."""
        return [found for found in self.driver.find_elements("css selector", selector) if found.is_displayed()]

    def texts(self, selector: str) -> list[str]:
        """Texts of the elements that are shown."""
        return [found.text for found in self.all(selector)]

    def click(self, selector: str) -> None:
        """Click the first of the elements that are shown."""
        self.all(selector)[0].click()

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self("return document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def complaints(self) -> list[str]:
        """What the console had to say since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Addresses that were asked for since this was last asked."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [event["request"]["url"] for event in asked]

    def contrasts(self, selector: str) -> list[float]:
        """How the texts that a selector finds stand out from what is behind them (WCAG 2.2, 1.4.3: at least 4.5)."""
        return [float(ratio) for ratio in self(CONTRASTS, selector)]


CONTRASTS = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
const rgba = (color, under) => {
  canvas.fillStyle = under; canvas.fillRect(0, 0, 1, 1);
  canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
const behind = (element) => {
  const under = element.parentElement ? behind(element.parentElement) : "white";
  return css(rgba(getComputedStyle(element).backgroundColor, under));
};
const luminance = (color) => {
  const [r, g, b] = color.map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
return [...document.querySelectorAll(arguments[0])].map((element) => {
  const under = behind(element);
  const [a, b] = [rgba(getComputedStyle(element).color, under), rgba(under, "white")].map(luminance);
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
});
"""


@pytest.fixture(scope="session")
def _driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium, chromedriver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if chromium is None or chromedriver is None:
        pytest.skip("no chromium and chromedriver: `apt-get install chromium chromium-driver` brings them")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    driver.set_page_load_timeout(60)
    driver.get("about:blank")  # what it opens by itself asks for much
    yield driver
    driver.quit()


@pytest.fixture
def browser(_driver: Any) -> Iterator[Browser]:
    """The browser; a test in which its console complains, or in which it asks for anything but files, fails."""
    shown = Browser(_driver)
    shown.complaints()
    shown.requests()
    yield shown
    assert shown.complaints() == []
    assert [url for url in shown.requests() if not url.startswith(("file:", "data:", "about:", "chrome:"))] == []


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, which finds barriers for people with disabilities."""
    spec = importlib.util.find_spec("axe_core_python")
    if spec is None or spec.origin is None:
        pytest.skip("axe-core-python is not installed: the extra `test` brings it")
    return (Path(spec.origin).parent / "axe.min.js").read_text("utf-8")
