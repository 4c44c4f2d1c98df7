"""The picture in docs/report.md: python -m scripts.screenshot

Two small nights with made-up scores, the second compared with the first, in an installed chromium.
"""

import shutil
import tempfile
from functools import partial
from pathlib import Path

from playwright.sync_api import sync_playwright

from reranker_core.output.manifest import conclude
from reranker_core.report.assessment import assess
from reranker_core.report.night import read_night
from reranker_core.report.page import write_page
from tests.nights import night

PICTURE = Path("docs/plots/report.png")

folder = Path(tempfile.gettempdir()) / "nights"
shutil.rmtree(folder, ignore_errors=True)
earlier = night(folder, name="2026-11-24", rows=400)
conclude(earlier.store, earlier.run, earlier.config, {})
against = f"report.against={earlier.store.url}"
later = night(folder, against, name="2026-11-25", bad=3, source=folder / "in")
judge = partial(assess, later.store, later.run, later.config)
conclude(later.store, later.run, later.config, {}, judge)
write_page(later.store, read_night(later.store))
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(
        executable_path=shutil.which("chromium"), args=["--no-sandbox"]
    )
    shown = browser.new_page(viewport={"width": 900, "height": 800})
    shown.goto(Path(later.store.path("_report.html")).as_uri())
    shown.screenshot(path=PICTURE, full_page=True)
    browser.close()
shutil.rmtree(folder)
