"""The page in a real browser: everything is drawn, nothing of the data runs, nothing is fetched."""

import io
import json
import shutil

import pyarrow as pa
import pytest
from rich.console import Console

from reranker_core import __version__
from reranker_core.checks import Check, Report
from reranker_core.errors import Incomplete, LimitExceeded, QuarantineExceeded
from reranker_core.output.attempts import Recorder
from reranker_core.output.manifest import PAGE, SUCCESS, conclude
from reranker_core.report.glance import Figure, figures
from reranker_core.report.night import PREFLIGHT, read_night
from reranker_core.report.outcome import outcome
from reranker_core.report.page import page, write_page
from reranker_core.report.provenance import software
from reranker_core.report.rate import duration
from reranker_core.report.sections import sections
from reranker_core.report.sections.run import gpu_and_cpu_hours
from reranker_core.report.text import print_night
from tests.marks import more
from tests.nights import night
from tests.tables import flat, write

RUN = "document.title='run'"
HOSTILE = SHORT = f'<script>{RUN}</script><img src=x onerror="{RUN}">$a_b$&\''
# Other ways out: of an attribute, of the style, of a comment, of a template, of text in an SVG.
HOSTILE += (
    f'" onmouseover="{RUN}" \'{{{{ 7 * 191 }}}}{{% raw %}}</style></svg>--><svg onload={RUN}>'
)
HOSTILE += f'<a href="javascript:{RUN}">]]></title></textarea>\u2028\u202e\x01'
DRIFT = {
    "against": HOSTILE,
    "sampled": 1.0,
    "pairs_before": 9,
    "pairs_after": 9,
    "common": 9,
    "gone": 0.0,
    "new": 0.0,
    "changed": 0.5,
    "distance": 0.2,
    "noise": 0.01,
    "span": 4.0,
    "quantiles": {"before": [0, 1, 2, 3, 4], "after": [1, 2, 3, 4, 5]},
    "queries": 4,
    "rank_correlation": 0.4,
    "overlap": None,
    "overlap_queries": 0,
    "odd_shards": {HOSTILE: 0.1},
    "movers": [{"query_id": HOSTILE, "doc_id": HOSTILE, "before": 1.0, "after": 2.0}],
    "mixes": [HOSTILE],
    "settings": [HOSTILE],
}

COMPARED = {"measure": HOSTILE, "queries": 2, "before": 0.1, "after": 0.2, "low": None, "high": 1.0}
QUALITY = {
    "share_of_queries": 0.5,
    "judged": 2,
    "absent": 1,
    "comparisons": [COMPARED],
    "groups": {HOSTILE: [COMPARED]},
    "worst": [[HOSTILE, -0.5]],
}


def told(output):
    return outcome(read_night(output.store))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """An output whose every name, id and message is markup."""
    folder = tmp_path_factory.mktemp("hostile")
    for number in range(3):
        table = flat(40, query_id=[f"{HOSTILE}{row}" for row in range(40)])
        write(folder / "in" / f"{number}{SHORT.replace('/', '_')}.parquet", table)
    output = night(folder, bad=3, replica=HOSTILE, source=folder / "in")
    settings = output.config.model_dump(mode="json")
    settings |= {HOSTILE: {HOSTILE: HOSTILE}, "model": {"path": HOSTILE, "revision": [HOSTILE]}}
    facts = {"software": {HOSTILE: HOSTILE}, "configuration": settings}
    with pytest.raises(Incomplete), Recorder(output.store, 2, 0.0, **facts):
        raise Incomplete(HOSTILE)
    facts = {"not_kept": [HOSTILE], "scored_as": HOSTILE, "model": {"path": HOSTILE}}
    conclude(
        output.store,
        output.run,
        output.config,
        facts,
        lambda _: {"drift": DRIFT, "quality": QUALITY},
    )
    write_page(output.store, read_night(output.store))
    return output


