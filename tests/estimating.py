"""A run to estimate, and earlier outputs beside it that say how fast they were."""

import json

from reranker_core.config import load_config
from reranker_core.models.digests import short_digest
from reranker_core.output.attempts import Recorder
from reranker_core.output.identity import identity
from reranker_core.prepare import prepare
from reranker_core.storage.store import Store

PROCESSOR = "Tube 2000"


def prepared(folder, bert, *overrides):
    settings = [f"input.path={folder / 'in'}", f"output.path={folder / 'outs' / 'today'}"]
    settings += [f"model.path={bert}", "model.dtype=float32", "preflight.checks.meaning=off"]
    return prepare(load_config(None, [*settings, *overrides]))


def attempt(made, name, tokens, started=0.0, replicas=2, model=None, processor=PROCESSOR, **facts):
    """A finished sibling, whose only attempt scored so many tokens in 100 s."""
    store = Store(f"{made.store.url.rpartition('/')[0]}/{name}")
    settings = made.config.model_dump(mode="json")
    digest = short_digest(made.fingerprint["model"])
    settings["model"] = {"digest": digest, "dtype": "float32"} | (model or {})
    settings |= facts.pop("configuration", {})
    with Recorder(store, 1, started, cpus=2.0, configuration=settings) as record:
        one = {"device": "cpu", "dtype": "float32", "processor": processor}
        record.attempt.replicas = [one] * replicas
        record.attempt.tokens, record.attempt.scoring_seconds = tokens, 100.0
        for field, value in facts.items():
            setattr(record.attempt, field, value)
    run = identity(made.fingerprint, made.plan, made.config)
    store.write("_run.json", json.dumps(run).encode())
    store.write("_SUCCESS", b"")
    return store
