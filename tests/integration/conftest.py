"""A Ray that outlives single runs, and a way to run the jobs as users do."""

import os
import subprocess
import sys

import pytest

from tests.running import run_job


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory):
    """`ray start --head`, so that each run saves the seconds of starting its own."""
    environment = os.environ | {"RAY_ADDRESS": "", "RAY_AUTH_MODE": "disabled"}
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    subprocess.run([*ray, "stop", "--force"], check=True, capture_output=True, env=environment)
    subprocess.run(
        [*ray, "start", "--head", "--num-cpus=3", "--disable-usage-stats"],
        check=True,
        capture_output=True,
        env=environment,
    )
    yield "auto"
    subprocess.run([*ray, "stop", "--force"], check=True, capture_output=True, env=environment)


@pytest.fixture
def rerank(ray_cluster, bert):
    """Run `python -m jobs.rerank` on the shared Ray with a random-weight model."""

    def call(input_path, output_path, *overrides, **options):
        return run_job(
            f"input.path={input_path}",
            f"output.path={output_path}",
            f"model.path={bert}",
            "model.dtype=float32",
            "preflight.checks.meaning=off",  # the weights are random
            f"ray.address={ray_cluster}",
            *overrides,
            **options,
        )

    return call