@pytest.fixture(scope="module")
def browser():
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no chromium here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (380, "light"),
        (1200, "dark"),
        more(380, "dark"),
        more(1200, "light"),
    ],
)
def test_a_browser_shows_all_of_the_page_and_runs_nothing_of_the_data(
    hostile, browser, scheme, width
):
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    shown = context.new_page()
    problems, requests = [], []
    shown.on("console", lambda message: problems.append(message.text))
    shown.on("pageerror", lambda error: problems.append(str(error)))
    shown.on("request", lambda request: requests.append(request.url))
    shown.goto(f"file://{hostile.store.path(PAGE)}")
    assert (problems, len(requests)) == ([], 1)
    assert shown.title().startswith("COMPLETE, WITH REMARKS")
    assert shown.locator("script, img, iframe, link, textarea").count() == 0
    ours = "[...document.querySelectorAll('*')].flatMap((e) => [...e.attributes])"
    assert shown.evaluate(f"{ours}.filter((a) => a.name.startsWith('on')).length") == 0
    assert shown.evaluate(f"{ours}.filter((a) => /^javascript:/i.test(a.value)).length") == 0
    assert "1337" not in shown.locator("body").inner_text()
    for each in shown.locator("a").all():
        each.dispatch_event("mouseover")
    assert shown.title().startswith("COMPLETE, WITH REMARKS")
    # Nothing is wider than the window: tables that are wide scroll by themselves.
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    charts = shown.locator("svg")
    assert charts.count() == 4
    for chart in charts.all():
        box = chart.bounding_box()
        assert box["width"] > 300
        assert box["height"] > 40
        marks = "path[d], use"
        assert (
            chart.evaluate(
                f"(e) => [...e.querySelectorAll('{marks}')].filter("
                "(m) => m.getBoundingClientRect().width > 1).length"
            )
            > 3
        )
        assert chart.locator("text").count() > 3
        # Ink on paper, in both schemes.
        ink = chart.locator("text").first.evaluate("(e) => getComputedStyle(e).fill")
        paper = shown.evaluate("getComputedStyle(document.body).backgroundColor")
        assert "#fff" not in chart.inner_html().replace("'", '"')
        assert abs(brightness(ink) - brightness(paper)) > 120
    headings = shown.locator("h2").all_inner_texts()
    assert headings == [
        "Pairs without a score",
        "Compared with the earlier output",
        "Quality",
        "Scores",
        "Shards",
        "Time and resources",
        "What ran",
        "Preflight",
        "Configuration",
    ]
    alarms = shown.locator(".figures .alarm strong").all_inner_texts()
    assert alarms == ["3", "0.400"]
    for heading in shown.locator("h2, dt, td:not(:empty), .figures li").all():
        assert heading.bounding_box()["height"] > 0
    context.close()


def brightness(color):
    channels = [float(part) for part in color[color.index("(") + 1 : -1].split(",")[:3]]
    return sum(channels) / 3


def test_links_lead_to_the_lists_of_pairs_without_a_score(hostile, browser):
    shown = browser.new_page()
    shown.goto(f"file://{hostile.store.path(PAGE)}")
    shown.locator("td a").first.click()
    assert json.loads(shown.locator("body").inner_text().splitlines()[0])["reason"] == "not_finite"


def test_markup_is_escaped_in_the_source_and_the_policy_lets_no_script_run(hostile):
    source = page(read_night(hostile.store))
    assert "<script" not in source
    assert "<img" not in source
    assert "default-src &#39;none&#39;" in source or "default-src 'none'" in source


def test_the_text_says_the_same_without_markup_of_its_own(hostile):
    console = Console(file=io.StringIO(), width=10_000)
    print_night(read_night(hostile.store), console)
    text = console.file.getvalue()
    assert "COMPLETE, WITH REMARKS: 117 of 120 pairs have a score; 3 pairs without" in text
    assert HOSTILE in text
    assert "Compared with the earlier output" in text


def test_a_clean_night_is_good_and_an_outlier_is_named(tmp_path):
    clean = night(tmp_path / "a")
    conclude(clean.store, clean.run, clean.config, {})
    assert str(told(clean)) == "GOOD: 120 of 120 pairs have a score; every part is proven."
    write(tmp_path / "b" / "in" / "odd.parquet", flat(40, first=900))
    odd = night(tmp_path / "b")
    for part in odd.plan.parts:
        if part.shard_name == "odd.parquet":
            odd.store.delete(f"{part.name}.parquet")
            odd.commit(part, noise=50.0)
    conclude(odd.store, odd.run, odd.config, {})
    assert told(odd).level == "look"
    assert "1 shard with unusual scores (" in told(odd).sentence
    assert "odd.parquet" in told(odd).sentence


def test_what_is_not_finished_is_said_with_the_last_attempt(tmp_path):
    output = night(tmp_path)
    assert told(output).word == "NOT FINISHED"
    for receipt in [each.name for each in output.store.list("_receipts")][:2]:
        output.store.delete(receipt)
    with pytest.raises(Incomplete), Recorder(output.store, 2, 0.0):
        raise Incomplete("the store does not answer")
    assert "28 parts are committed. The last attempt ended with exit code 5: the store" in str(
        told(output)
    )
    Recorder(output.store, 3, 0.0).__enter__()
    assert "was killed or is running" in told(output).sentence


