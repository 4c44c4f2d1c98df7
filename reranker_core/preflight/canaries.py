"""Canaries: pairs whose order everybody agrees on, in several languages and scripts.

Each language has queries with one passage that answers each; the passages of the other queries are
the irrelevant ones. Users add their own in a JSON-lines file (`preflight.canaries`):

    {"query": "…", "relevant": ["…"], "irrelevant": ["…", "…"]}

The hard ones in `hard_canaries/` are of the same form. Their irrelevant passages have the same
subject as the query, and often share its words. A comparison was kept if two embedding models rank
it correctly, all-MiniLM-L6-v2 and multilingual-e5-small; a technical one only if `demo/model` does,
too; one in another language if multilingual-e5-small does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from reranker_core.errors import ConfigError

Pair = tuple[str, str]
Canary = tuple[str, list[str], list[str]]  # query, relevant, irrelevant

TECHNICAL, QUESTIONS = "technical", "questions"
# What many sound models are weak in, so that results are reported, not required.
REPORTED = ("capitals", "numbers", "negation")
LONG = "long passages"
_LONG = 12
_BEFORE = (
    "Part of the public interface since version 1.2. Names that begin with an underscore may "
    "change without notice. Parameters are described below. Unless stated otherwise they are "
    "keyword only, and None selects the default of the class. See the user guide for an "
    "introduction with examples, and the release notes for changes of behaviour between versions. "
    "The implementation follows the reference manual; deviations are listed in the appendix. "
)

ENGLISH: tuple[Pair, ...] = (
    (
        "how do I read a csv file into a data frame",
        "read_csv reads a comma separated file and returns a DataFrame with a column for each "
        "field of the file. Compressed files and URLs can be read as well.",
    ),
    (
        "what is the capital of france",
        "Paris is the capital and largest city of France. It lies on the river Seine.",
    ),
    (
        "how long do you boil an egg",
        "To boil an egg, put it in boiling water: after six minutes the egg is soft, after ten "
        "minutes it is hard.",
    ),
    (
        "symptoms of the flu",
        "The flu begins suddenly. Symptoms are fever, a cough, a sore throat, headache and "
        "muscle pain.",
    ),
    (
        "sort a list of numbers in descending order",
        "Sorts the list in place. Pass reverse=True to sort the numbers in descending order; the "
        "sort is stable.",
    ),
    (
        "return the current date and time",
        "Return the current local date and time. With a time zone given, the time is converted to "
        "it.",
    ),
    (
        "open a connection to a server over the network",
        "Connect to the server at the given host and port. The network connection is closed when "
        "the client is deleted.",
    ),
    (
        "compute the mean of an array along an axis",
        "Compute the arithmetic mean along the given axis. The average is taken over the flattened "
        "array by default.",
    ),
)

LANGUAGES: dict[str, tuple[Pair, ...]] = {
    "en": ENGLISH,
    "de": (
        (
            "Wie lange kocht man ein weiches Ei?",
            "Ein weiches Ei braucht in kochendem Wasser etwa fünf Minuten, ein hartes zehn.",
        ),
        (
            "Was ist die Hauptstadt von Österreich?",
            "Wien ist die Hauptstadt von Österreich und liegt an der Donau.",
        ),
        (
            "Welche Symptome hat eine Grippe?",
            "Eine Grippe beginnt plötzlich mit Fieber, Husten, Halsschmerzen und Gliederschmerzen.",
        ),
        (
            "Wie wechselt man einen Fahrradreifen?",
            "Zuerst die Luft ablassen, den Reifen mit Hebern von der Felge heben, den Schlauch "
            "tauschen und den Fahrradreifen wieder aufziehen.",
        ),
    ),
    "fr": (
        (
            "Combien de temps faut-il pour cuire un œuf dur ?",
            "Pour un œuf dur, comptez dix minutes dans l'eau bouillante ; cinq pour un œuf mollet.",
        ),
        (
            "Quelle est la capitale de l'Espagne ?",
            "Madrid est la capitale de l'Espagne et sa plus grande ville.",
        ),
        (
            "Quels sont les symptômes de la grippe ?",
            "La grippe provoque de la fièvre, de la toux, des maux de tête et des courbatures.",
        ),
        (
            "Comment trier une liste en Python ?",
            "La méthode sort trie la liste sur place ; sorted renvoie une nouvelle liste triée.",
        ),
    ),
    "es": (
        (
            "¿Cuánto tiempo se hierve un huevo duro?",
            "Un huevo duro se hierve unos diez minutos; uno pasado por agua, cuatro.",
        ),
        (
            "¿Cuál es la capital de Perú?",
            "Lima es la capital de Perú y está situada en la costa del Pacífico.",
        ),
        (
            "¿Cuáles son los síntomas de la gripe?",
            "La gripe causa fiebre, tos, dolor de garganta y dolores musculares.",
        ),
        (
            "¿Cómo se cambia una rueda pinchada?",
            "Afloje las tuercas, levante el coche con el gato, quite la rueda pinchada y monte la "
            "de repuesto.",
        ),
    ),
    "ru": (
        (
            "Сколько минут варить яйцо вкрутую?",
            "Чтобы сварить яйцо вкрутую, держите его в кипящей воде десять минут.",
        ),
        (
            "Какой город является столицей Японии?",
            "Токио — столица Японии и крупнейший город страны.",
        ),
        (
            "Какие симптомы у гриппа?",
            "Грипп начинается внезапно: температура, кашель, боль в горле и в мышцах.",
        ),
        (
            "Как отсортировать список по убыванию?",
            "Чтобы отсортировать список по убыванию, передайте методу сортировки reverse=True.",
        ),
    ),
    "zh": (
        ("鸡蛋要煮多久？", "鸡蛋在沸水里煮六分钟是溏心的，煮十分钟就全熟了。"),
        ("中国的首都是哪里？", "北京是中华人民共和国的首都，也是全国的政治和文化中心。"),
        ("流感有哪些症状？", "流感起病突然，症状有发烧、咳嗽、咽喉痛、头痛和肌肉酸痛。"),
        ("怎样按降序排列一个列表？", "调用排序方法时传入 reverse=True，列表就会按降序排列。"),
    ),
    "ja": (
        ("ゆで卵は何分ゆでますか", "卵を沸騰した湯で六分ゆでると半熟、十分で固ゆで卵になります。"),
        ("日本の首都はどこですか", "日本の首都は東京で、国内で最も人口の多い都市です。"),
        (
            "インフルエンザの症状は何ですか",
            "インフルエンザの症状は発熱、咳、のどの痛み、筋肉痛です。",
        ),
        ("リストを降順に並べ替える方法", "リストを降順に並べ替えるには reverse=True を渡します。"),
    ),
    "ar": (
        ("كم دقيقة يسلق البيض؟", "يسلق البيض في الماء المغلي عشر دقائق حتى ينضج تماما."),
        ("ما هي عاصمة مصر؟", "القاهرة هي عاصمة مصر وأكبر مدنها، وتقع على نهر النيل."),
        (
            "ما هي أعراض الإنفلونزا؟",
            "أعراض الإنفلونزا هي الحمى والسعال والتهاب الحلق وآلام العضلات.",
        ),
        ("كيف أغير إطار السيارة؟", "ارفع السيارة بالرافعة وفك الصواميل ثم غير الإطار المثقوب."),
    ),
    "hi": (
        ("अंडा कितनी देर उबालना चाहिए?", "अंडा उबलते पानी में दस मिनट रखने पर पूरा पक जाता है।"),
        ("भारत की राजधानी क्या है?", "नई दिल्ली भारत की राजधानी है और यमुना नदी के किनारे बसी है।"),
        ("फ्लू के लक्षण क्या हैं?", "फ्लू के लक्षण बुखार, खांसी, गले में दर्द और बदन दर्द हैं।"),
        ("साइकिल का टायर कैसे बदलें?", "पहले हवा निकालें, टायर को रिम से उतारें और नया टायर चढ़ाएं।"),
    ),
}


def grid(pairs: Sequence[Pair]) -> list[Pair]:
    """Every query with every passage; the own passage of query i stands at (i, i)."""
    return [(query, passage) for query, _ in pairs for _, passage in pairs]


def pairs_of(canaries: Sequence[Canary]) -> list[Pair]:
    """Each query with its relevant and then its irrelevant passages."""
    return [(query, text) for query, good, bad in canaries for text in (*good, *bad)]


def lengthening(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with their passages once, then twice, then four times."""
    return [(query, " ".join([text] * times)) for times in (1, 2, 4) for query, text in pairs]


