"""kill -9 of the driver at random moments: the same command finishes, and nothing differs. Nor
when Ray's workers are killed while it does.

RUNS=10 in the environment for more rounds (`make kill RUNS=10`), every other one with an own Ray.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress

import numpy as np
import psutil
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from reranker_core.score.loading import load_scorer
from tests.running import ROOT
from tests.shared_ray import meanwhile
from tests.tables import config
from tests.texts import flat_table

pytestmark = pytest.mark.slow

RUNS = int(os.environ.get("RUNS", "1"))
PARTS = 48
WORKERS = 1 if RUNS == 1 else 2  # that are killed in a run


@pytest.mark.timeout(120 * (RUNS + 1))
def test_a_run_killed_anywhere_resumes_to_the_undisturbed_output(
    tmp_path, bert, shared_ray, rerank
):
    (tmp_path / "in").mkdir()
    for shard in range(3):
        pq.write_table(flat_table(1600, seed=shard), tmp_path / f"in/{shard}.parquet")
    settings = ["model.dtype=float32", "preflight.checks.meaning=off", "plan.part_rows=100"]
    expected = without_ray(tmp_path / "in", bert)
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    print(f"SEED={seed}")
    moments = random.Random(seed)
    resumed, killed = [], []
    for run in range(RUNS):
        # A single run leaves enough to do for a worker to be killed.
        moment = moments.randrange(PARTS // 2 if RUNS == 1 else PARTS - 2)
        output = tmp_path / f"out{run}"
        kill(
            [
                f"input.path={tmp_path}/in",
                f"output.path={output}",
                f"model.path={bert}",
                f"ray.address={'local' if run % 2 else shared_ray.address}",
                *settings,
            ],
            when=lambda o=output, m=moment: receipts(o) >= m,
            then=moments.uniform(0, 0.3),
        )
        resumed.append(receipts(output))
        assert not (output / "_SUCCESS").exists()
        with losing_workers(shared_ray, output, moments) as lost:
            rerank(tmp_path / "in", output, *settings)
        killed += lost
        assert_same(read(output), expected)
        assert len(list(output.glob("*.parquet"))) == receipts(output) == PARTS
    print(f"parts of {PARTS} committed when the driver was killed:", resumed)
    print("workers killed while it went on:", killed)
    assert killed


@contextmanager
def losing_workers(head, output, moments):
    """Meanwhile a few of Ray's workers are killed; gives a list that they are noted in."""
    killed, before = [], set(head.processes())  # those of the killed driver, too

    def kill_one():
        at_work = [
            each for each in head.processes() if "MapBatches(" in each.name() and each not in before
        ]
        if at_work:
            victim = moments.choice(at_work)
            name = victim.name()
            victim.kill()
            killed.append(name)

    def kill_some():
        for _ in range(WORKERS):
            wanted = receipts(output) + moments.randrange(6)  # 0: some while replicas load
            count = len(killed)
            while len(killed) == count and not (output / "_SUCCESS").exists():
                time.sleep(moments.uniform(0, 0.5))
                if receipts(output) >= wanted:
                    with suppress(psutil.NoSuchProcess):
                        kill_one()

    with meanwhile(kill_some):
        yield killed


def kill(arguments, when, then, job="jobs.rerank"):
    """Start the job and kill it `then` seconds after `when()` has become true."""
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", job, *arguments],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=printed,
            start_new_session=True,
        )
        while not when():
            if process.poll() is not None:
                printed.seek(0)
                said = printed.read()[-3000:].decode()
                pytest.fail(f"the run ended before it could be killed: {said}")
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
    scorer = load_scorer(config("in", "out", *settings, model=model))
    texts = (table[name].to_pylist() for name in ("query", "passage"))
    scores = scorer.score_pairs(list(zip(*texts, strict=True)))
    return table.drop_columns(["query", "passage"]).append_column("score", [scores])


def read(output):
    return pyarrow.dataset.dataset(str(output)).to_table()
