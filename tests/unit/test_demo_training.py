"""The demo's recipe: what it trains is the model's own forward."""

import numpy as np
import torch
from transformers import BertForSequenceClassification

from demo.training.matching import _PASSAGE_START, group_logits
from demo.training.student import config


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
