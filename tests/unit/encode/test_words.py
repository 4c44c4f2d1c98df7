"""Word by word, texts get the ids that the tokenizer gives them as a whole."""

from __future__ import annotations

import threading

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from reranker_core.encode import words
from reranker_core.encode.words import _PATTERNS, WordByWord
from tests.texts import WORDS

WORD = st.sampled_from(
    [
        "cache",
        "Cache",
        "it's",
        "I'LL",
        "x=1",
        "12345",
        "naïve",
        "ΟΔΟΣ",
        "ß",
        "중국",
        "中文字",
        "ﬁ",
        "don’t",
    ]
)
# What stands beside words in texts that people have, and what may look across a space.
BETWEEN = st.sampled_from(
    [
        *(" ", " ", " ", " ", "  ", "\n", "\n\n", " \n ", "\t", "\r\n", "\u3000", "\xa0", "\u200b"),
        *(
            "\x0c",
            "\x1c",
            "\x85",
            " \u0301",
            "\u0301 ",
            " ำ",
            ".\n",
            "!\n\n ",
            " — ",
            "“",
            "” ",
            "…",
        ),
        *(
            "[SEP]",
            " <s> ",
            "<s>x",
            " <mask>",
            "<mask> ",
            "a b",
            "👩‍👧 ",
            " '",
            "' ",
            "_",
            " _ ",
            "\ufffd",
        ),
    ]
)
TEXTS = st.lists(st.tuples(BETWEEN, WORD), max_size=12).map(
    lambda pairs: "".join(between + word for between, word in pairs)
)
ANY = st.one_of(TEXTS, TEXTS.map(lambda text: text[1:]), st.text(max_size=30))
CORPUS = [
    " ".join(WORDS),
    "it's the cache of x=1 and 12345, don’t",
    "naïve ΟΔΟΣ ß 중국 中文字 ﬁ",
] * 3


def trained(model, trainer, normalizer, steps):
    tokenizer = Tokenizer(model)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = steps
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(["[SEP]", "<s>", AddedToken("<mask>", lstrip=True, rstrip=True)])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in ("a b", "  ")])
    return tokenizer


def word_pieces(normalizer, steps):
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]"])
    return trained(models.WordPiece(unk_token="[UNK]"), trainer, normalizer, steps)


def unigram(normalizer, steps):
    trainer = trainers.UnigramTrainer(
        vocab_size=150, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False
    )
    return trained(models.Unigram(), trainer, normalizer, steps)


def byte_pairs(normalizer, steps):
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet)
    return trained(models.BPE(), trainer, normalizer, steps)


def splitting(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([split, bytes_])


SPACES = normalizers.Replace(Regex(" {2,}"), " ")
NFKC = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), SPACES])
SPLIT_FIRST = pre_tokenizers.Sequence(
    [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
)
KINDS = {
    "bert": word_pieces(normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()),
    "cased": word_pieces(
        normalizers.BertNormalizer(lowercase=False), pre_tokenizers.BertPreTokenizer()
    ),
    "metaspace": unigram(NFKC, pre_tokenizers.Metaspace()),
    "metaspace_first": unigram(None, pre_tokenizers.Metaspace(prepend_scheme="first")),
    "metaspace_never": unigram(NFKC, pre_tokenizers.Metaspace(prepend_scheme="never")),
    "xlm_roberta": unigram(NFKC, SPLIT_FIRST),
    "gpt2": byte_pairs(None, pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "roberta": byte_pairs(None, pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "qwen": byte_pairs(normalizers.NFC(), splitting(_PATTERNS[1])),
    "llama3": byte_pairs(None, splitting(_PATTERNS[2])),
}


def expected(tokenizer, texts):
    return [each.ids for each in tokenizer.encode_batch(texts, add_special_tokens=False)]


def found(by_word, texts):
    return [list(memoryview(run).cast("i")) for run in by_word.ids(texts)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_whole_texts(kind):
    by_word = WordByWord.of(KINDS[kind])

    @settings(max_examples=40, deadline=None, database=None, derandomize=True)
    @given(st.lists(ANY, min_size=1, max_size=8))
    @example(["  cache", "cache  cache ", " cache"])
    def check(texts):
        assert found(by_word, texts) == expected(KINDS[kind], texts)

    check()
    assert by_word._known


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_few_words_are_kept_and_threads_share_them(kind, monkeypatch):
    monkeypatch.setattr(words, "_MOST_WORDS", 5)
    by_word = WordByWord.of(KINDS[kind])
    texts = [f"{' '.join(WORDS[at : at + 4])} {'x' * 50}{at}" for at in range(20)]
    right, wrong = expected(KINDS[kind], texts), []

    def work(number):
        for _ in range(20):
            wrong.extend([number] * (found(by_word, texts[number:]) != right[number:]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert not any("x" * 50 in word for word in by_word._known)


@pytest.mark.parametrize(
    ("normalizer", "steps"),
    [
        (None, pre_tokenizers.Metaspace(split=False)),  # words that span spaces
        (normalizers.Prepend("▁"), pre_tokenizers.Metaspace()),
        (normalizers.Strip(), pre_tokenizers.Metaspace(prepend_scheme="never")),
        (normalizers.Replace("e c", "ec"), pre_tokenizers.Metaspace()),
        (None, pre_tokenizers.Split("▁", "merged_with_next")),
        (None, splitting(r"\w+ \w+")),
        (normalizers.BertNormalizer(clean_text=False), pre_tokenizers.BertPreTokenizer()),
        (normalizers.BertNormalizer(), pre_tokenizers.Whitespace()),
    ],
)
def test_tokenizers_that_may_look_across_a_space_see_whole_texts(normalizer, steps):
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = steps
    assert WordByWord.of(tokenizer) is None


@pytest.mark.parametrize(
    "token",
    [
        AddedToken("a b", normalized=True),
        AddedToken("x", normalized=True, lstrip=True),
        AddedToken("  ", normalized=False, rstrip=True),
    ],
)
def test_added_tokens_that_may_span_a_space_need_whole_texts(token):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    assert WordByWord.of(tokenizer) is not None
    tokenizer.add_tokens([token])
    assert WordByWord.of(tokenizer) is None


def test_a_model_with_dropout_sees_whole_texts():
    tokenizer = Tokenizer(models.BPE(dropout=0.1))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    assert WordByWord.of(tokenizer) is None
    assert WordByWord.of(Tokenizer(models.BPE())) is None
