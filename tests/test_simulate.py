"""The simulated survey: its format, its sizes, and what a study can find in it."""

import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.graph import ROOT
from valuestrata.__main__ import main
from valuestrata.demo import population
from valuestrata.demo.population import joint_table
from valuestrata.demo.simulate import simulate, write
from valuestrata.errors import InputError
from valuestrata.paths import MADE_OF
from valuestrata.records import read_record
from valuestrata.study.load import load
from valuestrata.study.yaml import read_yaml
from valuestrata.survey import codebook

# scales of the 239 value items: first and last question, lowest and highest code
SCALES = """
1-6 1-4, 7-26 1-2, 27-32 1-4, 33-41 1-5, 43-45 1-3, 46-46 1-4, 47-47 1-5, 48-50 1-10, 51-55 1-4,
56-56 1-3, 57-57 1-2, 58-81 1-4, 94-104 0-2, 106-110 1-10, 111-111 1-2, 112-112 1-10, 113-118 1-4,
119-119 1-5, 120-120 1-10, 121-121 1-5, 122-129 0-2, 130-130 1-4, 131-138 1-4, 139-141 1-2,
142-143 1-4, 144-145 1-2, 146-148 1-4, 149-151 1-2, 158-164 1-10, 165-168 1-2, 169-170 1-4,
171-171 1-7, 172-172 1-8, 173-173 1-3, 174-175 1-2, 176-195 1-10, 196-198 1-4, 199-199 1-4,
200-200 1-3, 201-208 1-5, 209-222 1-3, 224-234 1-4, 235-239 1-4, 240-252 1-10, 253-259 1-4
"""
LAST_OF_BLOCK = {
    "social values": 45,
    "happiness": 56,
    "social capital and trust": 105,
    "economic": 111,
    "corruption": 120,
    "migration": 130,
    "security": 151,
    "postmaterialism": 157,
    "science and technology": 163,
    "religious values": 175,
    "ethical": 198,
    "political interest": 234,
    "political culture": 259,
}
AXES = {"sex": "Q260", "age_group": "X003R", "ethnicity": "Q290", "religion": "Q289"}
TRAIN = ["sex", "age_group", "ethnicity", "religion"]
TRAIN_CROSSED = [("sex", "age_group"), ("sex", "religion"), ("sex", "ethnicity")]
OOD = [("age_group", "religion"), ("age_group", "ethnicity"), ("ethnicity", "religion")]
STRATA = [(axis,) for axis in TRAIN] + TRAIN_CROSSED + OOD
OUTSIDE = {"Q111": {3}, "Q222": {4}, "Q254": {5}} | {
    f"Q{number}": {0} for number in (119, 241, 242, 243, 245, 246, 247, 248, 249)
}
NOT_ASKED = ["Q115", "Q141", "Q221", "Q255", "Q256"]
SMALLEST = 30  # respondents of a subgroup, answers of a pair


def value_items() -> pd.DataFrame:
    rows = []
    for part in SCALES.replace("\n", " ").split(","):
        span, scale = part.split()
        first, last = (int(number) for number in span.split("-"))
        scale_min, scale_max = (int(code) for code in scale.split("-"))
        for number in range(first, last + 1):
            block = next(name for name, end in LAST_OF_BLOCK.items() if number <= end)
            level = "nominal" if number in (56, 149, 150) else "ordinal"
            rows.append((f"Q{number}", block, level, scale_min, scale_max))
    rows.append(("Q234A", "political interest", "ordinal", 1, 5))
    return pd.DataFrame(
        rows, columns=["question", "block", "measurement_level", "scale_min", "scale_max"]
    )


@pytest.fixture(scope="module")
def items() -> pd.DataFrame:
    return value_items()


@pytest.fixture(scope="module")
def few() -> pd.DataFrame:
    all_items = value_items()
    return all_items[all_items["question"].isin(["Q1", "Q56", "Q149", "Q164", "Q234A", "Q115"])]


@pytest.fixture(scope="module")
def survey(items: pd.DataFrame) -> pd.DataFrame:
    return simulate(items, 2012, seed=1)


