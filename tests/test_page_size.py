"""A large study's page: 20 runs, 98 subgroups, 214 questions; its size and the time it takes."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.browser import CHROMIUM, Browser
from tests.test_report import LOG, SUMMARY, diversity, made, make_settings, null, number
from valuestrata import tables as contracts
from valuestrata.contracts import check
from valuestrata.report import figures
from valuestrata.report.explorer import explorer
from valuestrata.report.page import Provenance, render_page
from valuestrata.report.results import Results
from valuestrata.report.runs import all_runs, run_keys, tuned_runs
from valuestrata.report.settings import ReportSettings

SPLITS = {"train": 50, "ood": 48}
QUESTIONS = [f"Q{i}" for i in range(1, 215)]
N_CODES = 5
MOST_SECONDS = 20
MOST_BYTES = 12_000_000


def large_settings() -> ReportSettings:
    """Ten models, each base and tuned."""
    return make_settings(models=10, judge=False)


def subgroups(split: str) -> list[str]:
    return [f"sex={split} {i} & age=group {i % 7}" for i in range(SPLITS[split])]


def large_results(settings: ReportSettings) -> Results:
    """Every table as large as the study makes it."""
    results = made(models=10, judge=False)
    groups, fairness = [], []
    for run in all_runs(settings):
        for split in SPLITS:
            key = {"model": run[0], "variant": run[1], "split": split, "level": "subgroups"}
            for metric in ("accuracy", "nmae"):
                names = subgroups(split)
                rows = ({**key, "group": g, "metric": metric, **number(0.5)} for g in names)
                groups += rows
                for statistic in ("norm_range", "cv"):
                    ends = {"best_group": names[0], "worst_group": names[1], "n_groups": len(names)}
                    what = {"metric": metric, "statistic": statistic}
                    fairness.append({**key, **what, **number(0.3), **null(0.1), **ends})
    cells = [
        {"stratum": f"s{s}" if s else "mean", "question": q, "block": f"block {i % 13}",
         "measure": "mds", **number(0.4), **null(0.2)}
        for s in range(11) for i, q in enumerate(QUESTIONS)
    ]  # fmt: skip
    frames = {
        "groups": (groups, contracts.GROUPS),
        "fairness": (fairness, contracts.FAIRNESS),
        "diversity": ([*diversity(), *cells], contracts.DIVERSITY),
    }
    tables = {
        name: check(pd.DataFrame(rows, columns=contract.names), contract)
        for name, (rows, contract) in frames.items()
    }
    old = {name: value for name, value in vars(results).items() if not name.startswith("_")}
    return Results(**{**old, **tables, "settings": settings})


def pairs_of(split: str) -> pd.DataFrame:
    """Every subgroup with every question, answers drawn at random."""
    random = np.random.default_rng(1)
    frame = pd.MultiIndex.from_product([subgroups(split), QUESTIONS]).to_frame(index=False)
    frame.columns = ["subgroup", "question"]
    shares = random.dirichlet(np.ones(N_CODES), len(frame))
    first = "You are a person living in Singapore. About you: "
    return frame.assign(
        stratum="sex-x-age", block="block", measurement_level="ordinal", scale_min=1,
        scale_max=N_CODES, mode=shares.argmax(axis=1) + 1, tied=False,
        codes=[list(range(1, N_CODES + 1))] * len(frame),
        labels=[["very", "rather", "so so", "little", "not"]] * len(frame),
        distribution=list(shares), n=50, respondents=60,
        persona=first + frame["subgroup"], closed_prompt="How important? " + frame["question"],
    )  # fmt: skip


def predictions_of(pairs: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A third of the replies are no answer, each with a text of its own."""
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.ones(N_CODES), len(pairs))
    answers = random.integers(1, N_CODES + 1, len(pairs))
    is_answer = random.random(len(pairs)) > 1 / 3
    texts = [
        f"Answer: {answer}" if ok else f"I would rather not say what {i} of {seed} is, as " * 3
        for i, (answer, ok) in enumerate(zip(answers, is_answer, strict=True))
    ]
    return pairs[["stratum", "subgroup", "question", "codes"]].assign(
        text=texts,
        outcome=np.where(is_answer, "answer", "invalid"),
        answer=pd.Series(answers, dtype="Int64").where(is_answer),
        distribution=list(shares),
    )


@pytest.mark.slow
def test_a_large_study_s_page_is_built_and_opened_quickly(tmp_path: Path) -> None:
    settings = large_settings()
    results = large_results(settings)
    drawn = figures.draw_figures(results, dict.fromkeys(tuned_runs(settings), LOG))
    panels = {
        name: {"columns": figure.columns, "panels": figure.panels, "notes": figure.notes}
        for name, figure in drawn.items()
        if figure.panels
    }
    pairs = {(split, ""): pairs_of(split) for split in SPLITS}
    runs = run_keys(settings)
    answered = {run: predictions_of(pairs[run[2], ""], i) for i, run in enumerate(runs)}
    questions = pd.DataFrame({"question": QUESTIONS, "topic": "a topic"})
    start = time.process_time()
    explored = explorer(settings, questions, pairs, answered)
    svg = drawn["training"].files["svg"].decode()
    provenance = Provenance({}, {}, {}, "1")
    page = render_page(settings, results, SUMMARY, panels, svg, [], provenance, explored)
    seconds = time.process_time() - start
    print(f"{len(page):,} characters, {seconds:.1f} s, {explored.n_left_out:,} texts left out")
    assert seconds <= MOST_SECONDS
    assert len(page) <= MOST_BYTES
    assert explored.n_left_out > 0
    assert f"{explored.n_left_out:,} replies are left out" in page
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    path = tmp_path / "index.html"
    path.write_text(page, encoding="utf-8")
    browser = Browser(tmp_path / "profile", tmp_path / "downloads")
    start = time.monotonic()
    tab = browser.open(f"file://{path}")
    tab.wait(lambda: tab.js("document.getElementById('explore').dataset.ready") == "yes")
    print(f"explorer ready after {time.monotonic() - start:.1f} s")
    tab.wait(lambda: tab.js("document.documentElement.dataset.drawn") == "yes")
    print(f"all {tab.js('document.querySelectorAll(`.panel`).length')} panels drawn after "
          f"{time.monotonic() - start:.1f} s")  # fmt: skip
    assert tab.problems() == []
    browser.close()
