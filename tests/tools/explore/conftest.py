"""A real browser for the explorer's page, or a skip that says why there is none."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faltung.tools.explore import explore

CHROMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1",
    "--window-size=1400,1000",
)  # fmt: skip


class Page:
    """The explorer in the browser, with what tests ask of it."""

    def __init__(self, driver: Any, path: Path) -> None:
        self.driver = driver
        self.url = path.as_uri()

    def open(self, link: str = "", width: int = 1400, height: int = 1000) -> "Page":
        """Load the page anew on a link, at a size, as a phone where it is narrow."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get("about:blank")  # else a new link of the same page is no load
        self.driver.get(f"{self.url}#{link}" if link else self.url)
        return self

    def run(self, script: str, *arguments: Any) -> Any:
        """What a piece of script returns; `app` and `views` are the page's."""
        start = "const { app, views } = window.faltung; "
        return self.driver.execute_script(start + script, *arguments)

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def cell(self, kind: str, index: int) -> Any:
        return self.one(f'.cell:not(.outside)[data-kind="{kind}"][data-index="{index}"]')

    def lit(self, kind: str) -> set[int]:
        """Indices of the cells of a tensor that are lit or chosen."""
        cells = f'.cell:not(.outside)[data-kind="{kind}"]'
        found = self.run(
            "return [...document.querySelectorAll(arguments[0])]"
            ".filter(c => c.matches('.lit, .chosen')).map(c => Number(c.dataset.index))",
            cells,
        )
        return set(found)

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).textContent", selector))

    def link(self) -> str:
        """The part of the address behind the #, once it says what the page shows."""
        wait_until(self, "return views.permalink.written === window.faltung.spelled(app.state)")
        return str(self.run("return location.hash.slice(1)"))

    def errors(self) -> list[str]:
        """What the browser complained of since it was last asked."""
        log = self.driver.get_log("browser")
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]


def actions(page: Page) -> Any:
    """Pointer and keys without the pauses that make them look human."""
    from selenium.webdriver import ActionChains

    return ActionChains(page.driver, duration=0)


def wait_until(page: Page, script: str) -> None:
    """Wait until the script returns true."""
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(page.driver, 20, poll_frequency=0.03).until(lambda _: page.run(script))


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chrome = next(filter(None, map(shutil.which, CHROMES)), None)
    if chrome is None or shutil.which("chromedriver") is None:
        pytest.skip(f"no browser: needs chromedriver and one of {', '.join(CHROMES)}")
    options = webdriver.ChromeOptions()
    options.binary_location = chrome
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"), log_output=os.devnull)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def _page(driver: Any, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(driver, explore().write(tmp_path_factory.mktemp("explore") / "page.html"))


@pytest.fixture
def page(_page: Page) -> Iterator[Page]:
    """The page, not yet opened; a test fails if the browser complained."""
    _page.errors()
    yield _page
    assert _page.errors() == []


@pytest.fixture
def page_of(driver: Any, tmp_path: Path) -> Callable[[str], Page]:
    """A page with other HTML."""

    def make(html: str) -> Page:
        path = tmp_path / "other.html"
        path.write_text(html, encoding="utf-8")
        return Page(driver, path)

    return make
