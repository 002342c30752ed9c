"""What tests of whole programs share: a browser."""

import os

import pytest
from browsers import installed_browser


@pytest.fixture(scope="module")
def browser():
    executable = installed_browser()
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=executable, args=sandbox)
        yield chromium
        chromium.close()
