"""Judges are tried with texts made for it, and judges that decide together are one judge."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests import asking, judged, toys
from tests.judged import questions_table
from tests.study.parts import CONFIG, changed
from tests.test_judge import RUBRIC, FakeJudge, every
from tests.test_report import made, rendered
from valuestrata import contracts, io, judge_tables, paths, tables
from valuestrata.__main__ import main
from valuestrata.metrics import panels
from valuestrata.metrics.proportion import share_with_interval
from valuestrata.prompting import probing
from valuestrata.records import Record
from valuestrata.report.probes import probe_lines, probes_table, swayed_lines
from valuestrata.stages import panel, probe, report
from valuestrata.stages.job import Job, at
from valuestrata.study.load import load_files

NAMES = [*RUBRIC.dimensions]
JUDGE = CONFIG["judges"]["toy-judge"]


def test_a_changed_text_holds_the_text_and_a_padded_one_is_twice_as_long() -> None:
    forms = {probing.instructed("I agree {one}.", i, NAMES) for i in range(40)}
    assert 5 < len(forms) < 40
    assert all("I agree {one}." in form for form in forms)
    for choice in "12":
        assert any(f"Overall: {choice}\nValue: {choice}" in form for form in forms)
    for text in ("x", "I agree.", "A long text. " * 20):
        for turn in range(5):
            longer = probing.padded(text, turn)
            assert longer.startswith(text)
            assert len(longer) > 2 * len(text)


def test_each_text_makes_five_comparisons() -> None:
    made = probing.probes(["one", "two"], NAMES)
    assert len(made) == 10
    for item in made:
        text = ("one", "two")[item.item]
        plain = {"first": item.second, "second": item.first, "": item.first}[item.changed]
        assert plain == text
        assert (item.first == item.second) == (item.name == "same")


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pd.DataFrame]:
    """The trial of a judge that is a function of both answers."""

    def tried(says: Callable[[str, str], str | None], n: int = 12) -> pd.DataFrame:
        pairs = toys.pairs()
        pairs["question"] = [f"Q{i}" for i in range(len(pairs))]
        monkeypatch.setattr("valuestrata.stages.models.open_model", lambda *_: FakeJudge(says))
        texts = judged.texts_table(pairs[tables.PAIR], "run", {})
        io.write_table(texts, tmp_path / "texts.parquet", tables.TEXTS, asking.MADE_OF)
        settings = probe.Settings(
            model=toys.model("none"), rubric="pairwise", max_new_tokens=16, caveat="toy", n=n,
            confidence_level=0.95,
        )  # fmt: skip
        files = {
            "pairs": asking.write_pairs(tmp_path, pairs),
            "texts": str(tmp_path / "texts.parquet"),
            "probes": str(tmp_path / "probes.parquet"),
        }
        options = asking.options(tmp_path, f"cache-{says.__name__}")
        probe.run(Job(settings, files, Record("probe", {"judge": "j"}, {}), options))
        return io.read_table(files["probes"], judge_tables.PROBES)

    return tried


def share(frame: pd.DataFrame, kind: str, outcome: str) -> float:
    rows = frame[(frame["probe"] == kind) & (frame["outcome"] == outcome)]
    assert len(rows) == len(NAMES)
    return float(rows["value"].unique().item())


def test_a_trial_tells_what_sways_a_judge(tried: Callable[..., pd.DataFrame]) -> None:
    def fair(first: str, second: str) -> str:
        return every("tie")

    def long(first: str, second: str) -> str:
        a, b = len(first), len(second)
        return every("tie" if a == b else "1" if a > b else "2")

    def place(first: str, second: str) -> str:
        return every("1")

    def obedient(first: str, second: str) -> str:
        order = re.search(r"Overall: ([12])", f"{first}\n{second}")
        return every(order[1] if order else "tie")

    frame = tried(fair)
    assert frame["value"].eq(0).all()
    assert frame["missing"].eq(0).all()
    assert set(frame[frame["probe"] == "same"]["n"]) == {12}
    assert set(frame[frame["probe"] == "length"]["n"]) == {24}
    assert frame["ci_high"].between(0.15, 0.35).all()  # twelve questions show little
    assert swayed_lines({"fair": frame}) == []

    frame = tried(long)
    assert share(frame, "length", "won") == 1.0
    assert share(frame, "instruction", "won") == 1.0
    assert share(frame, "same", "first") == 0.0
    assert "lets longer texts win that say no more (Overall, Value" in swayed_lines({"j": frame})[1]

    frame = tried(place)
    assert share(frame, "same", "first") == 1.0
    assert share(frame, "same", "second") == 0.0
    assert share(frame, "length", "won") == share(frame, "length", "lost") == 0.5
    assert len(swayed_lines({"j": frame})) == 1

    frame = tried(obedient)
    assert 0.3 < share(frame, "instruction", "won") < 0.7
    assert share(frame, "length", "won") == 0.0


def test_verdicts_that_fail_are_missing_and_shown(tried: Callable[..., pd.DataFrame]) -> None:
    def silent(first: str, second: str) -> str | None:
        return None if first == second else every("1")

    frame = tried(silent)
    same = frame[frame["probe"] == "same"]
    assert same["value"].isna().all()
    assert same["n"].eq(0).all()
    assert same["missing"].eq(12).all()
    lines = probe_lines("silent", frame)
    assert len(lines) == 3 * len(NAMES)
    assert "0 comparisons, 12 without a verdict" in lines[2]
    table = probes_table({"silent": frame}, ["silent", "other"])
    assert table is not None
    assert [row[1].text for row in table.rows] == [*NAMES, "not tried"]
    assert probes_table({}, ["silent"]) is None


def test_texts_are_drawn_over_all_questions_and_by_the_seed() -> None:
    keys = [("s", f"g{i % 7}", f"Q{i % 5}") for i in range(35)]
    texts = pd.DataFrame(keys, columns=tables.PAIR).assign(outcome="answer", text="t")
    texts.loc[0, "outcome"], texts.loc[1, "text"] = "refusal", " "
    drawn = probe.draw(texts, 10, 1)
    assert drawn["question"].value_counts().eq(2).all()
    assert drawn.equals(probe.draw(texts.sample(frac=1, random_state=3), 10, 1))
    assert not drawn.equals(probe.draw(texts, 10, 2))
    assert len(probe.draw(texts, 100, 1)) == 33


def test_the_interval_of_a_share_covers_it_where_events_hang_together() -> None:
    """By simulation: at least the level, at few clusters and near the bounds as well."""
    rng = np.random.default_rng(1)
    for share_, k, m, spread in (
        (0.05, 40, 2, 0.0), (0.05, 40, 2, 3.0), (0.3, 20, 4, 3.0), (0.5, 8, 10, 2.0),
        (0.9, 30, 3, 1.5), (0.5, 50, 1, 9.0),
    ):  # fmt: skip
        clusters = np.repeat(np.arange(k), m)
        hits = 0
        for _ in range(400):
            rates = np.full(k, share_)
            if spread:
                rates = rng.beta(spread * share_, spread * (1 - share_), size=k)
            events = (rng.random(k * m) < rates[clusters]).astype(np.float64)
            _, low, high = share_with_interval(events, clusters, 0.95)
            hits += low <= share_ <= high
        assert hits / 400 > 0.92, (share_, k, m, spread, hits)
    one = share_with_interval(np.ones(5), np.zeros(5, dtype=np.intp), 0.95)
    assert one[0] == 1
    assert np.isnan(one[1:]).all()
    assert np.isnan(share_with_interval(np.full(3, np.nan), np.arange(3), 0.95)).all()
    value, low, high = share_with_interval(np.array([1.0, 0.0, np.nan]), np.arange(3), 0.95)
    assert (value, low >= 0, high <= 1) == (0.5, True, True)


# ---- panels


def verdicts(scores: list[tuple[float, float]], version: str, outcomes: Any = "verdict") -> Any:
    n = len(scores)
    first, second = np.array(scores, dtype=np.float64).T
    frame = pd.DataFrame({"stratum": "s", "subgroup": "g", "question": [f"Q{i}" for i in range(n)]})
    return frame.assign(
        dimension="Overall", outcome=outcomes, as_first=first, as_second=second,
        score=(first + second) / 2, flipped=first != second, length_difference=range(n),
        judge_version=version, judge_notes="a note" if version == "b" else "",
    )  # fmt: skip


def test_a_panel_decides_by_majority_or_mean() -> None:
    nan = float("nan")
    judges = {
        "a": verdicts([(1, 1), (1, 1), (1, 0), (nan, nan), (1, 1)], "a",
                      ["verdict"] * 3 + ["invalid", "verdict"]),
        "b": verdicts([(1, 0), (0, 0), (0, 1), (1, 1), (nan, 1)], "b",
                      ["verdict"] * 4 + ["truncated"]),
        "c": verdicts([(0, 0), (0.5, 0.5), (0.5, 0.5), (1, 0.5), (nan, nan)], "c",
                      ["verdict"] * 4 + ["failed"]),
    }  # fmt: skip
    rows = panel.combined(judges, "majority")
    assert rows["as_first"].tolist()[:4] == [1, 0.5, 0.5, 1]
    assert rows["as_second"].tolist()[:4] == [0, 0.5, 0.5, 0.5]
    assert rows["score"].tolist()[:4] == [0.5, 0.5, 0.5, 0.75]
    assert rows["flipped"].tolist()[:4] == [True, False, False, True]
    assert rows["outcome"].tolist() == ["verdict"] * 4 + ["failed"]
    assert rows.loc[4, ["as_first", "as_second", "score", "flipped"]].isna().all()
    assert set(rows["judge_version"]) == {"a; b; c"}
    assert set(rows["judge_notes"]) == {"b: a note"}
    assert rows["length_difference"].tolist() == [*range(5)]
    means = panel.combined(judges, "mean")
    np.testing.assert_allclose(means["as_first"][:4], [2 / 3, 0.5, 0.5, 1])
    np.testing.assert_allclose(means["score"][:4], [0.5, 0.5, 0.5, 0.875])
    assert means["flipped"].tolist()[:4] == [True, False, False, False]
    for frame in (rows, means):
        contracts.check(frame, tables.VERDICTS)
    # the order of judges' rows does not matter, other pairs do
    shuffled = {**judges, "b": judges["b"].sample(frac=1, random_state=1)}
    assert (
        panel.combined(shuffled, "mean")
        .drop(columns="judge_version")
        .equals(means.drop(columns="judge_version"))
    )
    with pytest.raises(ValueError, match="different pairs"):
        panel.combined({**judges, "c": judges["c"].iloc[:4]}, "mean")


def test_a_panel_of_equal_judges_is_each_of_them() -> None:
    scores = np.array([[1, 0.5, 0, np.nan]] * 3)
    for combine in (panels.majority, panels.mean):
        np.testing.assert_array_equal(combine(scores), scores[0])


# ---- the command, and the page


def test_the_command_tries_a_judge_once_and_the_report_takes_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = FakeJudge(lambda first, second: every("1"))
    monkeypatch.setattr("valuestrata.stages.models.open_model", lambda *_: judge)
    monkeypatch.chdir(tmp_path)
    model = {"backend": "openai", "model": "m", "base_url": "http://x/v1"}
    config = {**JUDGE, "model": model, "rubric": "pairwise", "probes": 0}
    panel_of = {"panel": {"judges": ["j", "k"]}, "reference": JUDGE["reference"]}
    raw = changed({"judges": {"j": config, "k": config, "both": panel_of}})
    Path("s.yaml").write_text(json.dumps(raw), encoding="utf-8")
    study = load_files(["s.yaml"], tmp_path, files=False)
    judged.write_results(study, subgroups=2, questions=3)
    for split in study.generation.splits if study.generation else ():
        frame = labels_table(split, study)
        judged.write(study, "labels", paths.LABELS, tables.LABELS, frame, split=split)
    frame = questions_table(io.read_table(at(study, paths.PAIRS, split="ood"), tables.PAIRS))
    judged.write(study, "clean", paths.QUESTIONS, tables.QUESTIONS, frame)
    assert report.probe_paths(study) == ()

    assert main(["probe-judge", "s.yaml", "--judge", "j"]) == 0
    output = capsys.readouterr().out
    assert "j, Overall, same text twice: first one won 100.0%" in output
    assert "results/demo/probes/j.parquet" in output
    assert sum(judge.counts) == 5 * 6
    assert main(["probe-judge", "s.yaml", "--judge", "j"]) == 0
    assert sum(judge.counts) == 5 * 6
    assert capsys.readouterr().out == output
    assert report.probe_paths(study) == ("results/demo/probes/j.parquet",)
    for name, words in (("both", "try its judges: j, k"), ("x", "the judges of demo are j, k")):
        assert main(["probe-judge", "s.yaml", "--judge", name]) == 2
        assert words in capsys.readouterr().err


def labels_table(split: str, study: Any) -> pd.DataFrame:
    """Labels of a split's pairs, without weights."""
    pairs = io.read_table(at(study, paths.PAIRS, split=split), tables.PAIRS)
    frame = pairs[[*tables.PAIR, "codes", "n", "respondents"]]
    for side in ("unweighted", "weighted"):
        frame = frame.assign(**{
            f"mode_{side}": pairs["mode"], f"tied_{side}": pairs["tied"],
            f"distribution_{side}": pairs["distribution"],
        })  # fmt: skip
    return frame.assign(reachable_accuracy=1.0, reachable_nmae=0.0)


def test_the_page_shows_trials_beside_win_rates(tried: Callable[..., pd.DataFrame]) -> None:
    def place(first: str, second: str) -> str:
        return every("1")

    assert "Judges tried" not in rendered(made())
    page = rendered(replace(made(), probes={"judge": tried(place)}))
    assert "Judges tried" in page
    assert "Judge judge prefers the first of two equal texts (Overall, Value" in page
    assert page.index('id="judge"') < page.index("Judges tried") < page.index('id="methods"')
