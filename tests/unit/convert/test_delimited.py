"""Lines and quotes of CSV and TSV files: no line is swallowed, skipped or cut."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from reranker_core.command.convert import convert
from reranker_core.convert.texts import load_texts
from reranker_core.errors import InputError
from reranker_core.storage.database import database

NAMES = ("query_id", "query", "doc_id", "passage")


def converted(folder: Path, rows: str, suffix: str = "tsv") -> list[str]:
    """Query and passage of the rows."""
    sign = {"tsv": "\t", "csv": ","}[suffix]
    file = folder / f"a.{suffix}"
    file.write_text(f"{sign.join(NAMES)}\n{rows}")
    convert.main([str(file), "--to", str(folder / "out")], standalone_mode=False)
    found = pq.read_table(folder / "out").to_pylist()
    return [f"{row['query']}|{row['passage']}" for row in found]


LITERAL = {
    "a quote inside": ('1\tsay "hi"\td\t5" disc\n', ['say "hi"|5" disc']),
    "a quote that does not end": ('1\t"open\td\tp\n2\tq\td\tp\n', ['"open|p', "q|p"]),
    "a quote that ends in another row": (
        '1\tq\td\t"open\n2\tq\td\tp\n3\tq\td\tend"\n',
        ['q|"open', "q|p", 'q|end"'],
    ),
    "words in quotes": ('1\t"a" b\td\tp\n2\t"q"\td\tp\n', ['"a" b|p', '"q"|p']),
}


@pytest.mark.parametrize(("rows", "expected"), LITERAL.values(), ids=LITERAL)
def test_stray_quotes_of_tsv_are_part_of_the_text(tmp_path: Path, rows: str, expected: list[str]):
    assert converted(tmp_path, rows) == expected


QUOTED = {
    "quotes twice": ('1\t"say ""hi"""\td\tp\n', ['say "hi"|p']),
    "all fields": ('"1"\t"q"\t"d"\t"p"\n', ["q|p"]),
    "a line break": ('1\tq\td\t"a\nb"\n2\tq\td\tp\n', ["q|a\nb", "q|p"]),
    "a tab": ('1\tq\td\t"a\tb"\n', ["q|a\tb"]),
}


@pytest.mark.parametrize(("rows", "expected"), QUOTED.values(), ids=QUOTED)
def test_quotes_that_enclose_fields_are_no_part_of_them(
    tmp_path: Path, rows: str, expected: list[str]
):
    assert converted(tmp_path, rows) == expected


def test_rows_between_two_stray_quotes_are_not_swallowed(tmp_path: Path):
    rows = '1\tq\td\t"a\nb"\n2\tq\td\t"open\n3\tq\td\tp\n4\tq\td\tend"\n'
    with pytest.raises(InputError, match="row 3 contains 3 lines that are rows"):
        converted(tmp_path, rows)


SWALLOWED = {
    "two rows": '1,"open,d,p\n2,end",d,p\n',
    "rows between": '1,"open,d,p\n2,q,d,p\n\n3,"",d,p\n4,end",d,p\n',
    "the last column": '1,q,d,"open\n2,q,d,end"\n',
    "the last column, empty": '1,q,d,"\n2,q,d,p\n3,q,d,end"\n',
    "the first column": '"1,q,d,p\n2",q,d,p\n',
    "a quoted field in the last row": '1,"open,d,p\n2,end",d,"a, b"\n',
    "after texts of several lines": '0,q,d,"a, b\nc"\n1,q,d,"open\n2,q,d,end"\n',
    "two columns at once": '1,"a,d,p\n2,b",d,"c\n3,q,d,e"\n',
}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("sign", [",", ";"])
@pytest.mark.parametrize("rows", SWALLOWED.values(), ids=SWALLOWED)
def test_rows_between_stray_quotes_of_csv_are_not_swallowed(
    tmp_path: Path, rows: str, sign: str, end: str
):
    file = tmp_path / "a.csv"
    text = f"{','.join(NAMES)}\n{rows}5,q,d,p\n".replace(", ", "# ").replace(",", sign)
    file.write_bytes(text.replace("# ", f"{sign} ").replace("\n", end).encode())
    with pytest.raises(InputError, match="lines that are rows themselves"):
        convert.main([str(file), "--to", str(tmp_path / "out")], standalone_mode=False)