def test_figures_of_an_attempt_that_was_killed_are_marked_and_its_rate_does_not_count(tmp_path):
    output = night(tmp_path)
    whole = facts_of(output, "Time and resources")
    assert not any("at least" in value for value in whole.values())
    assert "not in these records" not in whole
    record = json.loads(output.store.read("_attempts/000001.json"))
    ended = record | {"number": 2, "parts": 8, "pairs": 32, "seconds": 4.0, "scoring_seconds": 4.0}
    ended["loading_seconds"] = 0.0
    killed = record | {"parts": 1, "pairs": 4, "seconds": 40.0, "end": None, "outcome": None}
    killed |= {"scoring_seconds": 0.5, "waiting_seconds": 0.1}
    for each in (killed | {"replicas": []}, ended):  # killed before its second record
        output.store.write(f"_attempts/{each['number']:06}.json", json.dumps(each).encode())
    rate = "8.0 pairs/s, loading included, of the attempts that recorded their end"
    assert facts_of(output, "Time and resources")["rate"] == rate
    for each in (killed, ended):
        output.store.write(f"_attempts/{each['number']:06}.json", json.dumps(each).encode())
    facts = facts_of(output, "Time and resources")
    assert facts["working time"] == "at least 44 s in 2 attempts"
    assert facts["rate"] == rate
    assert facts["not in these records"].startswith("21 parts with 84 pairs; attempt 1 did not")
    hours = (3 + 30 * (0.5 + 0.1)) / 3600  # loading as recorded, the rest of all receipts
    assert facts["CPU hours"] == f"at least {hours:.2f}"
    read = read_night(output.store)
    assert sum(gpu_and_cpu_hours(read)) == pytest.approx(hours)
    first = next(s for s in sections(read) if s.title == "Time and resources").rows[0]
    assert first[2:6] == ("at least 40 s", "at least 1 of 3", "at least 4", "")
    assert Figure("working time", "at least 44 s", "2 attempts") in figures(read)
    output.store.delete("_attempts/000002.json")
    assert facts_of(output, "Time and resources")["rate"].endswith("by the last record")


def facts_of(output, title):
    found = next(s for s in sections(read_night(output.store)) if s.title == title)
    return dict(found.facts)


def test_the_version_of_an_unfinished_output_is_that_of_its_last_attempt(tmp_path):
    output = night(tmp_path)
    assert "software" not in facts_of(output, "What ran")  # of earlier versions
    Recorder(output.store, 2, 0.0, software=software()).__enter__()
    assert facts_of(output, "What ran")["software"].startswith(f"batch-reranker {__version__}, ")


def test_pairs_of_an_unfinished_output_are_those_of_its_committed_parts(tmp_path):
    output = night(tmp_path)
    assert facts_of(output, "Scores")["pairs scored"].endswith(" in the committed parts")
    conclude(output.store, output.run, output.config, {})
    assert "committed" not in facts_of(output, "Scores")["pairs scored"]


def test_replicas_that_were_set_aside_are_named_with_their_gpu_and_the_reason(tmp_path):
    output = night(tmp_path)
    recorder = Recorder(output.store, 2, 0.0)
    gpu = {"replica": "h:7", "node": "h (1)", "device": "GPU 3 of node h (1)", "reason": "<ECC>"}
    with recorder:
        recorder.aside([], [gpu])
    conclude(output.store, output.run, output.config, {})
    found = read_night(output.store)
    assert "1 replica set aside" in outcome(found).sentence
    assert "h:7 on GPU 3 of node h (1): &lt;ECC&gt;" in page(found)


def test_a_refused_model_and_exceeded_limits_are_no_success(tmp_path):
    output = night(tmp_path, bad=2)
    strict = output.config.guard.model_copy(update={"max_quarantined_fraction": 0.0})
    with pytest.raises(QuarantineExceeded):
        conclude(output.store, output.run, output.config.model_copy(update={"guard": strict}), {})
    assert "exit code 4" in told(output).sentence
    exceeded = {"exceeded": ["the scores moved."]}
    with pytest.raises(LimitExceeded, match=r"moved\. .*_report\.html") as caught:
        conclude(output.store, output.run, output.config, {}, lambda _: exceeded)
    assert caught.value.exit_code == 7
    assert not output.store.exists(SUCCESS)
    assert str(told(output)).startswith("NOT ACCEPTED: the scores moved. To accept")
    failed = Check("weights", "finite", False, "NaN", "none", "Replace the file.")
    refused = json.dumps({"refused": Report((failed,)).as_dict()})
    output.store.write(PREFLIGHT, refused.encode())
    assert "weights/finite" in told(output).sentence


