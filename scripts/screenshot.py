"""A picture of a page: python scripts/screenshot.py PAGE PICTURE"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

page, picture = sys.argv[1:]
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(
        executable_path=shutil.which("chromium"), args=["--no-sandbox"]
    )
    shown = browser.new_page(viewport={"width": 980, "height": 800})
    shown.goto(Path(page).resolve().as_uri())
    shown.screenshot(path=picture, full_page=True)
    browser.close()
