"""Debian's Chromium, without a window and without the network."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ternforge.errors import UserError

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

__all__ = ["FLAGS", "INSTALL", "browser", "find_browser"]

#: How to get what is missing.
INSTALL = "install Debian's packages with `apt-get install chromium chromium-driver`"

#: No window, and no requests of the browser's own.
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--hide-scrollbars", "--force-color-profile=srgb")


def find_browser() -> tuple[str, str] | None:
    """Paths of Chromium and of its driver; None if one is missing."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return None if chromium is None or driver is None else (chromium, driver)


@contextmanager
def browser(*, width: int = 1200, height: int = 900) -> Iterator["Chrome"]:
    """A browser with a profile of its own, which ends with the block.

    Raises
    ------
    UserError
        If Chromium, its driver or Selenium is missing.
    """
    found = find_browser()
    if found is None:
        raise UserError(f"Chromium and ChromeDriver are not on the PATH: {INSTALL}")
    try:
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        raise UserError("Selenium is missing: install it with "
                        "`pip install 'ternforge[dev]'`") from None

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = found[0]
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = Chrome(options=options, service=Service(found[1]))
        try:
            yield driver
        finally:
            driver.quit()