def test_a_manifest_of_an_earlier_run_is_not_taken_for_this_one(tmp_path):
    output = night(tmp_path)
    conclude(output.store, output.run, output.config, {})
    output.store.delete(SUCCESS)  # as a run does that begins again
    Recorder(output.store, 2, 0.0).__enter__()
    assert told(output).word == "NOT FINISHED"


def test_an_output_of_an_earlier_version_has_a_page(tmp_path):
    output = night(tmp_path)
    for name in [each.name for each in output.store.list("_attempts")] + [PREFLIGHT]:
        output.store.delete(name)
    conclude(output.store, output.run, output.config, {})
    manifest = json.loads(output.store.read("_manifest.json"))
    for name in ("attempts", "exceeded"):
        manifest.pop(name, None)
    output.store.write("_manifest.json", json.dumps(manifest).encode())
    assert told(output).word == "GOOD"
    assert "<h2>Scores</h2>" in page(read_night(output.store))


def test_an_output_without_rows_has_a_page(tmp_path):
    write(tmp_path / "in" / "a.parquet", flat(0).cast(flat(1).schema))
    output = night(tmp_path, source=tmp_path / "in")
    conclude(output.store, output.run, output.config, {})
    assert told(output).sentence == "0 of 0 pairs have a score; the input has no pairs."
    assert "of the computed tokens" not in page(read_night(output.store))


def test_a_night_of_which_no_pair_has_a_score_has_a_page(tmp_path):
    output = night(tmp_path, shards=1, rows=4, bad=4)
    conclude(output.store, output.run, output.config, {})
    assert told(output).sentence == "0 of 4 pairs have a score; 4 pairs without a score."
    assert "not_finite" in page(read_night(output.store))


def test_files_that_are_lost_after_the_night_make_it_no_good_one(tmp_path):
    output = night(tmp_path)
    conclude(output.store, output.run, output.config, {})
    first, second, third, *_ = [part.name for part in output.plan.parts]
    output.store.delete(f"_receipts/{third}.json")
    assert str(told(output)).startswith("DAMAGED: 29 of 30 parts have a receipt.")
    output.store.delete(f"{first}.parquet")
    output.store.write(f"{second}.parquet", b"PAR1")
    assert str(told(output)).startswith(
        f"DAMAGED: 2 data files missing or changed since the commit, such as {first}"
    )


def test_a_part_that_was_damaged_and_scored_again_is_whole(tmp_path):
    output = night(tmp_path)
    conclude(output.store, output.run, output.config, {})
    part = output.plan.parts[0].name
    stale = json.loads(output.store.read(f"_receipts/{part}.json")) | {"size": 1, "md5": "0"}
    output.store.write("_receipts/batch-000001.jsonl", json.dumps(stale).encode())
    found = read_night(output.store)
    assert (found.damaged, found.totals.parts) == ([], len(output.plan.parts))


def test_companions_of_another_version_or_by_another_hand_are_left_out(tmp_path):
    output = night(tmp_path, bad=2)
    odd = {"drift": {"x": 1}, "quality": None, "attempts": [1]}
    conclude(output.store, output.run, output.config, {})
    manifest = json.loads(output.store.read("_manifest.json")) | odd
    output.store.write("_manifest.json", json.dumps(manifest).encode())
    for listed in output.store.list("_quarantine"):
        output.store.write(listed.name, b'[1]\n"x"\n{}\n')
    assert "<h2>Scores</h2>" in page(read_night(output.store))


def test_scores_that_are_all_equal_are_named(tmp_path):
    write(tmp_path / "in" / "a.parquet", flat(40, doc_id=["d"] * 40))
    output = night(tmp_path, source=tmp_path / "in")
    conclude(output.store, output.run, output.config, {})
    assert told(output).sentence == "40 of 40 pairs have a score; all scores are equal."


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59.6, "1 min"), (3661, "1 h 1 min")])
def test_durations_are_said_in_units(seconds, words):
    assert duration(seconds) == words


def test_ids_may_be_bytes_and_numbers(tmp_path):
    ids = pa.array([b"\xff\xfe", b"a"] * 20, pa.binary())
    write(tmp_path / "in" / "a.parquet", flat(40, query_id=ids, doc_id=list(range(40))))
    output = night(tmp_path, bad=2, source=tmp_path / "in")
    conclude(output.store, output.run, output.config, {})
    assert "fffe" in page(read_night(output.store))
