"""A config.json that changes no shape, only what is computed."""

from __future__ import annotations

from tests.faults.checkpoint_edits import Build, config

KINDS: dict[str, Build] = {
    **{
        f"activation {name}": config(hidden_act=name)
        for name in ("linear", "relu", "silu", "gelu_new", "tanh", "sigmoid", "relu2", "mish")
    },
    **{f"epsilon of norms {eps:g}": config(layer_norm_eps=eps) for eps in (0.01, 0.1, 1.0, 10.0)},
    **{f"{n} attention heads": config(num_attention_heads=n) for n in (1, 2, 3, 4, 8, 12, 24, 48)},
    "two tokens of padding": config(pad_token_id=3),
    "padding at the separator": config(pad_token_id=3),
    "a decoder": config(is_decoder=True),
    "relative positions": config(position_embedding_type="relative_key"),
    "class of ELECTRA": config(
        model_type="electra", architectures=["ElectraForSequenceClassification"]
    ),
    "class of RoBERTa": config(
        model_type="roberta", architectures=["RobertaForSequenceClassification"]
    ),
    "three labels in the names": config(id2label={"0": "a", "1": "b", "2": "c"}),
}
