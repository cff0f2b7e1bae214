"""The report's page in a browser: tables, figures, explorer, dark, 360 pixels, print."""

import base64
import json
import re
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.browser import CHROMIUM, Browser, Tab
from tests.test_explorer import explored, pairs_table
from tests.test_report import LOG, SUMMARY, made
from valuestrata.report import figures
from valuestrata.report.charts import page_specs
from valuestrata.report.explorer import without_small
from valuestrata.report.figures_training import training_figure
from valuestrata.report.page import Provenance, render_page
from valuestrata.report.panels import draw
from valuestrata.report.runs import tuned_runs
from valuestrata.report.settings import ReportSettings
from valuestrata.report.times import JobTime

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

MODELS = 6
JOBS = [JobTime("score", "a b", 100.0, 9.0, 50.0), JobTime("predict", "a", 7000.0, 1.0, 1000.0)]


@cache
def page_text() -> str:
    """A page of six models with figures, a judge and an explorer."""
    results = made(models=MODELS)
    settings = results.settings
    assert isinstance(settings, ReportSettings)
    drawings = {name: build(results) for name, build in figures.DRAWINGS.items()}
    panels = {  # as `draw_figures` has them, without the files, which take most of its time
        name: {
            "columns": drawing.columns,
            "panels": tuple(page_specs(drawing)),
            "notes": drawing.notes,
        }
        for name, drawing in drawings.items()
    }
    training = draw(lambda: training_figure(settings, dict.fromkeys(tuned_runs(settings), LOG)))
    provenance = Provenance({}, {}, {}, "1", facts=[("Seeds", "1")], study='{"a": "</pre>"}')
    pairs = explored(pairs_table(n=[40, 29, 40, 40]))
    return render_page(
        settings, results, SUMMARY, panels, training, [], provenance, pairs, jobs=JOBS
    )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(page_text(), encoding="utf-8")
    return f"file://{path}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"), tmp_path_factory.mktemp("downloads"))
    yield started
    started.close()


def opened(browser: Browser, url: str, width: int = 1280) -> Tab:
    tab = browser.open(url, width)
    tab.wait(lambda: tab.js("document.documentElement.dataset.drawn") == "yes")
    tab.wait(lambda: tab.js("document.getElementById('explore').dataset.ready") == "yes")
    return tab


@pytest.fixture(scope="module")
def tab(browser: Browser, url: str) -> Tab:
    return opened(browser, url)


def column(tab: Tab, title: str, index: int) -> list[str]:
    """The texts of a column of the table with a title, as shown."""
    rows = f"[...document.querySelectorAll('[aria-label={json.dumps(title)}] tbody tr')]"
    texts = f"{rows}.filter((r) => !r.hidden).map((r) => r.cells[{index}].innerText)"
    return [str(text).split("\n")[0] for text in tab.js(texts)]


def test_it_opens_with_sentences_one_picture_and_the_runs_and_asks_for_nothing(tab: Tab) -> None:
    assert 3 <= tab.js("document.querySelectorAll('.opening dt').length") <= 5
    text = tab.js("document.querySelector('main').innerText")
    assert text.startswith("ood, out of distribution: the subgroups of sex × age; no model was")
    assert tab.js("document.querySelectorAll('.opening svg').length") == 1
    assert tab.js("document.querySelector('#answer table').getBoundingClientRect().top") < 900
    assert tab.js("document.querySelectorAll('.panel:not(:has(svg))').length") == 0
    assert tab.js("document.querySelectorAll('.panel').length") > 15
    assert tab.js("[...document.images].length") == 0
    assert tab.problems() == []


def test_tables_sort_by_number_and_filter_rows(tab: Tab) -> None:
    title = "All runs on ood"
    first = column(tab, title, 2)
    assert len(first) == 2 * MODELS + 1
    head = f"[aria-label={json.dumps(title)}] thead th:nth-child(3) button"
    for sign, order in ((-1, "descending"), (1, "ascending")):
        tab.click(head)
        values = [float(text.split(" ")[0]) for text in column(tab, title, 2)]
        assert values == sorted(values, reverse=sign < 0)
        sort = f"document.querySelector({json.dumps(head)}).closest('th').ariaSort"
        assert tab.js(sort) == order
    tools = f"document.querySelector('[aria-label={json.dumps(title)}]').closest('.table')"
    tab.js(f"{tools}.querySelector('input').focus()")
    tab.write("model-3 sft")
    assert column(tab, title, 0) == ["model-3 sft"]
    assert f"1 of {len(first)} rows" in tab.js(f"{tools}.innerText")
    tab.js(f"{tools}.querySelector('input').value = ''; {tools}.querySelector('input').oninput()")
    # a duration sorts by its length, not by its first number
    tab.click("[aria-label='Time by stage'] thead th:nth-child(3) button")
    assert column(tab, "Time by stage", 0) == ["all", "predict", "score"]


