"""What other programs call the keys of the configuration."""

from __future__ import annotations

# Of FlagEmbedding, sentence-transformers, transformers, vLLM, TEI, rerankers and Ray Data.
PEERS = {
    "model.path": "model model_name model_id model_name_or_path name_or_path checkpoint",
    "model.template": "chat_template prompt_template",
    "model.prompt": "system_prompt",
    "model.instruction": "query_instruction query_instruction_for_rerank task",
    "model.cutoff_layer": "cutoff_layers layer",
    "model.dtype": "torch_dtype precision float16 bfloat16 quantization",
    "model.dtype=float16": "fp16 use_fp16 half",
    "model.dtype=bfloat16": "bf16 use_bf16",
    "model.device": "devices device_map device_type gpu cuda use_cuda",
    "model.max_length": "max_len max_seq_len max_seq_length max_model_len max_tokens "
    "model_max_length max_input_length passage_max_length max_passage_length",
    "model.query_max_length": "max_query_length query_length",
    "model.truncation": "truncation_strategy truncate",
    "model.chunk_overlap": "stride overlap",
    "input.path": "input inputs input_path input_file input_dir data data_path dataset source",
    "input.columns.query": "query_column text_column query_field",
    "input.columns.passage": "passage_column document_column document text_pair passages documents",
    "input.columns.query_id": "qid query_id_column",
    "input.columns.doc_id": "pid docid document_id passage_id doc_id_column",
    "output.path": "output outputs output_path output_dir output_file out out_dir save_path "
    "save_dir destination",
    "output.normalize=sigmoid": "sigmoid activation activation_fn activation_fct apply_softmax",
    "output.text": "return_documents return_text",
    "output.columns.score": "score_column",
    "score.max_batch_tokens": "batch_size batchsize per_device_batch_size eval_batch_size "
    "per_device_eval_batch_size max_num_batched_tokens max_batch_size max_num_seqs",
    "score.compile": "torch_compile use_compile",
    "score.share_prefixes": "enable_prefix_caching prefix_caching",
    "score.reproducible": "deterministic seed",
    "replicas.max": "replicas num_workers workers num_replicas num_actors num_processes "
    "concurrency parallelism",
    "replicas.num_gpus": "gpus tensor_parallel_size num_gpus_per_worker",
    "replicas.num_cpus": "cpus num_threads threads",
    "plan.part_rows": "rows_per_batch part_size rows_per_part block_size",
    "ray.address": "ray_address cluster",
}

# Where the same number would mean something else.
NOTES = {
    "score.max_batch_tokens": " It counts tokens, not pairs.",
    "plan.part_rows": " A part is one output file, not a batch.",
}

_OURS = {peer: ours for ours, peers in PEERS.items() for peer in peers.split()}


def ours(name: str) -> str | None:
    """Our key for a name that another program uses, such as `batch_size`; None: unknown."""
    return _OURS.get(name.lower().replace("-", "_").lstrip("_"))
