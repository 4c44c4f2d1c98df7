"""kill -9 of a worker and of the driver of `derive`: the same command finishes, and the new output
is what the job would have written with these columns.
"""

import json
import random

import pytest

from reranker_core.output.manifest import conclude
from reranker_core.output.proof import prove
from tests.faults.test_killed_driver import kill, receipts
from tests.nights import night
from tests.outputs import Output
from tests.running import finish
from tests.tables import flat, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PARTS, ROWS = 120, 50
COLUMNS = ("output.rank=true", "output.normalize=sigmoid", "output.text=true")


def test_a_derivation_whose_worker_and_driver_are_killed_is_resumed(shared_ray, tmp_path):
    for shard in range(2):
        rows = PARTS * ROWS // 2
        write(tmp_path / f"in/{shard}.parquet", flat(rows, per_query=10, first=shard * rows))
    parts = f"plan.part_rows={ROWS}"
    old = night(tmp_path, parts, source=tmp_path / "in", name="old")
    conclude(old.store, old.run, old.config, {})
    wanted = Output(tmp_path / "in", tmp_path / "wanted", parts, *COLUMNS)
    wanted.drive()

    output = tmp_path / "new"
    command = [old.store.url, "--to", str(output), *COLUMNS, f"ray.address={shared_ray.address}"]
    before, killed = shared_ray.processes(), []

    def after_a_worker():
        found = receipts(output)
        if not killed and found >= 2:
            names = ((each.name(), each) for each in shared_ray.processes() if each not in before)
            at_work = [each for name, each in names if "MapBatches(derive" in name]
            if at_work:
                random.choice(at_work).kill()
                killed.append(found)
        return bool(killed) and found >= killed[0] + 5

    kill(command, when=after_a_worker, then=0.0, job="jobs.derive")
    assert 7 <= receipts(output) < PARTS
    assert not (output / "_SUCCESS").exists()
    files = times(output)
    finish(command, job="jobs.derive")
    assert receipts(output) == len(times(output)) == PARTS
    assert times(output).items() >= files.items()  # nothing is written again
    new = Output(tmp_path / "in", output, parts, *COLUMNS)
    assert all(a.equals(b) for a, b in zip(new.tables(), wanted.tables(), strict=True))
    assert prove(new.store, new.run, read_all=True).scored == PARTS * ROWS
    manifest = json.loads((output / "_manifest.json").read_text())
    assert (manifest["derived_from"], len(manifest["attempts"])) == (old.store.url, 2)


def times(output):
    return {path.name: path.stat().st_mtime_ns for path in output.glob("*.parquet")}