def test_headers_and_row_names_stay_in_view_and_wide_tables_begin_narrow(tab: Tab) -> None:
    box = "document.querySelector('#results .scroll')"
    tab.js(f"{box}.style.maxHeight = '120px'; {box}.style.width = '400px'")
    tab.js(f"{box}.scrollTo(300, 200)")
    edges = tab.js(
        f"(() => {{ const b = {box}.getBoundingClientRect();"
        f"const h = {box}.querySelector('thead th:nth-child(4)').getBoundingClientRect();"
        f"const r = {box}.querySelector('tbody tr:nth-child(6) th').getBoundingClientRect();"
        "return [Math.abs(h.top - b.top), Math.abs(r.left - b.left)]; })()"
    )
    assert max(edges) < 3
    tab.js(f"{box}.style.maxHeight = {box}.style.width = ''")
    table = f"{box}.querySelector('table')"
    shown = f"[...{table}.tHead.rows[0].cells].filter((c) => c.offsetWidth).length"
    total = tab.js(f"{table}.tHead.rows[0].cells.length")
    assert tab.js(shown) == 8 < total
    tab.click("#results .tools .button")
    assert tab.js(shown) == total


def test_the_explorer_shows_people_model_prompt_reply_and_label(tab: Tab) -> None:
    text = tab.js("document.getElementById('pair').innerText")
    for part in ("1 = yes", "4 = no </script>", "62%", "mode", "its answer", "You are male.", "Q1?",
                 "Answer: 4", "2; n 40 people", "67% of the scale"):  # fmt: skip
        assert part in text, part
    choose = (
        "(name, value) => { const s = document.getElementById('explorer').elements[name];"
        "s.value = value; s.onchange(); }"
    )
    tab.js(f"({choose})('question', 1)")  # male and Q2: below the minimum
    assert "too small to show" in tab.js("document.getElementById('pair').innerText")
    tab.js(f"({choose})('subgroup', 1)")
    text = tab.js("document.getElementById('pair').innerText")
    assert "tied with another answer" in text
    assert "You are female." in text
    tab.click("#after")
    assert "You are male." in tab.js("document.getElementById('pair').innerText")
    assert tab.problems() == []


def test_replies_can_be_filtered_by_kind_and_words(tab: Tab) -> None:
    def listed(kind: str, words: str = "") -> list[str]:
        tab.js(
            f"document.getElementById('kind').value = '{kind}';"
            f"document.getElementById('words').value = '{words}';"
            "document.getElementById('kind').onchange()"
        )
        rows = "[...document.querySelectorAll('#replies tbody tr')].map((r) => r.innerText)"
        return [" ".join(str(row).split()) for row in tab.js(rows)]

    assert listed("unanswered") == []  # the refusal is of the hidden pair
    assert len(listed("all")) == 3
    errors = listed("errors")
    assert [row.split()[-3] for row in errors] == ["1.00", "0.67"]
    assert listed("all", "female Q2") == errors[:1]
    assert "1 of 1 shown; 3 pairs in all" in tab.js("document.getElementById('counted').innerText")
    tab.click("#replies tbody button")
    assert "You are female." in tab.js("document.getElementById('pair').innerText")


def test_dark_figures_have_light_text_and_nothing_is_drawn_anew(tab: Tab) -> None:
    ink = "getComputedStyle(document.querySelector('.opening svg text')).fill"
    light = tab.js(ink)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    tab.send("Emulation.setEmulatedMedia", features=dark)
    for selector in (".opening svg text", ".drawing svg text"):
        fill = tab.js(f"getComputedStyle(document.querySelector('{selector}')).fill")
        assert min(map(int, re.findall(r"\d+", fill)[:3])) > 140, selector
    tab.send("Emulation.setEmulatedMedia", features=[])
    assert tab.js(ink) == light
    assert max(map(int, re.findall(r"\d+", light)[:3])) < 110


def test_nothing_is_wider_than_a_telephone_or_cut_off_there(browser: Browser, url: str) -> None:
    tab = opened(browser, url, 360)
    assert tab.js("document.documentElement.scrollWidth") <= 360
    widths = tab.js("[...document.querySelectorAll('.panel')].map((p) => p.scrollWidth)")
    assert max(widths) <= 340
    tab.click("#unfold")
    assert tab.js(CUT_OFF) == []
    assert tab.problems() == []
    tab.close()


CUT_OFF = """[...document.querySelectorAll('.panel svg')].flatMap((svg) => {
  const box = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter((text) => {
    const { left, right } = text.getBoundingClientRect();
    return box.width && (right > box.right + 2 || left < box.left - 2);
  }).map((text) => text.textContent);
})"""


def test_no_title_or_number_of_a_figure_is_cut_off(browser: Browser, url: str) -> None:
    tab = opened(browser, url)
    tab.click("#unfold")
    assert tab.js(CUT_OFF) == []
    tab.close()


