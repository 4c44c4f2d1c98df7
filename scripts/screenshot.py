"""The picture in docs/report.md: python -m scripts.screenshot

Two nights of the demo's model on docstrings. The second has ten new queries and three passages that
are null; it is compared with the first one, and with the judgements. Needs chromium.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from playwright.sync_api import sync_playwright

from demo.corpus import HELD_OUT, first_stage, read_docs, sample_queries, write_qrels, write_shards

PICTURE = Path("docs/plots/report.png")
QUERIES, NEW, CANDIDATES, NO_PASSAGE = 120, 10, 30, 3


def main() -> None:
    """Score two nights, write the page of the second one, and take the picture."""
    folder = Path(tempfile.gettempdir()) / "nights"
    shutil.rmtree(folder, ignore_errors=True)
    docs = read_docs(HELD_OUT)
    queries = sample_queries(docs, QUERIES + NEW)
    write_qrels(queries[NEW:], folder / "qrels.parquet")
    for night, first in (("2026-11-24", 0), ("2026-11-25", NEW)):
        chosen = queries[first : first + QUERIES]
        found = first_stage(docs, chosen, CANDIDATES)
        write_shards(docs, chosen, found, folder / "input" / night)
    _lose_passages(folder / "input" / "2026-11-25" / "pairs-02.parquet")
    shutil.copytree("demo/model", folder / "model")
    _run(folder, "2026-11-24")
    _run(
        folder,
        "2026-11-25",
        "report.against=auto",
        f"report.qrels={folder}/qrels.parquet",
        "report.first_stage=bm25_score",
        "guard.max_quarantined_fraction=0.01",
    )
    _picture(folder / "scores" / "2026-11-25" / "_report.html")
    shutil.rmtree(folder)


def _lose_passages(shard: Path) -> None:
    rows = pq.read_table(shard)
    passages = [None] * NO_PASSAGE + rows["passage"].to_pylist()[NO_PASSAGE:]
    place = rows.schema.get_field_index("passage")
    pq.write_table(rows.set_column(place, "passage", pa.array(passages)), shard)


def _run(folder: Path, night: str, *more: str) -> None:
    paths = [f"input.path={folder}/input/{night}", f"output.path={folder}/scores/{night}"]
    command = [sys.executable, "-m", "jobs.rerank", *paths, f"model.path={folder}/model"]
    subprocess.run([*command, "plan.part_rows=200", *more], check=True)


def _picture(page: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        shown = browser.new_page(viewport={"width": 900, "height": 800})
        shown.goto(page.as_uri())
        shown.screenshot(path=PICTURE, full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