def cells(survey: pd.DataFrame, stratum: tuple[str, ...]) -> Iterator[np.ndarray]:
    """One mask a subgroup of at least 30; 'other' ethnicity and Orthodox are in none."""
    kept = survey.assign(
        Q290=survey["Q290"].where(survey["Q290"] != 702999),
        Q289=survey["Q289"].where(survey["Q289"] != 3),
    )
    columns = [AXES[axis] for axis in stratum]
    groups = [np.sort(kept[column].dropna().unique()) for column in columns]
    for cell in itertools.product(*groups):
        mask = (kept[columns] == np.array(cell)).all(axis=1).to_numpy()
        if mask.sum() >= SMALLEST:
            yield mask


@pytest.fixture(scope="module")
def asked(items: pd.DataFrame) -> pd.DataFrame:
    """The paper's 214 questions."""
    left_out = [*NOT_ASKED, *(f"Q{number}" for number in range(7, 27))]
    return items[~items["question"].isin(left_out)].reset_index(drop=True)


@pytest.fixture(scope="module")
def counts(survey: pd.DataFrame, asked: pd.DataFrame) -> dict[tuple[str, ...], np.ndarray]:
    """Respondents by subgroup, question and code 0-10, per stratum."""
    answers = survey[asked["question"]].to_numpy()[:, :, None] == np.arange(11)
    return {
        stratum: np.array([answers[mask].sum(axis=0) for mask in cells(survey, stratum)])
        for stratum in STRATA
    }


def modal_diversity(counts: np.ndarray, widths: np.ndarray) -> list[float]:
    modes, present = counts.argmax(axis=2), counts.sum(axis=2) >= SMALLEST
    scores = []
    for mode, there, width in zip(modes.T, present.T, widths, strict=True):
        share = np.unique(mode[there], return_counts=True)[1] / there.sum()
        scores.append(-(share * np.log2(share)).sum() / np.log2(min(there.sum(), width)))
    return scores


def test_groups_have_the_sizes_of_the_sample(survey: pd.DataFrame) -> None:
    sizes = {column: survey[column].value_counts().to_dict() for column in AXES.values()}
    assert sizes == {
        "Q260": {1: 924, 2: 1088},
        "X003R": {1: 160, 2: 355, 3: 374, 4: 380, 5: 381, 6: 362},
        "Q290": {702004: 1549, 702006: 236, 702003: 190, 702999: 37},
        "Q289": {0: 472, 1: 126, 2: 347, 3: 2, 5: 275, 6: 111, 7: 525, 9: 154},
    }


def test_any_seed_gives_the_published_subgroups(few: pd.DataFrame) -> None:
    survey = simulate(few, 2012, seed=7)
    subgroups = {stratum: len(list(cells(survey, stratum))) for stratum in STRATA}
    assert sum(subgroups[stratum] for stratum in STRATA if stratum not in OOD) == 50
    assert sum(subgroups[stratum] for stratum in OOD) == 48


def test_pairs_are_near_the_published_ones(counts: dict[tuple[str, ...], np.ndarray]) -> None:
    pairs = {
        stratum: int((count.sum(axis=2) >= SMALLEST).sum()) for stratum, count in counts.items()
    }
    assert sum(pairs[stratum] for stratum in STRATA if stratum not in OOD) == 10_700
    assert sum(pairs[stratum] for stratum in OOD) == pytest.approx(10_177, abs=30)


def test_ethnicity_and_religion_go_together(survey: pd.DataFrame) -> None:
    share = pd.crosstab(survey["Q290"], survey["Q289"], normalize="index")
    assert share.loc[702006, 5] > 0.95
    assert 0.4 < share.loc[702003, 6] < 0.65
    assert share.loc[702004, [0, 1, 2, 7, 9]].sum() > 0.98


def test_sex_hardly_goes_with_anything(survey: pd.DataFrame) -> None:
    for column in ("X003R", "Q290", "Q289"):
        women = (survey["Q260"] == 2).groupby(survey[column]).agg(["mean", "size"])
        assert (women["mean"] - 1088 / 2012).abs()[women["size"] > 100].max() < 0.03


def test_blocks_differ_in_conflict(
    counts: dict[tuple[str, ...], np.ndarray], asked: pd.DataFrame
) -> None:
    widths = (asked["scale_max"] - asked["scale_min"] + 1).to_numpy()
    scores = np.mean([modal_diversity(counts[stratum], widths) for stratum in STRATA], axis=0)
    score = pd.Series(scores).groupby(asked["block"]).mean()
    assert 0.25 < score["religious values"] < 0.50
    assert 0.03 < score["social capital and trust"] < 0.14
    assert score["security"] < 0.2
    assert score["social capital and trust"] < score["political interest"]
    assert score["political interest"] < score["religious values"]


