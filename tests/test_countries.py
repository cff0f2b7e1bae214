"""Any country of a cross-national file, by its code; several in one study; auto groups."""

import contextlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests import world
from tests.graph import ROOT, Graph, Server
from tests.world import read_pairs, run_stage, run_stages, study
from valuestrata import io, paths, tables
from valuestrata.baselines.predict import predict
from valuestrata.baselines.registry import load_rule
from valuestrata.errors import InputError
from valuestrata.prompting.settings import prompt_settings
from valuestrata.stages import clean
from valuestrata.study.yaml import merge, parse
from valuestrata.survey import codebook, groups, modal, readers, tally
from valuestrata.survey.conflict import modal_diversity
from valuestrata.survey.crosstab import cross_tab
from valuestrata.survey.encoded import encode_survey, scale_of

TWO = {"survey": {"countries": ["SGP", "MYS"]}}
ACROSS = {
    **TWO,
    "splits": {
        "train": {"groups": {"country": {"only": ["Singapore"]}}},
        "ood": {"groups": {"country": {"only": ["Singapore"]}}},
        "abroad": {
            "role": "test",
            "strata": ["sex", "religion", "age_group x religion"],
            "groups": {"country": {"only": ["Malaysia"]}},
        },
    },
}
FILE_LABELS: dict[str, dict[float, str]] = {
    "Q289": {0: "Do not belong", 5: "Muslim"},
    "Q290": {458004: "MY: Malay & more", 458012: "MY: Chinese", 458014: "MY: Indian"},
    "B_COUNTRY": {702: "Singapore (file)", 458: "Malaysia (file)"},
}


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.write_csv(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def two(csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_stages(study(ACROSS, csv), tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def one(csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    overlay = {"survey": {"countries": [458]}}
    return run_stages(study(overlay, csv), tmp_path_factory.mktemp("one"))


def read(path: Path, overlay: dict[str, Any]) -> tuple[pd.DataFrame, groups.Groups]:
    settings = clean.settings(study(overlay))
    book = codebook.load(world.BOOK)
    chosen = codebook.select(book, settings.questions, settings.exclude)
    survey = readers.read_survey(path, settings, chosen, codebook.columns(world.BOOK))
    return survey.responses, survey.groups


def complaint(path: Path, overlay: dict[str, Any]) -> str:
    def read_and_check() -> None:
        responses, _ = read(path, overlay)
        readers.check_axes(responses, clean.settings(study(overlay)), path)

    with pytest.raises(InputError) as caught:
        read_and_check()
    line = str(caught.value)
    assert "\n" not in line
    return line


def table(results: Path, name: str, contract: tables.Contract) -> pd.DataFrame:
    return io.read_table(results / name, contract)


# One country ---------------------------------------------------------------------------------


def test_one_line_gives_a_country_with_its_name_and_its_own_groups(one: Path) -> None:
    summary = io.read_json(one / paths.SUMMARY)
    assert summary["countries"] == ["Malaysia"]
    assert summary["respondents"] == world.EACH
    assert list(summary["groups"]["ethnicity"]) == ["Malay", "Chinese", "Indian"]
    assert "of another ethnic group" not in summary["groups"]["ethnicity"]
    pairs = read_pairs(one, "train")
    assert pairs["persona"].str.startswith("You are a person living in Malaysia. About you: ").all()
    assert {"ethnicity=Malay", "sex=male & ethnicity=Chinese"} <= set(pairs["subgroup"])
    assert not pairs["subgroup"].str.contains("country").any()


def test_letters_and_numbers_mean_the_same_country(csv: Path, one: Path) -> None:
    expected = table(one, paths.RESPONSES, tables.RESPONSES)
    for code in ("MYS", 458, "458"):
        responses, result = read(csv, {"survey": {"countries": [code]}})
        assert list(responses["respondent"]) == list(expected["respondent"])
        assert result.countries == ("Malaysia",)


def test_groups_are_the_codes_that_enough_respondents_have(csv: Path) -> None:
    frame = world.world()
    sizes = frame[frame["B_COUNTRY"] == 702]["Q289"].value_counts()
    for min_n in (1, 20, 60):
        _, result = read(csv, {"survey": {"countries": ["SGP"]}, "min_subgroup_n": min_n})
        codes = [str(code) for code in sorted(sizes[sizes >= min_n].index)]
        assert [g.codes for g in result.axes["religion"]] == [(code,) for code in codes]
        assert [g.n for g in result.axes["religion"]] == [int(sizes[int(c)]) for c in codes]


def test_a_country_that_was_not_asked_says_which_axis_to_leave_out(csv: Path) -> None:
    line = complaint(csv, {"survey": {"countries": ["DEU"]}})
    assert "column Q290: axis ethnicity has fewer than two groups of 20 respondents (none)" in line
    assert "survey.axes.ethnicity: null" in line
    overlay = {"survey": {"countries": ["DEU"], "axes": {"ethnicity": None}}}
    without = study(overlay)
    assert list(without.axes) == ["sex", "age_group", "religion"]
    assert without.strata("ood") == (("age_group", "religion"),)
    responses, _ = read(csv, overlay)
    assert len(responses) == world.EACH


def test_a_country_that_the_file_does_not_have_is_one_line(csv: Path) -> None:
    line = complaint(csv, {"survey": {"countries": ["SGP", "XYZ"]}})
    assert "no row of country 'XYZ' in column B_COUNTRY_ALPHA or B_COUNTRY" in line
    assert "276, 458, 702, DEU, MYS, SGP" in line


def test_one_country_named_twice_is_one_line(csv: Path) -> None:
    line = complaint(csv, {"survey": {"countries": ["SGP", 702]}})
    assert "SGP and 702 are both Singapore" in line


def test_a_file_with_one_of_the_columns_will_do(tmp_path: Path) -> None:
    path = world.write_csv(tmp_path, world.world().drop(columns="B_COUNTRY_ALPHA"))
    _, result = read(path, {"survey": {"countries": [702]}})
    assert result.countries == ("Singapore",)
    assert "no row of country 'SGP'" in complaint(path, {"survey": {"countries": ["SGP"]}})
    path = world.write_csv(tmp_path, world.world().drop(columns=["B_COUNTRY_ALPHA", "B_COUNTRY"]))
    line = complaint(path, {"survey": {"countries": ["SGP"]}})
    assert "no column B_COUNTRY_ALPHA or B_COUNTRY of survey.countries" in line


# Several -------------------------------------------------------------------------------------


def test_every_stratum_lies_within_a_country(two: Path) -> None:
    across = study(ACROSS)
    assert next(iter(across.axes)) == "country"
    assert across.strata("ood")[0] == ("country", "age_group", "religion")
    named = {s for split in ("train", "ood", "abroad") for s in read_pairs(two, split)["subgroup"]}
    assert all(name.startswith("country=") for name in named)
    # an ethnic group of one country is none of the other's
    assert "country=Malaysia & ethnicity=South Asian" not in named
    frame = table(two, paths.RESPONSES, tables.RESPONSES)
    assert set(frame[frame["country"] == "Malaysia"]["ethnicity"].dropna()) == {
        "Malay",
        "Chinese",
        "Indian",
    }


def test_trained_on_one_country_and_tested_on_another(two: Path) -> None:
    trained, tested = read_pairs(two, "train"), read_pairs(two, "abroad")
    assert trained["subgroup"].str.startswith("country=Singapore & ").all()
    assert tested["subgroup"].str.startswith("country=Malaysia & ").all()
    keys = ["subgroup", "question"]
    assert len(trained[keys].merge(tested[keys])) == 0
    for pairs, country in ((trained, "Singapore"), (tested, "Malaysia")):
        start = f"You are a person living in {country}. About you: "
        assert pairs["persona"].str.startswith(start).all()
    summary = io.read_json(two / paths.SUMMARY)
    assert summary["countries"] == ["Singapore", "Malaysia"]
    assert summary["groups"]["country"] == {"Singapore": world.EACH, "Malaysia": world.EACH}


def test_a_country_s_labels_are_those_of_its_own_study(csv: Path, one: Path, two: Path) -> None:
    """Nothing but the subgroup's name tells whether other countries are in the study."""
    alone = read_pairs(one, "ood").assign(stratum="", subgroup="")
    splits = {"ood": {"groups": {"country": {"only": ["Malaysia"]}}}}
    malaysia = study({**TWO, "study": "malaysia", "splits": splits}, csv)
    folder = two.parent.parent
    results = run_stages(malaysia, folder, "clean", "tally", "pairs", only="ood")
    together = read_pairs(results, "ood").assign(stratum="", subgroup="")
    keys = ["persona", "question"]
    columns = [*keys, "mode", "n", "respondents", "closed_prompt"]
    first, second = (t[columns].sort_values(keys, ignore_index=True) for t in (alone, together))
    pd.testing.assert_frame_equal(first, second)


def test_conflict_is_scored_within_each_country(one: Path, two: Path) -> None:
    scores = table(two, paths.DIVERSITY, tables.DIVERSITY)
    strata = set(scores["stratum"])
    assert {"Malaysia: sex", "Singapore: sex", "Malaysia: age_group-x-religion"} <= strata
    assert "country-x-sex" not in strata
    alone = table(one, paths.DIVERSITY, tables.DIVERSITY)
    for stratum in ("sex", "religion", "age_group-x-religion"):
        for measure in ("mds", "wasserstein"):
            first, second = (
                t[(t["stratum"] == s) & (t["measure"] == measure)].set_index("question")["value"]
                for t, s in ((alone, stratum), (scores, f"Malaysia: {stratum}"))
            )
            np.testing.assert_allclose(second.to_numpy(), first.to_numpy(), equal_nan=True)


def test_a_baseline_keeps_to_the_subgroup_s_country(one: Path, two: Path) -> None:
    surveys = [
        encode_survey(
            table(results, paths.RESPONSES, tables.RESPONSES),
            table(results, paths.QUESTIONS, tables.QUESTIONS),
        )
        for results in (one, two)
    ]
    split_pairs = [read_pairs(one, "ood"), read_pairs(two, "abroad")]
    for rule in ("national_mode", "first_axis", "best_axis", "nearest"):
        answers = []
        for survey, pairs in zip(surveys, split_pairs, strict=True):
            code, _ = predict(load_rule(rule), pairs, cross_tab(survey), survey.scale)
            answers.append(pairs[["persona", "question"]].assign(code=code))
        both = answers[0].merge(answers[1], on=["persona", "question"])
        assert len(both) > 20
        assert (both["code_x"] == both["code_y"]).all()


def test_countries_themselves_are_compared_where_a_split_asks(csv: Path, tmp_path: Path) -> None:
    splits = {"train": {"strata": ["sex"]}, "ood": {"strata": ["country"]}}
    stages = ("clean", "tally", "pairs", "diversity")
    results = run_stages(study({**TWO, "splits": splits}, csv), tmp_path, *stages)
    tested = read_pairs(results, "ood")
    assert set(tested["subgroup"]) == {"country=Singapore", "country=Malaysia"}
    start = "You are a person living in Singapore. About you: from Singapore."
    assert tested["persona"].iloc[0].startswith(start)
    scores = table(results, paths.DIVERSITY, tables.DIVERSITY)
    scores = scores[(scores["stratum"] == "country") & (scores["measure"] == "mds")]
    scores = scores[scores["question"] != "mean"]
    scale = scale_of(table(results, paths.QUESTIONS, tables.QUESTIONS))
    path = paths.TALLY.format(split="ood", stratum="country")
    counts = tally.from_frame(table(results, path, tables.TALLY), scale).counts
    expected = modal_diversity(modal.modes(counts), counts.sum(axis=-1) >= 20, scale)
    np.testing.assert_allclose(scores["value"].to_numpy(), expected)


def test_a_country_that_is_not_in_the_study_is_one_line(
    csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = {"train": {"groups": {"country": {"only": ["Atlantis"]}}}}
    wrong = study({**TWO, "splits": splits}, csv)
    results = run_stages(wrong, tmp_path, "clean", "tally", only="train")
    with contextlib.chdir(tmp_path):
        assert run_stage(wrong, "pairs", split="train") == 2
    assert "has no group 'Atlantis'; it has Singapore, Malaysia" in capsys.readouterr().err
    assert not (results / "pairs").exists()


def test_the_graph_of_two_countries_is_planned(tmp_path: Path, snakemake: Server) -> None:
    world.write_csv(tmp_path)
    raw = merge(merge(world.ANY, world.SMALL), ACROSS)
    raw["survey"]["file"] = "wvs7.csv"
    graph = Graph(tmp_path, snakemake, raw)
    jobs = graph.planned("--", "all").jobs
    assert {"clean", "tally_abroad", "pairs", "diversity", "predict_baseline"} <= set(jobs)
    assert "toy" not in jobs


# Labels --------------------------------------------------------------------------------------


def test_the_codebook_labels_first_and_the_file_what_it_does_not_know(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = world.write_sav(tmp_path, FILE_LABELS)
    settings = clean.settings(study({"survey": {"countries": [458]}}))
    chosen = codebook.select(codebook.load(world.BOOK), settings.questions, settings.exclude)
    by_book = readers.read_survey(path, settings, chosen, codebook.columns(world.BOOK))[1]
    assert by_book.countries == ("Malaysia",)
    assert [g.label for g in by_book.axes["ethnicity"]] == ["Malay", "Chinese", "Indian"]
    assert "has no label" not in caplog.text
    by_file = readers.read_survey(path, settings, chosen, {})[1]
    assert by_file.countries == ("Malaysia (file)",)
    assert by_file.labels()["ethnicity"] == ("Malay and more", "Chinese", "Indian")
    assert by_file.labels()["religion"][0] == "Do not belong"
    # codes without a label are used as labels, with a warning
    assert by_file.labels()["religion"][1] == "1"
    assert "column Q289: code 1 has no label" in caplog.text


def test_a_sav_file_and_a_csv_file_give_the_same_study(csv: Path, tmp_path: Path) -> None:
    path = world.write_sav(tmp_path, FILE_LABELS)
    from_csv, groups_csv = read(csv, TWO)
    from_sav, groups_sav = read(path, TWO)
    pd.testing.assert_frame_equal(from_csv, from_sav)
    assert groups_csv == groups_sav


def test_codes_of_one_label_are_one_group() -> None:
    labels = {"586007": "Hindkowan", "586009": "Hindkowan", "586001": "Punjabi"}
    cells = pd.Series(["Hindkowan", "Punjabi", "Hindkowan"])
    assert groups.count_groups(labels, cells) == (
        groups.Group(label="Hindkowan", codes=("586007", "586009"), n=2),
        groups.Group(label="Punjabi", codes=("586001",), n=1),
    )


def test_a_label_of_a_file_becomes_one_that_a_subgroup_can_bear() -> None:
    for text, label in {
        "SG: Chinese": "Chinese",
        "Sikh & Jain": "Sikh and Jain",
        "a=b": "a-b",
        "  two\nlines ": "two lines",
        "US: White, non-Hispanic": "White, non-Hispanic",
    }.items():
        assert groups.label_of("7", [{"7": text}], "Q290") == label
        name = tally.subgroup_name("sex=male", "ethnicity", label)
        assert tally.subgroup_groups(name) == {"sex": "male", "ethnicity": label}


def test_every_label_of_the_codebook_can_be_part_of_a_subgroup() -> None:
    columns = codebook.columns(world.BOOK)
    assert set(columns) == {"B_COUNTRY", "B_COUNTRY_ALPHA", "Q289", "Q290"}
    for labels in columns.values():
        for code, label in labels.items():
            assert groups.label_of(code, [labels], "x") == label
    assert set(columns["B_COUNTRY"].values()) == set(columns["B_COUNTRY_ALPHA"].values())
    # an ethnic group's code starts with its country's
    assert {code[:-3] for code in columns["Q290"]} <= set(columns["B_COUNTRY"])


def test_auto_groups_are_ordered_by_number_then_text_and_missing_ones_left_out() -> None:
    cells = pd.Series(["10", "2", "b", "2", "", "", "NA", "10", "b", "9"], name="x")
    labels = [{"2": "two", "10": "ten"}]
    expected = {"2": "two", "10": "ten", "b": "b"}
    assert groups.auto_groups(cells, 2, labels) == expected
    country = pd.Series(["A", "A", "A", "B", "A", "A", "A", "A", "B", "A"])
    assert groups.auto_groups(cells, 2, labels, country) == {"10": "ten"}


def test_codes_that_a_file_declares_missing_are_no_group_unless_listed(tmp_path: Path) -> None:
    path = world.write_sav(tmp_path, {}, missing_ranges={"Q289": [7, 9]})
    _, result = read(path, {"survey": {"countries": ["SGP"]}})
    assert not {"7", "9"} & {code for g in result.axes["religion"] for code in g.codes}
    listed = {"survey": {"countries": ["SGP"], "axes": {"religion": {"groups": {5: "a", 7: "b"}}}}}
    _, result = read(path, listed)
    assert [g.label for g in result.axes["religion"]] == ["a", "b"]
    assert result.axes["religion"][1].n > 0


def test_a_persona_lives_in_its_own_country_and_says_it_once() -> None:
    prompt = prompt_settings(study(TWO))
    assert prompt.country == ""
    several = groups.Groups(countries=("Singapore", "Malaysia"), axes={})
    wording, traits = several.persona_phrase(prompt, {"country": "Malaysia", "sex": "male"})
    assert (wording.country, traits) == ("Malaysia", {"sex": "male"})
    assert several.persona_phrase(prompt, {"country": "Malaysia"})[1] == {"country": "Malaysia"}
    named = prompt.replace(country="Utopia")
    single = groups.Groups(countries=(), axes={})
    assert single.persona_phrase(named, {"sex": "male"}) == (named, {"sex": "male"})


def test_listed_groups_and_bands_are_written_down_like_auto_ones(one: Path) -> None:
    written = groups.read_groups(one / paths.GROUPS_OF_AXES)
    assert list(written.axes) == ["sex", "age_group", "ethnicity", "religion"]
    frame = table(one, paths.RESPONSES, tables.RESPONSES)
    for axis, members in written.axes.items():
        for group in members:
            assert group.n == (frame[axis] == group.label).sum()


# The documentation ---------------------------------------------------------------------------


def overlays(page: str) -> list[dict[str, Any]]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [parse(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


def test_every_overlay_of_the_documentation_is_a_valid_study() -> None:
    malaysia, listed, germany, abroad = map(study, overlays("countries.md"))
    assert malaysia.name == "wvs-mys"
    assert listed.axes["ethnicity"].names() == ["Malay", "Chinese", "Indian"]
    assert "ethnicity" not in germany.axes
    assert ("country", "age_group", "religion") in abroad.strata("abroad")
    (kfold,) = overlays("splits.md")
    kfold["splits"]["train"] = {"strata": ["age_group"]}
    assert study(kfold).fold_recipes("cross") == [f"cross-{i}" for i in range(1, 6)]


def test_the_documented_transfer_runs(csv: Path, tmp_path: Path) -> None:
    abroad = study(merge({"survey": {"file": str(csv)}}, overlays("countries.md")[-1]), csv)
    results = run_stages(abroad, tmp_path, "clean", "tally", "pairs", only="abroad")
    tested = read_pairs(results, "abroad")
    assert set(tested["persona"].str.extract(r"living in (\w+)\.")[0]) == {"Malaysia"}