def test_a_stray_quote_among_the_names_swallows_no_row(tmp_path: Path):
    file = tmp_path / "a.csv"
    file.write_text('query_id,"query,doc_id,passage\n1,q",d,p\n2,q,d,p\n')
    with pytest.raises(InputError, match="row 1 contains 2 lines that are rows themselves"):
        convert.main([str(file), "--to", str(tmp_path / "out")], standalone_mode=False)


SEVERAL_LINES = {
    "as many commas as a row": "one\ntwo, three, four, five",
    "a row without an id": "one\n,two,three,four",
    "a row with an id of two words": "one\nthe two,three,four,five",
    "a line that is a row, and one that is not": "one\n2,q,d,p\nthree\n4,q,d,p",
}


@pytest.mark.parametrize("passage", SEVERAL_LINES.values(), ids=SEVERAL_LINES)
def test_texts_of_several_lines_with_commas_are_read(tmp_path: Path, passage: str):
    rows = "".join(f"{row},a b,d,c d\n" for row in range(20))
    found = converted(tmp_path, f'{rows}20,q,d,"{passage}"\n', "csv")
    assert found[-1] == f"q|{passage}"


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_no_line_is_a_comment(tmp_path: Path, suffix: str):
    rows = "#1,q,d,p\n2,# q,d,#p\n"
    found = converted(tmp_path, rows if suffix == "csv" else rows.replace(",", "\t"), suffix)
    assert found == ["q|p", "# q|#p"]


TEXTS = {
    "a number sign": ("#1\t#a\n2\tb\n", {"#1": "#a", "2": "b"}),
    "stray quotes": ('1\t"a\n2\tb"\n3\t"c"\n', {"1": '"a', "2": 'b"', "3": '"c"'}),
    "quotes twice": ('1\t"a ""b"""\n2\tc\n', {"1": 'a "b"', "2": "c"}),
    "a control character": ("1\ta\x01b\n", {"1": "a\x01b"}),
    "a heading": ('id\ttext\n1\t"a, b"\n', {"1": "a, b"}),
}


@pytest.mark.parametrize(("content", "expected"), TEXTS.values(), ids=TEXTS)
def test_texts_of_a_corpus(tmp_path: Path, content: str, expected: dict[str, str]):
    (tmp_path / "corpus.tsv").write_text(content)
    with database("test") as connection:
        load_texts(connection, "corpus", str(tmp_path / "corpus.tsv"))
        assert dict(connection.execute("SELECT id, text FROM corpus").fetchall()) == expected


WRONG = {
    "columns without names": ("a.tsv", "d1\thttp://x\ttitle\tbody\n", "no heading and 4 columns"),
    "a list": ("a.jsonl", '{"id": "1", "text": ["secret"]}\n', "'text' is a list"),
    "an object": ("a.jsonl", '{"id": {"n": 1}, "text": "secret"}\n', "'id' is a list or an object"),
    "nothing": ("a.tsv", "", "the file is empty"),
}


@pytest.mark.parametrize(("name", "content", "told"), WRONG.values(), ids=WRONG)
def test_a_corpus_that_cannot_be_read_as_meant(tmp_path: Path, name: str, content: str, told: str):
    (tmp_path / name).write_text(content)
    with database("test") as connection, pytest.raises(InputError, match=told) as caught:
        load_texts(connection, "corpus", str(tmp_path / name))
    assert "secret" not in str(caught.value)


def test_brackets_in_a_text_are_no_list(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"id": "1", "text": "[1] {a}"}\n')
    with database("test") as connection:
        load_texts(connection, "corpus", str(tmp_path / "a.jsonl"))
        assert connection.execute("SELECT text FROM corpus").fetchall() == [("[1] {a}",)]
