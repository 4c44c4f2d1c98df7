"""kill -9 of the driver at random moments: the same command finishes, and nothing differs. Nor
when Ray's workers are killed while it does.

RUNS=10 in the environment for more rounds (`make kill RUNS=10`).
"""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import psutil
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from reranker_core.scorer import Scorer
from tests.running import ROOT, SECONDS, run_job
from tests.tables import config
from tests.texts import flat_table

pytestmark = pytest.mark.whole_job

RUNS = int(os.environ.get("RUNS", "1"))
PARTS = 48
WORKERS = 1 if RUNS == 1 else 2  # that are killed in a run


@pytest.mark.timeout(120 * (RUNS + 1))
def test_a_run_killed_anywhere_resumes_to_the_undisturbed_output(tmp_path, bert):
    (tmp_path / "in").mkdir()
    for shard in range(3):
        pq.write_table(flat_table(1600, seed=shard), tmp_path / f"in/{shard}.parquet")
    arguments = [
        f"input.path={tmp_path}/in",
        f"model.path={bert}",
        "model.dtype=float32",
        "preflight.checks.meaning=off",
        "plan.part_rows=100",
        "ray.address=local",
    ]
    if RUNS > 1:
        run_job(*arguments, f"output.path={tmp_path}/undisturbed")
        expected = read(tmp_path / "undisturbed")
    else:  # saves a run
        expected = without_ray(tmp_path / "in", bert)
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    print(f"SEED={seed}")
    moments = random.Random(seed)
    resumed, killed = [], []
    for run in range(RUNS):
        moment = moments.randrange(PARTS - 2)
        output = tmp_path / f"out{run}"
        kill(
            [*arguments, f"output.path={output}"],
            when=lambda o=output, m=moment: receipts(o) >= m,
            then=moments.uniform(0, 0.3),
        )
        resumed.append(receipts(output))
        assert not (output / "_SUCCESS").exists()
        killed += losing_workers([*arguments, f"output.path={output}"], moments)
        assert_same(read(output), expected)
        assert len(list(output.glob("*.parquet"))) == receipts(output) == PARTS
    print(f"parts of {PARTS} committed when the driver was killed:", resumed)
    print("workers killed while it went on:", killed)
    assert killed


def start(arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.rerank", *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def losing_workers(arguments, moments):
    """Run the job to its end, while a few of Ray's workers are killed; which ones."""
    process = start(arguments)
    killed = []
    end = time.monotonic() + SECONDS
    while process.poll() is None:
        assert time.monotonic() < end, "the run did not end"
        time.sleep(moments.uniform(0.5, 3))
        with suppress(psutil.NoSuchProcess):
            workers = psutil.Process(process.pid).children(recursive=True)
            at_work = [worker for worker in workers if "MapBatches(" in worker.name()]
            if at_work and len(killed) < WORKERS:
                victim = moments.choice(at_work)
                killed.append(victim.name())
                victim.kill()
    assert process.returncode == 0
    return killed


def kill(arguments, when, then):
    """Start the job and kill it `then` seconds after `when()` has become true."""
    process = start(arguments)
    while not when():
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    time.sleep(then)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def receipts(output):
    return len(list(output.glob("_receipts/*.json")))


def assert_same(found, expected):
    """Row for row; scores to the last bits, which CPU kernels may round otherwise under load."""
    others = [name for name in expected.column_names if name != "score"]
    assert found.select(others).equals(expected.select(others))
    assert set(found["status"].to_pylist()) == {"scored"}
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-5, atol=1e-4)


def without_ray(folder, model):
    """The input without its texts, and what the scorer gives."""
    table = read(folder)
    settings = ("model.dtype=float32", "preflight.checks.meaning=off")
    scorer = Scorer.load(config("in", "out", *settings, model=model))
    texts = (table[name].to_pylist() for name in ("query", "passage"))
    scores = scorer.score_pairs(list(zip(*texts, strict=True)))
    return table.drop_columns(["query", "passage"]).append_column("score", [scores])


def read(output):
    return pyarrow.dataset.dataset(str(output)).to_table()