def test_personas_matter_and_compose(
    survey: pd.DataFrame, asked: pd.DataFrame, counts: dict[tuple[str, ...], np.ndarray]
) -> None:
    answers = survey[asked["question"]].to_numpy()[:, :, None] == np.arange(11)
    nation = answers.mean(axis=0)
    # log-linear in the axes: what a model that saw single axes alone can say of a crossing
    ratio = {
        axis: np.log(np.array([answers[m].mean(axis=0) for m in cells(survey, (axis,))]) + 0.003)
        - np.log(nation + 0.003)
        for axis in ("age_group", "religion")
    }
    additive = np.log(nation + 0.003) + ratio["age_group"][:, None] + ratio["religion"][None]
    index = [
        (i, j)
        for i, age in enumerate(cells(survey, ("age_group",)))
        for j, religion in enumerate(cells(survey, ("religion",)))
        if (age & religion).sum() >= SMALLEST
    ]
    predicted = np.array([additive[cell].argmax(axis=1) for cell in index])
    truth = counts["age_group", "religion"].argmax(axis=2)
    national = (truth == nation.argmax(axis=1)).mean()
    assert 0.65 < national < 0.80
    assert national + 0.05 < (truth == predicted).mean() < 0.95


def test_columns_stand_in_survey_order(survey: pd.DataFrame, items: pd.DataFrame) -> None:
    names = survey.columns.to_list()
    questions = names[names.index("W_WEIGHT") + 1 : names.index("Q260")]
    assert sorted(questions) == sorted(items["question"])
    assert questions[0] == "Q1"
    assert questions[-1] == "Q259"
    assert questions[questions.index("Q234") + 1] == "Q234A"
    assert names[names.index("Q260") :] == ["Q260", "Q261", "Q262", "Q289", "Q290", "X003R"]
    shuffled = items.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(simulate(shuffled, 50, 3), simulate(items, 50, 3))


def test_says_that_it_is_simulated(survey: pd.DataFrame) -> None:
    assert survey["version"].str.contains("simulated by valuestrata").all()
    assert survey["doi"].str.contains("simulated by valuestrata").all()
    assert not survey["doi"].str.contains(r"10\.\d{4}").any()
    assert survey["D_INTERVIEW"].is_unique
    assert set(survey["B_COUNTRY"]) == {702}


def test_codes_occur_only_where_they_may(survey: pd.DataFrame, items: pd.DataFrame) -> None:
    for item in items.itertuples():
        codes = set(survey[item.question])
        scale = set(range(item.scale_min, item.scale_max + 1))
        if item.question in NOT_ASKED:
            assert codes == {-4}
        else:
            outside = OUTSIDE.get(item.question, set())
            assert codes <= scale | outside | {-1, -2, -5}, item.question
            assert outside <= codes, item.question


def test_shares_of_unusual_codes(survey: pd.DataFrame, items: pd.DataFrame) -> None:
    asked = survey[items.loc[~items["question"].isin(NOT_ASKED), "question"]]
    silent = asked.isin([-1, -2]).mean()
    assert silent.max() < 0.08
    assert 0.005 < silent.mean() < 0.03
    assert 0 < (asked == -5).to_numpy().mean() < 0.001
    assert (asked == -1).to_numpy().sum() > (asked == -2).to_numpy().sum()
    outside = pd.Series({name: survey[name].isin(codes).mean() for name, codes in OUTSIDE.items()})
    assert outside.between(0.004, 0.045).all()


def test_q56_has_its_order_behind_the_codes(items: pd.DataFrame) -> None:
    happiness = items[items["block"] == "happiness"]
    survey = simulate(happiness, 5000, seed=1)
    # the block's questions share a factor, so that its sum tells the order of one of them
    others = survey[[name for name in happiness["question"] if name != "Q56"]]
    total = others.rank(pct=True).where(others > 0).mean(axis=1)
    valid = survey["Q56"] > 0
    ordered = survey.loc[valid, "Q56"].map({2: 1, 3: 2, 1: 3})
    correlation = ordered.corr(total[valid], method="spearman")
    assert correlation > 0.2
    assert correlation > survey.loc[valid, "Q56"].corr(total[valid], method="spearman")


