"""What `deploy/` holds is valid, and retries what can be helped by another attempt."""

import json
import os
import re
import shlex
import signal
import subprocess

import jsonschema
import pytest
import yaml

from reranker_core.pipeline.metrics import _COUNTERS, _GAUGES
from tests.running import ROOT

DEPLOY = ROOT / "deploy"
SCHEMAS = ROOT.parent / "shared/reference/kubernetes"
MANIFESTS = ("rayjob", "raycronjob")


def manifest(name):
    return yaml.safe_load((DEPLOY / f"{name}.yaml").read_text(encoding="utf-8"))


def job_of(name):
    spec = manifest(name)["spec"]
    return spec.get("jobTemplate", spec)


def closed(schema):
    """The schema with unknown fields refused: a cluster would drop them without a word."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(value) for key, value in schema.items()}
    free = schema.get("x-kubernetes-preserve-unknown-fields")
    if schema.get("type") == "object" and "properties" in schema and not free:
        schema.setdefault("additionalProperties", False)
    return schema


@pytest.mark.skipif(not SCHEMAS.exists(), reason="KubeRay's schemas are not beside the checkout")
@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_follows_the_schema_of_kuberay(name):
    schema = closed(json.loads((SCHEMAS / f"{name}-v1.openapi.json").read_text(encoding="utf-8")))
    jsonschema.Draft202012Validator(schema).validate(manifest(name))
    wrong = manifest(name)
    wrong["spec"]["backofLimit"] = 0
    with pytest.raises(jsonschema.ValidationError, match="backofLimit"):
        jsonschema.Draft202012Validator(schema).validate(wrong)


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_lines_for_a_type_of_gpu_can_be_used(name):
    text = (DEPLOY / f"{name}.yaml").read_text(encoding="utf-8")
    commented = r"( +)# (rayStartParams:\n) +# ( +resources: .*\n) +rayStartParams: {}\n"
    text, replaced = re.subn(commented, r"\1\2\1\3", text)
    assert replaced == 1
    spec = yaml.safe_load(text)["spec"]
    (workers,) = spec.get("jobTemplate", spec)["rayClusterSpec"]["workerGroupSpecs"]
    # A text for a shell, which `ray start --resources` gets as JSON.
    (resources,) = shlex.split(workers["rayStartParams"]["resources"])
    assert json.loads(resources) == {"accelerator_type:H100": 1}
    if SCHEMAS.exists():
        schema = json.loads((SCHEMAS / f"{name}-v1.openapi.json").read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator(closed(schema)).validate(yaml.safe_load(text))


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_agrees_with_itself_and_with_the_image(name):
    job, lock = job_of(name), (ROOT / "requirements.lock").read_text(encoding="utf-8")
    cluster = job["rayClusterSpec"]
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert f"ray=={cluster['rayVersion']}\n" in lock
    assert f"ARG RAY_VERSION={cluster['rayVersion']}\n" in dockerfile
    (workers,) = cluster["workerGroupSpecs"]
    assert f"replicas.max={workers['maxReplicas']}" in job["entrypoint"].split()
    assert job["backoffLimit"] == 0  # until_complete.sh retries, and exit code 5 alone
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for word in shlex.split(job["entrypoint"]):
        if word.startswith("/opt/batch-reranker/"):
            copied = word.removeprefix("/opt/batch-reranker/")
            assert (ROOT / copied).exists()
            assert copied.split("/")[0] in dockerfile


@pytest.mark.parametrize("name", MANIFESTS)
def test_an_entrypoint_survives_the_quoting_of_ray_job_submit(name):
    # KubeRay puts it into a shell line, and `ray job submit` quotes it as Windows does.
    words = job_of(name)["entrypoint"].split()
    assert shlex.split(subprocess.list2cmdline(words)) == words
    assert not set("$'\"`;&|<>") & set(job_of(name)["entrypoint"])


@pytest.mark.parametrize(
    ("codes", "ended", "attempts"),
    [([5, 5, 0], 0, 3), ([5, 5, 5, 0], 5, 3), ([3], 3, 1), ([5, 4], 4, 2), ([0], 0, 1)],
)
def test_exit_code_5_alone_is_retried(codes, ended, attempts, tmp_path):
    (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes))
    command = 'read -r code < codes; sed -i 1d codes; echo "$1 $2" >> calls; exit "$code"'
    done = subprocess.run(
        [DEPLOY / "until_complete.sh", "3", "bash", "-c", command, "-", "a b", "c"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
    )
    assert done.returncode == ended
    assert (tmp_path / "calls").read_text() == "a b c\n" * attempts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_a_signal_there_is_no_other_attempt(number, tmp_path):
    command = "trap 'exit 5' INT TERM; echo called; sleep 60 & wait"
    process = subprocess.Popen(
        [DEPLOY / "until_complete.sh", "3", "bash", "-c", command],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # pytest may run where SIGINT is ignored, and shells cannot change that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout.readline() == "called\n"
    os.killpg(process.pid, number)  # ctrl-C in a terminal: to all of them
    assert process.wait(30) == 5
    assert process.stdout.read() == ""


def test_the_dashboard_shows_metrics_that_there_are():
    dashboard = json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    names = set(re.findall(r"ray_reranker_(\w+)\{", " ".join(asked)))
    there = {f"{name}_total" for name in _COUNTERS} | set(_GAUGES)
    assert names
    assert names <= there
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
