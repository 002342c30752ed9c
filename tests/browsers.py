"""The browser that tests of pages use."""

import os
import shutil

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def installed_browser() -> str:
    """Its path; skips the test without one, and fails where `RANDPRUNE_BROWSER` is `expected`."""
    if executable := next(filter(None, map(shutil.which, BROWSERS)), None):
        return executable
    missing = f"no browser: install one of {', '.join(BROWSERS)}"
    if os.environ.get("RANDPRUNE_BROWSER") == "expected":
        pytest.fail(f"{missing}; RANDPRUNE_BROWSER says that one is expected")
    pytest.skip(missing)