def test_ages_fit_their_bands(survey: pd.DataFrame) -> None:
    band = np.digitize(survey["Q262"], [25, 35, 45, 55, 65]) + 1
    assert (band == survey["X003R"]).all()
    assert survey["Q262"].between(18, 95).all()
    assert (survey["Q261"] + survey["Q262"] == 2020).all()


def test_weights(survey: pd.DataFrame) -> None:
    weight = survey["W_WEIGHT"]
    assert weight.min() > 0
    assert weight.mean() == pytest.approx(1, abs=1e-6)
    assert 0.1 < weight.std() < 0.6
    men = weight[survey["Q260"] == 1].sum() / weight.sum()
    assert men == pytest.approx(0.49, abs=0.002)


def test_the_seed_decides(few: pd.DataFrame) -> None:
    first = simulate(few, 400, seed=5)
    pd.testing.assert_frame_equal(first, simulate(few, 400, seed=5))
    other = simulate(few, 400, seed=6)
    assert (first["Q164"] != other["Q164"]).mean() > 0.3


def test_other_counts_keep_the_shares(few: pd.DataFrame) -> None:
    for respondents in (1, 2, 17, 300, 2013):
        table = joint_table(respondents)
        assert table.shape == (2, 6, 4, 8)
        assert table.min() >= 0
        assert table.sum() == respondents
        survey = simulate(few, respondents, seed=1)
        assert len(survey) == respondents
        assert not survey.isna().any(axis=None)
        for axis in population.AXES:
            sizes = survey[axis.column].value_counts().reindex(axis.codes, fill_value=0)
            exact = np.array(axis.sizes) * respondents / 2012
            assert (np.abs(sizes.to_numpy() - exact) < 1).all()


def test_written_file(survey: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "survey.csv"
    write(survey, path)
    assert path.read_bytes().startswith(b"\xef\xbb\xbfversion,doi,A_WAVE")
    back = pd.read_csv(path, encoding="utf-8-sig")
    pd.testing.assert_frame_equal(back, survey)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["survey.csv"]


def test_integers_are_written_without_decimals(tmp_path: Path) -> None:
    write(pd.DataFrame({"Q1": [1.0, np.nan], "W_WEIGHT": [0.5, 1.5]}), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text("utf-8-sig") == "Q1,W_WEIGHT\n1,0.5\n,1.5\n"


def test_a_failed_write_leaves_the_old_file(
    few: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "survey.csv"
    path.write_text("old")

    def fail(source: str, target: Path) -> None:
        raise OSError(source)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=r"survey\.csv"):
        write(simulate(few, 5, seed=1), path)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["survey.csv"]


def test_the_stage_writes_the_survey_and_its_record(tmp_path: Path) -> None:
    config = read_yaml(ROOT / "config.yaml")
    config["survey"]["simulate"] = {"respondents": 100, "seed": 4}
    study = load(config, ROOT)
    (tmp_path / "study.json").write_text(study.to_json(), encoding="utf-8")
    files = {
        "codebook": ROOT / "studies/codebooks/wvs7.yaml",
        "survey": tmp_path / "survey.csv",
        "record": tmp_path / MADE_OF,
    }
    arguments = [part for key, path in files.items() for part in ("--file", f"{key}={path}")]
    assert main(["simulate", "--study", str(tmp_path / "study.json"), *arguments]) == 0
    book = pd.DataFrame(list(codebook.load(files["codebook"]).values()))
    written = pd.read_csv(files["survey"], encoding="utf-8-sig")
    pd.testing.assert_frame_equal(written, simulate(book, 100, seed=4))
    record = read_record(files["survey"])
    assert record is not None
    assert record.caveat == "simulated survey"
    assert record.settings["simulation"] == {"respondents": 100, "seed": 4}
    assert list(record.inputs) == [str(files["codebook"])]


def test_what_cannot_be_simulated_is_refused(few: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="respondents"):
        simulate(few, 0, seed=1)
    with pytest.raises(InputError, match="'sport'"):
        simulate(few.assign(block="sport"), 10, seed=1)
    with pytest.raises(InputError, match="'income'"):
        simulate(few.assign(question="income"), 10, seed=1)