def test_stepping_through_pairs_that_are_all_hidden_does_not_hang(
    browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "index.html"
    path.write_text(without_small(page_text(), 1000), encoding="utf-8")
    tab = opened(browser, f"file://{path}")
    tab.click("#after")
    assert "too small to show" in tab.js("document.getElementById('pair').innerText")
    assert tab.problems() == []
    tab.close()


def test_print_cuts_no_column_and_leaves_the_page_as_it_was(browser: Browser, url: str) -> None:
    tab = opened(browser, url)
    tab.click("#unfold")
    columns = "[...document.querySelectorAll('.table table')].map((t) => t.rows[0].cells.length)"
    before = tab.js(columns)
    tab.js("dispatchEvent(new Event('beforeprint'))")
    tab.send("Emulation.setEmulatedMedia", media="print")
    size = {"width": 1032, "height": 703, "deviceScaleFactor": 1, "mobile": False}
    tab.send("Emulation.setDeviceMetricsOverride", **size)
    wide = tab.js(
        "[...document.querySelectorAll('table')].filter((t) => t.getBoundingClientRect().right"
        " > innerWidth + 1).map((t) => t.caption.innerText)"
    )
    assert wide == []
    parts = tab.js("document.querySelectorAll('table.printed').length")
    assert parts > 2  # wide tables have become several
    sizes = tab.js(
        "['td', 'small'].map((n) => parseFloat(getComputedStyle("
        "document.querySelector('#answer ' + n)).fontSize))"
    )
    assert sizes[1] < sizes[0]
    assert tab.js("getComputedStyle(document.getElementById('explore')).display") == "none"
    tab.js("dispatchEvent(new Event('afterprint'))")
    tab.send("Emulation.setEmulatedMedia", media="")
    assert tab.js(columns) == before
    pdf = base64.b64decode(tab.send("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert pdf.startswith(b"%PDF")
    assert len(_media_boxes(pdf)) > 5
    assert tab.problems() == []
    tab.close()


def test_the_head_of_a_long_table_is_printed_on_every_page(browser: Browser, url: str) -> None:
    tab = opened(browser, url)
    tab.js(
        "document.head.append(make('style', {textContent: 'thead tr { background: #010203;"
        " print-color-adjust: exact }'}));"
        "{ const body = document.querySelector('#answer tbody'), row = body.rows[0];"
        "document.querySelectorAll('thead').forEach((head) => head !== body.previousElementSibling"
        " && head.remove());"
        "for (let i = 0; i < 150; i++) body.append(row.cloneNode(true)); }"
    )
    pdf = base64.b64decode(
        tab.send("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"]
    )
    colour = re.compile(rb"\.0039\d* \.0078\d* \.011[78]\d* rg")
    assert sum(bool(colour.search(text)) for text in _texts(pdf)) > 5
    tab.close()


def test_of_two_selections_in_flight_the_later_one_is_shown(
    browser: Browser, tmp_path: Path
) -> None:
    """Runs of other names and answers, whose parts come in another order than they were chosen."""
    text = page_text()
    start = text.index('id="data-explorer">') + len('id="data-explorer">')
    end = text.index("<", start)
    content = json.loads(text[start:end])
    (entry,) = content["runs"]["ood"]
    entries = [{**entry, "name": f"run {i}", "part": f"part-{i}"} for i in range(3)]
    content["runs"]["ood"] = [entry, *entries]
    path = tmp_path / "index.html"
    path.write_text(text[:start] + json.dumps(content) + text[end:], encoding="utf-8")
    tab = opened(browser, f"file://{path}")
    tab.js(
        "unpack('run-0').then((text) => { window.seen = JSON.parse(text); });"
        "window.late = {};"
        "unpack = (name) => new Promise((done) => { late[name] = (answer) =>"
        " done(JSON.stringify({ ...seen, answer: seen.answer.map(() => answer) })); });"
    )
    tab.wait(lambda: tab.js("'seen' in window"))
    shown = "document.getElementById('pair').innerText"
    for i in (1, 2, 3):
        tab.js(
            "{ const run = document.getElementById('explorer').elements.run;"
            f"run.value = {i}; run.onchange(); }}"
        )
    for part, answer, sees in ((1, 71, False), (2, 72, True), (0, 73, False)):
        tab.js(f"late['part-{part}']({answer}); new Promise((done) => setTimeout(done, 50))")
        if sees:
            tab.wait(lambda: "Its answer: 72" in tab.js(shown))
        assert (f"Its answer: {answer}" in tab.js(shown)) == sees
    assert tab.problems() == []
    tab.close()


def _media_boxes(pdf: bytes) -> list[bytes]:
    """The page sizes that a PDF names."""
    return [box for text in _texts(pdf) for box in re.findall(rb"/MediaBox ?\[[^\]]*\]", text)]


def _texts(pdf: bytes) -> list[bytes]:
    """A PDF as it is, and each of its compressed objects."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, flags=re.DOTALL)
    texts = [pdf]
    for stream in streams:
        try:
            texts.append(zlib.decompress(stream))
        except zlib.error:
            continue
    return texts


def test_the_page_forbids_itself_every_request() -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page_text())
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe-eval" not in policy[1]
    assert Path(__file__).name not in page_text()
