"""Tiny rerankers on disk: real architectures, tokenizers trained on the spot, random weights.

Each function fills a folder that `AutoTokenizer` and `AutoModelForSequenceClassification` load
without a missing key, like a checkpoint from a hub. Weights are drawn wide, so that different
pairs have visibly different scores.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

LONGEST = 130  # ids that every checkpoint here takes at most
VOCABULARY = 600
_WIDTH = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
_BERT_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

TEXTS = (
    "how do I read a csv file into a data frame",
    "read_csv reads a comma separated file and returns a DataFrame with a column for each field.",
    "The capital and largest city of France is Paris; it lies on the river Seine.",
    "To boil an egg, put it in boiling water: after six minutes it is soft, after ten it is hard.",
    "Symptoms of the flu are fever, a cough, a sore throat, headache and muscle pain (influenza).",
    "Sorts the list in place. Pass reverse=True to sort in descending order; the sort is stable.",
    "Don't panic! She said: \"it's only 42 or 1,234.56 % of all 9780 cases\" - isn't it?",
    "unbelievable uncharacteristically misunderstanding reinterpretation the the the of of and",
    "Wie lange kocht man ein weiches Ei, und wie heiß muss das Wasser dafür sein?",
    "Die Donaudampfschifffahrtsgesellschaft wurde in Österreich gegründet; sie fährt bis heute.",
    "Übermäßige Größe schützt vor Fehlern nicht, sagte der Bürgermeister von Köln.",
    "北京是中华人民共和国的首都，也是全国的政治和文化中心。",
    "如何在数据库里查找重复的行？先按键排序，再比较相邻的两行。",
    "今天的天气很好，我们去公园散步吧。",
    "القاهرة هي عاصمة جمهورية مصر العربية وأكبر مدنها، وتقع على ضفاف نهر النيل.",
    "كيف أقرأ ملفا نصيا سطرا سطرا؟ استخدم الحلقة مع الدالة.",
    "दिल्ली भारत की राजधानी है और यमुना नदी के किनारे बसा हुआ एक बड़ा शहर है।",
    "अंडा उबालने में कितना समय लगता है? लगभग दस मिनट।",
    "great job 👍 this is fun 😀😀 and fast 🚀 with a family 👨‍👩‍👧 and a heart ❤️",
    "def add(left: int, right: int) -> int:\n    return left + right  # both are small",
    "for (int i = 0; i < n; ++i) { total += values[i] * weights[i]; }",
    "SELECT name, count(*) FROM users WHERE age >= 18 GROUP BY name ORDER BY 2 DESC;",
    "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 .,:;!?()[]{}<>+-*/=_@#$%&|~^",
)


def bert(folder: Path, layers: int = 2) -> Path:
    """WordPiece, `[CLS] q [SEP] p [SEP]`, token types."""
    tokenizer = transformers.BertTokenizer(vocab=_word_pieces(), model_max_length=LONGEST)
    config = transformers.BertConfig(
        **_WIDTH,
        vocab_size=len(tokenizer),
        num_hidden_layers=layers,
        max_position_embeddings=LONGEST,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
        num_labels=1,
    )
    return _save(folder, transformers.BertForSequenceClassification, config, tokenizer)


def bert_labels(folder: Path, *names: str) -> Path:
    """A head with several labels, as monoBERT has two."""
    tokenizer = transformers.BertTokenizer(vocab=_word_pieces(), model_max_length=LONGEST)
    config = transformers.BertConfig(
        **_WIDTH,
        vocab_size=len(tokenizer),
        num_hidden_layers=2,
        max_position_embeddings=LONGEST,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )
    return _save(folder, transformers.BertForSequenceClassification, config, tokenizer)


def electra(folder: Path) -> Path:
    """As BERT, with embeddings narrower than the layers, and a two-layer head."""
    tokenizer = transformers.BertTokenizer(vocab=_word_pieces(), model_max_length=LONGEST)
    config = transformers.ElectraConfig(
        **_WIDTH,
        embedding_size=16,
        vocab_size=len(tokenizer),
        num_hidden_layers=2,
        max_position_embeddings=LONGEST,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
        num_labels=1,
    )
    return _save(folder, transformers.ElectraForSequenceClassification, config, tokenizer)


def distilbert(folder: Path) -> Path:
    """WordPiece, `[CLS] q [SEP] p [SEP]`, no token types."""
    tokenizer = transformers.BertTokenizer(
        vocab=_word_pieces(),
        model_max_length=LONGEST,
        model_input_names=["input_ids", "attention_mask"],
    )
    config = transformers.DistilBertConfig(
        dim=32,
        n_heads=4,
        hidden_dim=64,
        n_layers=2,
        vocab_size=len(tokenizer),
        max_position_embeddings=LONGEST,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
        num_labels=1,
    )
    return _save(folder, transformers.DistilBertForSequenceClassification, config, tokenizer)


def xlm_roberta(folder: Path) -> Path:
    """Unigram, `<s> q </s></s> p </s>`, positions from padding_idx + 1; as bge-reranker-v2-m3."""
    tokenizer = transformers.XLMRobertaTokenizer(vocab=_unigrams(), model_max_length=LONGEST)
    config = transformers.XLMRobertaConfig(
        **_WIDTH,
        vocab_size=len(tokenizer),
        num_hidden_layers=2,
        max_position_embeddings=LONGEST + tokenizer.pad_token_id + 1,
        type_vocab_size=1,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.3,
        num_labels=1,
    )
    return _save(folder, transformers.XLMRobertaForSequenceClassification, config, tokenizer)


def deberta(folder: Path) -> Path:
    """Unigram, `[CLS] q [SEP] p [SEP]`, relative positions only; as mxbai-rerank-v1."""
    pieces = [piece for piece in _unigrams() if not piece[0].startswith("<")]
    specials = [(token, 0.0) for token in ("[PAD]", "[CLS]", "[SEP]", "[UNK]")]
    tokenizer = transformers.DebertaV2Tokenizer(
        vocab=[*specials, *pieces, ("[MASK]", 0.0)], model_max_length=2048
    )
    config = transformers.DebertaV2Config(
        **_WIDTH,
        vocab_size=len(tokenizer),
        num_hidden_layers=2,
        max_position_embeddings=512,
        position_biased_input=False,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_buckets=256,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        type_vocab_size=0,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
        num_labels=1,
    )
    return _save(folder, transformers.DebertaV2ForSequenceClassification, config, tokenizer)


def modernbert(folder: Path) -> Path:
    """Byte-level BPE, rotary positions, sliding windows, mean of all tokens; as gte-reranker."""
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=_byte_pairs(),
        model_max_length=LONGEST,
        model_input_names=["input_ids", "attention_mask"],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    config = transformers.ModernBertConfig(
        **_WIDTH,
        vocab_size=len(tokenizer),
        num_hidden_layers=3,
        layer_types=["full_attention", "sliding_attention", "sliding_attention"],
        local_attention=16,
        max_position_embeddings=LONGEST,
        classifier_pooling="mean",
        pad_token_id=tokenizer.pad_token_id,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        initializer_range=0.3,
        num_labels=1,
    )
    return _save(folder, transformers.ModernBertForSequenceClassification, config, tokenizer)


def _word_pieces() -> dict[str, int]:
    # Every character, and the substrings that save most: the trainer of `tokenizers` breaks ties
    # differently from run to run.
    normalize = normalizers.BertNormalizer().normalize_str
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    counts: Counter[str] = Counter()
    characters: set[str] = set()
    for text in TEXTS:
        for word, _ in split(normalize(text)):
            characters |= {mark + character for character in word for mark in ("", "##")}
            for begin, end in itertools.combinations(range(len(word) + 1), 2):
                counts["##" * (begin > 0) + word[begin:end]] += end - begin - 1
    common = sorted(counts.keys() - characters, key=lambda piece: (-counts[piece], piece))
    pieces = [*_BERT_SPECIALS, *sorted(characters), *common[:300]]
    return {piece: index for index, piece in enumerate(pieces)}


def _unigrams() -> list[tuple[str, float]]:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCABULARY, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    # The trainer's own scores differ a little from run to run; the pieces do not.
    corpus = " ".join(["", *TEXTS]).translate({ord(" "): "▁", ord("\n"): "▁"})
    scores = {
        piece: math.log(corpus.count(piece) / len(corpus))
        for piece in tokenizer.get_vocab()
        if piece != "<unk>"
    }
    specials = [(name, 0.0) for name in ("<s>", "<pad>", "</s>", "<unk>")]
    return [*specials, *sorted(scores.items()), ("<mask>", 0.0)]


def _byte_pairs() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(_BERT_SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def _save(folder: Path, architecture: Any, config: Any, tokenizer: Any) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(17)
        model = architecture(config)
        for name, weight in model.named_parameters():
            if name.endswith("bias"):  # drawn as 0, which would look untrained
                torch.nn.init.normal_(weight, std=0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
