"""Workdirs without training, their pages, and a browser."""

import shutil

import pytest
from PIL import Image

from mnet_jax.report import findings
from mnet_jax.report.page import document
from mnet_jax.report.page.contents import contents
from mnet_jax.report.page.folders import Folders
from mnet_jax.workdir import results
from mnet_jax.workdir.files import Workdir
from tests.report.page.simulated import simulate

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """24 trials of 2 seeds, of which 6 are not done."""
    return simulate(tmp_path_factory.mktemp("small") / "sweep", (1.0, 0.75, 0.5), (28, 24, 20, 16), (0, 1), broken=6)


@pytest.fixture(scope="session")
def shown_of():
    """What the page of a workdir shows; of all its rows, or of others."""

    def show(path, rows=None, with_law=True):
        found = findings.find(results.results(path)) if with_law else []
        return contents(results.results(path) if rows is None else rows, found, Folders([path]))

    return show


@pytest.fixture(scope="session")
def shown(small, shown_of):
    return shown_of(small)


@pytest.fixture
def with_pictures(tmp_path):
    """A workdir of two trials, of which the first has seven pictures."""
    path = simulate(tmp_path / "sweep", (1.0, 0.5), (28,))
    folder = min((path / "trials").iterdir(), key=lambda folder: folder.name[-8:]) / "pictures"
    folder.mkdir()
    for i in range(7):
        Image.new("RGB", (296, 96), (30 * i, 0, 0)).save(folder / f"{i:04}.png")
    return path


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    """Chromium, which is asked for no network; skipped where it or Selenium is missing."""
    selenium = pytest.importorskip("selenium.webdriver", reason='needs Selenium: pip install -e ".[browser]"')
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and chromedriver):
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}", "--window-size=1280,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = selenium.Chrome(options=options, service=selenium.ChromeService(chromedriver))
    yield found
    found.quit()


@pytest.fixture
def visit(driver, tmp_path):
    """Opens what is shown, as a file or at an address, in a tab that remembers nothing."""

    def open_(shown_or_address):
        address = shown_or_address
        if not isinstance(address, str):
            address = f"file://{document.write(Workdir(tmp_path), shown_or_address)}"
        driver.get("about:blank")
        driver.get_log("browser")
        driver.get(address)
        return driver

    yield open_
    assert [entry["message"] for entry in driver.get_log("browser")] == [], "the console is silent"