def hard_canaries(name: str) -> list[Canary]:
    """The built-in ones of a kind: `TECHNICAL`, in the manner of docstrings, `QUESTIONS` of
    everyday life, one of `REPORTED`, or questions of everyday life in one of `LANGUAGES` but `en`.
    """
    return read_canaries(str(Path(__file__).parent / "hard_canaries" / f"{name}.jsonl"))


def long_canaries() -> list[Canary]:
    """Technical ones whose passages begin with the same general text, and answer at their end."""
    return [
        (query, [_BEFORE + text for text in good], [_BEFORE + text for text in bad])
        for query, good, bad in hard_canaries(TECHNICAL)[:_LONG]
    ]


def read_canaries(path: str) -> list[Canary]:
    """Query, relevant and irrelevant passages of each line of a user's file.

    Raises:
        ConfigError: the file is missing, or a line is not of the form shown above.

    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"preflight.canaries={path}: cannot be read ({error})") from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            query, relevant, irrelevant = (item[k] for k in ("query", "relevant", "irrelevant"))
            texts = [query, *relevant, *irrelevant]
            fits = isinstance(relevant, list) and isinstance(irrelevant, list)
            if not (fits and relevant and irrelevant and all(isinstance(t, str) for t in texts)):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                f"preflight.canaries={path}: line {number} is not of the form "
                '{"query": "…", "relevant": ["…"], "irrelevant": ["…"]}'
            ) from None
        found.append((query, relevant, irrelevant))
    if not found:
        raise ConfigError(
            f"preflight.canaries={path}: contains no canaries; remove this key, or add canaries to "
            "the file"
        )
    return found
