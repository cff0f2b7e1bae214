"""The annotators' page in a browser, from the instructions to the csv file."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.browser import CHROMIUM, Browser, Tab
from tests.judged import NASTY
from valuestrata.annotation import page, sample

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

SURVEY = 'How 40 people answered "Well?":\n- <b>yes</b>: 60%'
CRITERIA = {"Value": "which fits better.", "Overall": "which is better."}
TEXTS = [
    NASTY,
    "w" * 500,
    "我认为家庭很重要。\n\n<b>bold</b> & \\u003c",
    "\u202eright to left",
    "{{ 7 * 7 }}",
]


def pairs(n: int) -> pd.DataFrame:
    rows = [
        {
            "model": "m", "variant": "sft", "split": "ood", "stratum": "s", "subgroup": "g",
            "question": f"Q{i}", "persona": f"You are {TEXTS[i % 5]}", "prompt": f"What of {i}?",
            "text": f"{TEXTS[i % 5]} the run's {i}", "reference": f"{TEXTS[i % 5]} the other {i}",
        }
        for i in range(n)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def drawn() -> tuple[str, pd.DataFrame]:
    return sample.named(sample.draw(pairs(5), 5, 1), "s")


@pytest.fixture(scope="module")
def url(drawn: tuple[str, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> str:
    name, chosen = drawn
    task = page.Task("Which is better?", name, CRITERIA, "Be fair: {first} or {second}?", 2, "toys")
    path = tmp_path_factory.mktemp("page") / "page.html"
    told = [SURVEY if i == 1 else "" for i in range(len(chosen))]
    items = sample.shown_items(chosen.assign(distribution=told))
    path.write_text(page.render(task, items), encoding="utf-8")
    return f"file://{path}"


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads: Path) -> Iterator[Browser]:
    """One for all tests: each annotates under a name of its own."""
    browser = Browser(downloads / "profile", downloads)
    yield browser
    browser.close()


def begin(browser: Browser, url: str, annotator: str, width: int = 1280) -> Tab:
    tab = browser.open(url, width)
    tab.js("document.getElementById('name').focus()")
    tab.write(annotator)
    tab.click("button[type=submit]")
    return tab


def where(tab: Tab) -> str:
    return str(tab.js("document.getElementById('where').textContent"))


def pressed(tab: Tab) -> list[str]:
    return list(tab.js("[...document.querySelectorAll('[aria-pressed=true]')].map(b => b.value)"))


def downloaded(tab: Tab, path: Path) -> list[dict[str, str]]:
    path.unlink(missing_ok=True)
    tab.click("#end:not([hidden]) .download, #bar .download")
    tab.wait(path.exists)
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_from_the_instructions_by_keyboard_to_the_csv(
    browser: Browser, url: str, drawn: tuple[str, pd.DataFrame], downloads: Path
) -> None:
    name, chosen = drawn
    tab = browser.open(url)
    text = tab.js("document.body.innerText")
    assert all(part in text for part in (*CRITERIA, *CRITERIA.values(), "5 pairs", "tie"))
    tab = begin(browser, url, "Zoë 1")
    choices = [("a", "b"), ("t", "t"), ("b", "a"), ("A", "T"), ("b", "b")]
    for i, keys in enumerate(choices):
        assert where(tab) == f"Pair {i + 1} of 5 · {i} finished"
        for key in keys:
            tab.key(key)
        tab.key("ArrowRight")
    assert "All 5 pairs are finished" in tab.js("document.getElementById('end').innerText")
    rows = downloaded(tab, downloads / f"{name}-Zoë_1.csv")
    assert list(rows[0]) == ["sample_id", "annotator", "dimension", "choice", "seconds"]
    assert [row["sample_id"] for row in rows] == [i for i in chosen["sample_id"] for _ in CRITERIA]
    assert {row["annotator"] for row in rows} == {"Zoë 1"}
    assert [row["dimension"] for row in rows] == [*CRITERIA] * 5
    spoken = {"a": "A", "b": "B", "t": "tie"}
    assert [row["choice"] for row in rows] == [spoken[k.lower()] for pair in choices for k in pair]
    assert all(0 <= float(row["seconds"]) < 60 for row in rows)
    assert tab.problems() == []


def test_survey_answers_stand_above_the_pairs_that_have_them(browser: Browser, url: str) -> None:
    tab = begin(browser, url, "told")
    for i in range(3):
        text = tab.js("document.querySelector('.context').innerText")
        assert ("- <b>yes</b>: 60%" in text) == (i == 1)
        assert ("survey says" in text) == (i == 1)
        tab.key("ArrowRight")


def test_texts_are_shown_as_they_are_and_run_nothing(
    browser: Browser, url: str, drawn: tuple[str, pd.DataFrame]
) -> None:
    tab = begin(browser, url, "z")
    for item in sample.shown_items(drawn[1]):
        for place, part in (("text-a", "a"), ("text-b", "b"), ("persona", "persona")):
            shown = tab.js(f"document.getElementById('{place}').textContent")
            assert shown == item[part]
        tab.key("ArrowRight")
    assert tab.js("document.title") != "hacked"
    assert tab.js("document.querySelectorAll('img').length") == 0
    # not even what gets into the page runs or is fetched
    tab.js(f"document.getElementById('count').innerHTML = {NASTY[9:]!r}")
    tab.js("1")
    assert tab.js("document.title") != "hacked"


def test_answers_outlive_the_tab_and_the_browser(url: str, tmp_path: Path) -> None:
    browser = Browser(tmp_path / "profile", tmp_path)
    tab = begin(browser, url, "anna")
    for key in ("a", "a", "ArrowRight", "t"):
        tab.key(key)
    tab.close()
    tab = begin(browser, url, "ben")  # another annotator starts afresh
    assert where(tab) == "Pair 1 of 5 · 0 finished"
    tab.key("b")
    tab.close()
    browser.close()
    again = Browser(tmp_path / "profile", tmp_path)
    tab = again.open(url)
    names = tab.js("[...document.querySelectorAll('#saved button')].map(b => b.textContent)")
    assert sorted(names) == ["Go on as anna (1 of 5)", "Go on as ben (0 of 5)"]
    place = [name.split()[3] for name in names].index("anna") + 1
    tab.click(f"#saved button:nth-child({place})")
    assert where(tab) == "Pair 2 of 5 · 1 finished"
    assert pressed(tab) == ["tie"]
    rows = downloaded(tab, tmp_path / f"{title(tab)}-anna.csv")
    assert [row["choice"] for row in rows] == ["A", "A", "tie"]
    again.close()


def title(tab: Tab) -> str:
    return str(tab.js("JSON.parse(document.getElementById('data').textContent).sample"))


def test_a_choice_can_be_changed_and_its_time_adds_up(
    browser: Browser, url: str, downloads: Path
) -> None:
    tab = begin(browser, url, "carl")
    tab.js("{ const end = performance.now() + 300; while (performance.now() < end); }")
    tab.key("a")
    tab.js("{ const end = performance.now() + 200; while (performance.now() < end); }")
    for key in ("1", "b"):  # the first point again
        tab.key(key)
    assert pressed(tab) == ["B"]
    (row,) = downloaded(tab, downloads / f"{title(tab)}-carl.csv")
    assert row["choice"] == "B"
    assert 0.4 <= float(row["seconds"]) < 30
    tab.click("#back")
    assert where(tab).startswith("Pair 1 ")
    tab.key("ArrowLeft")
    assert where(tab).startswith("Pair 1 ")


def test_open_pairs_are_counted_at_the_end(browser: Browser, url: str) -> None:
    tab = begin(browser, url, "dora")
    for key in ("a", "a", *["ArrowRight"] * 5):
        tab.key(key)
    assert "1 of 5 pairs are finished, 4 are open" in tab.js(
        "document.getElementById('end').innerText"
    )
    tab.click("#open")
    assert where(tab).startswith("Pair 2 ")
    tab.click("#help")
    assert "How to judge" in tab.js("document.body.innerText")
    tab.click("#saved button")
    assert where(tab).startswith("Pair 2 ")


def test_it_fits_a_phone_in_light_and_dark(browser: Browser, url: str) -> None:
    tab = begin(browser, url, "eve", width=360)
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        tab.send("Emulation.setEmulatedMedia", features=[feature])
        for _ in range(6):
            assert tab.js("document.documentElement.scrollWidth") <= 360
            heights = tab.js(
                "[...document.querySelectorAll('button')].filter(b => b.offsetParent)"
                ".map(b => b.getBoundingClientRect().height)"
            )
            assert min(heights) >= 44
            tab.key("ArrowRight")
        color = re.findall(r"\d+", tab.js("getComputedStyle(document.body).backgroundColor"))
        assert (sum(map(int, color[:3])) < 200) == (scheme == "dark")
        tab.click("#open")
    tab.click("#point-1 button[value=tie]")
    assert pressed(tab) == ["tie"]
    assert tab.problems() == []


def test_a_browser_without_storage_says_so_and_still_saves(
    browser: Browser, url: str, downloads: Path
) -> None:
    tab = browser.open(url)
    tab.js("Storage.prototype.setItem = () => { throw new Error('full') }")
    tab.js("Storage.prototype.getItem = () => { throw new Error('none') }")
    tab.js("document.getElementById('name').focus()")
    tab.write("finn")
    tab.click("button[type=submit]")
    tab.key("b")
    assert "does not keep your answers" in tab.js("document.body.innerText")
    tab.click("#help")
    tab.click("#saved button")
    (row,) = downloaded(tab, downloads / f"{title(tab)}-finn.csv")
    assert row["choice"] == "B"


def test_a_name_that_a_spreadsheet_would_run_is_refused(browser: Browser, url: str) -> None:
    for name in ("=1+1", "@x", "-1", " ", "a,b"):
        tab = begin(browser, url, name)
        assert tab.js("document.getElementById('pair').hidden"), name
        tab.close()
