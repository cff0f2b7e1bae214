"""Any country of a cross-national file, by its code; several in one study; groups found."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tests import world
from tests.graph import ROOT, Graph, Server
from tests.world import study, survey_side
from valuestrata import config, io
from valuestrata.baselines import rules
from valuestrata.errors import InputError
from valuestrata.specs import Axis
from valuestrata.survey import codebook, crosstab, groups, modal, readers, tally
from valuestrata.survey.diversity import modal_diversity

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
    return survey_side(study(ACROSS), csv, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def one(csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    overlay = {"survey": {"countries": [458]}}
    return survey_side(study(overlay), csv, tmp_path_factory.mktemp("one"))


def read(path: Path, overlay: dict[str, Any]) -> tuple[pd.DataFrame, groups.Groups]:
    found = config.spec_clean(study(overlay))
    book = codebook.load(world.BOOK)
    chosen = codebook.select(book, found.questions, found.exclude)
    return readers.read_survey(path, found, chosen, codebook.columns(world.BOOK))


def complaint(path: Path, overlay: dict[str, Any]) -> str:
    def clean() -> None:
        responses, _ = read(path, overlay)
        readers.check(responses, config.spec_clean(study(overlay)), path)

    with pytest.raises(InputError) as caught:
        clean()
    line = str(caught.value)
    assert "\n" not in line
    return line


# One country ---------------------------------------------------------------------------------


def test_one_line_gives_a_country_with_its_name_and_its_own_groups(one: Path) -> None:
    summary = io.read_json(one / "summary.json")
    assert summary["countries"] == ["Malaysia"]
    assert summary["respondents"] == world.EACH
    assert list(summary["groups"]["ethnicity"]) == ["Malay", "Chinese", "Indian"]
    assert "of another ethnic group" not in summary["groups"]["ethnicity"]
    pairs = io.read_table(one / "train.pairs", "pairs")
    assert pairs["persona"].str.startswith("You are a person living in Malaysia. About you: ").all()
    assert {"ethnicity=Malay", "sex=male & ethnicity=Chinese"} <= set(pairs["subgroup"])
    assert not pairs["subgroup"].str.contains("country").any()


@pytest.mark.parametrize("code", ["MYS", 458, "458"])
def test_letters_and_numbers_mean_the_same_country(csv: Path, one: Path, code: object) -> None:
    responses, found = read(csv, {"survey": {"countries": [code]}})
    expected = io.read_table(one / "responses", "responses")
    assert list(responses["respondent"]) == list(expected["respondent"])
    assert found.countries == ("Malaysia",)


def test_groups_are_the_codes_that_enough_respondents_have(csv: Path) -> None:
    frame = world.world()
    own = frame[frame["B_COUNTRY"] == 702]
    for least in (1, 20, 60):
        overlay = {"survey": {"countries": ["SGP"]}, "minimum": {"respondents": least}}
        _, found = read(csv, overlay)
        sizes = own["Q289"].value_counts()
        codes = [str(code) for code in sorted(sizes[sizes >= least].index)]
        assert [g.codes for g in found.axes["religion"]] == [(code,) for code in codes]
        assert [g.n for g in found.axes["religion"]] == [int(sizes[int(c)]) for c in codes]


def test_a_country_that_was_not_asked_says_which_axis_to_leave_out(csv: Path) -> None:
    line = complaint(csv, {"survey": {"countries": ["DEU"]}})
    assert "column Q290: axis ethnicity has fewer than two groups of 20 respondents (none)" in line
    assert "survey.axes.ethnicity: null" in line
    overlay = {"survey": {"countries": ["DEU"], "axes": {"ethnicity": None}}}
    found = study(overlay)
    assert list(found.axes) == ["sex", "age_group", "religion"]
    assert found.splits["ood"] == (("age_group", "religion"),)
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
    _, found = read(path, {"survey": {"countries": [702]}})
    assert found.countries == ("Singapore",)
    assert "no row of country 'SGP'" in complaint(path, {"survey": {"countries": ["SGP"]}})
    path = world.write_csv(tmp_path, world.world().drop(columns=["B_COUNTRY_ALPHA", "B_COUNTRY"]))
    assert "no column B_COUNTRY_ALPHA" in complaint(path, {"survey": {"countries": ["SGP"]}})


# Several -------------------------------------------------------------------------------------


def test_every_stratum_lies_within_a_country(two: Path) -> None:
    found = study(ACROSS)
    assert next(iter(found.axes)) == "country"
    assert found.splits["ood"][0] == ("country", "age_group", "religion")
    named = {s for split in ("train", "ood", "abroad") for s in pairs(two, split)["subgroup"]}
    assert all(name.startswith("country=") for name in named)
    # an ethnic group of one country is none of the other's
    assert "country=Malaysia & ethnicity=South Asian" not in named
    frame = io.read_table(two / "responses", "responses")
    assert set(frame[frame["country"] == "Malaysia"]["ethnicity"].dropna()) == {
        "Malay",
        "Chinese",
        "Indian",
    }


def pairs(folder: Path, split: str) -> pd.DataFrame:
    return io.read_table(folder / f"{split}.pairs", "pairs")


def test_trained_on_one_country_and_tested_on_another(two: Path) -> None:
    trained, tested = pairs(two, "train"), pairs(two, "abroad")
    assert trained["subgroup"].str.startswith("country=Singapore & ").all()
    assert tested["subgroup"].str.startswith("country=Malaysia & ").all()
    keys = ["subgroup", "question"]
    assert len(trained[keys].merge(tested[keys])) == 0
    for table, country in ((trained, "Singapore"), (tested, "Malaysia")):
        start = f"You are a person living in {country}. About you: "
        assert table["persona"].str.startswith(start).all()
    summary = io.read_json(two / "summary.json")
    assert summary["countries"] == ["Singapore", "Malaysia"]
    assert summary["groups"]["country"] == {"Singapore": world.EACH, "Malaysia": world.EACH}


def test_a_country_s_labels_are_those_of_its_own_study(one: Path, two: Path) -> None:
    """Nothing but the subgroup's name tells whether other countries are in the study."""
    alone = pairs(one, "ood").assign(stratum="", subgroup="")
    found = study({**TWO, "splits": {"ood": {"groups": {"country": {"only": ["Malaysia"]}}}}})
    given = [f"--{name}={two / name}" for name in ("questions", "groups")]
    tallies = sorted(str(path) for path in (two / "ood").glob("*.parquet"))
    world.stage("pairs", config.spec_pairs(found, "ood"), *given, "--tallies", *tallies,
                "--output", str(two / "malaysia"))  # fmt: skip
    together = io.read_table(two / "malaysia", "pairs").assign(stratum="", subgroup="")
    keys = ["persona", "question"]
    columns = [*keys, "mode", "n", "respondents", "closed_prompt"]
    one_way = alone[columns].sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(one_way, together[columns].sort_values(keys, ignore_index=True))


def test_conflict_is_scored_within_each_country(one: Path, two: Path) -> None:
    scores = io.read_table(two / "diversity", "diversity")
    assert {"Malaysia: sex", "Singapore: sex", "Malaysia: age_group-x-religion"} <= set(
        scores["stratum"]
    )
    assert "country-x-sex" not in set(scores["stratum"])
    alone = io.read_table(one / "diversity", "diversity")
    for stratum in ("sex", "religion", "age_group-x-religion"):
        for measure in ("mds", "wasserstein"):
            mine, whole = (
                t[(t["stratum"] == s) & (t["measure"] == measure)].set_index("question")["value"]
                for t, s in ((alone, stratum), (scores, f"Malaysia: {stratum}"))
            )
            np.testing.assert_allclose(whole.to_numpy(), mine.to_numpy(), equal_nan=True)


@pytest.mark.parametrize("rule", ["national_mode", "first_axis", "best_axis", "nearest"])
def test_a_baseline_keeps_to_the_subgroup_s_country(rule: str, one: Path, two: Path) -> None:
    said = []
    for folder, table in ((one, pairs(one, "ood")), (two, pairs(two, "abroad"))):
        scale = tally.scale_of(io.read_table(folder / "questions", "questions"))
        cells = crosstab.cross_tab(io.read_table(folder / "responses", "responses"), scale)
        code, _ = rules.predict(rule, table, cells, scale)
        said.append(table[["persona", "question"]].assign(code=code))
    both = said[0].merge(said[1], on=["persona", "question"])
    assert len(both) > 20
    assert (both["code_x"] == both["code_y"]).all()


def test_countries_themselves_are_compared_where_a_split_asks(csv: Path, tmp_path: Path) -> None:
    splits = {
        "train": {"strata": ["sex"]},
        "ood": {"strata": ["country"]},
    }
    folder = survey_side(study({**TWO, "splits": splits}), csv, tmp_path)
    tested = pairs(folder, "ood")
    assert set(tested["subgroup"]) == {"country=Singapore", "country=Malaysia"}
    assert (
        tested["persona"]
        .iloc[0]
        .startswith("You are a person living in Singapore. About you: from Singapore.")
    )
    table = io.read_table(folder / "diversity", "diversity")
    own = table[(table["stratum"] == "country") & (table["measure"] == "mds")]
    own = own[own["question"] != "mean"]
    questions = io.read_table(folder / "questions", "questions")
    scale = tally.scale_of(questions)
    counts = tally.from_frame(io.read_table(folder / "ood/country.parquet", "tally"), scale).counts
    present = counts.sum(axis=-1) >= 20
    expected = modal_diversity(modal.modes(counts), present, scale)
    np.testing.assert_allclose(own["value"].to_numpy(), expected)


def test_a_country_that_is_not_in_the_study_is_one_line(two: Path) -> None:
    splits = {"train": {"groups": {"country": {"only": ["Atlantis"]}}}}
    found = study({**TWO, "splits": splits})
    given = [f"--{name}={two / name}" for name in ("questions", "groups")]
    tallies = [str(path) for path in (two / "train").glob("*.parquet")]
    said = ["--tallies", *tallies, "--output", str(two / "x")]
    spec = config.spec_pairs(found, "train")
    with pytest.raises(AssertionError):
        world.stage("pairs", spec, *given, *said)
    assert not (two / "x").exists()


def test_the_whole_survey_side_of_the_graph_runs_on_two_countries(
    tmp_path: Path, snakemake: Server
) -> None:
    graph = Graph(tmp_path, snakemake)
    world.write_csv(tmp_path)
    (tmp_path / "config.yaml").unlink()
    found = study(ACROSS, "wvs7.csv").config
    raw = {key: found[key] for key in ("study", "survey", "minimum", "splits", "models")}
    raw["models"] = {"national-mode": {"backend": "baseline", "rule": "national_mode"}}
    io.write_text(io.json.dumps(raw), tmp_path / "config.yaml")
    done = graph.run("--", "survey")
    assert done.returncode == 0, done.stderr
    summary = io.read_json(tmp_path / "results/wvs-any/survey/summary.json")
    assert summary["countries"] == ["Singapore", "Malaysia"]
    assert summary["splits"]["abroad"]["subgroups"] > 5
    plan = graph.planned("--", "all")
    assert "toy" not in plan.jobs


# Labels --------------------------------------------------------------------------------------


def test_the_codebook_labels_first_and_the_file_what_it_does_not_know(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = world.write_sav(tmp_path, FILE_LABELS)
    found = config.spec_clean(study({"survey": {"countries": [458]}}))
    chosen = codebook.select(codebook.load(world.BOOK), found.questions, found.exclude)
    by_book = readers.read_survey(path, found, chosen, codebook.columns(world.BOOK))[1]
    assert by_book.countries == ("Malaysia",)
    assert [g.label for g in by_book.axes["ethnicity"]] == ["Malay", "Chinese", "Indian"]
    assert "has no label" not in caplog.text
    by_file = readers.read_survey(path, found, chosen)[1]
    assert by_file.countries == ("Malaysia (file)",)
    assert by_file.labels()["ethnicity"] == ("Malay and more", "Chinese", "Indian")
    assert by_file.labels()["religion"][0] == "Do not belong"
    # codes that nothing labels stand for themselves, and are told of
    assert by_file.labels()["religion"][1] == "1"
    assert "column Q289: code 1 has no label" in caplog.text


def test_a_sav_file_and_a_csv_file_give_the_same_study(csv: Path, tmp_path: Path) -> None:
    path = world.write_sav(tmp_path, FILE_LABELS)
    from_csv, groups_csv = read(csv, TWO)
    from_sav, groups_sav = read(path, TWO)
    pd.testing.assert_frame_equal(from_csv, from_sav)
    assert groups_csv == groups_sav


def test_codes_of_one_label_are_one_group() -> None:
    meant = {"586007": "Hindkowan", "586009": "Hindkowan", "586001": "Punjabi"}
    cells = pd.Series(["Hindkowan", "Punjabi", "Hindkowan"])
    assert groups.counted(meant, cells) == (
        groups.Group("Hindkowan", ("586007", "586009"), 2),
        groups.Group("Punjabi", ("586001",), 1),
    )


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("SG: Chinese", "Chinese"),
        ("Sikh & Jain", "Sikh and Jain"),
        ("a=b", "a-b"),
        ("  two\nlines ", "two lines"),
        ("US: White, non-Hispanic", "White, non-Hispanic"),
    ],
)
def test_a_label_of_a_file_becomes_one_that_a_subgroup_can_bear(said: str, label: str) -> None:
    assert groups.label("7", [{"7": said}], "Q290") == label
    name = tally.subgroup_name("sex=male", "ethnicity", label)
    assert tally.subgroup_groups(name) == {"sex": "male", "ethnicity": label}


def test_every_label_of_the_codebook_can_be_part_of_a_subgroup() -> None:
    known = codebook.columns(world.BOOK)
    assert set(known) == {"B_COUNTRY", "B_COUNTRY_ALPHA", "Q289", "Q290"}
    for labels in known.values():
        for code, said in labels.items():
            assert groups.label(code, [labels], "x") == said
    assert set(known["B_COUNTRY"].values()) == set(known["B_COUNTRY_ALPHA"].values())
    # an ethnic group's code starts with its country's
    assert {code[:-3] for code in known["Q290"]} <= set(known["B_COUNTRY"])


def test_found_codes_are_ordered_by_number_then_text_and_missing_ones_left_out() -> None:
    cells = pd.Series(["10", "2", "b", "2", "", "-1", "NA", "10", "b", "9"], name="x")
    known = [{"2": "two", "10": "ten"}]
    assert groups.find(cells, 2, [-1], known) == {"2": "two", "10": "ten", "b": "b"}
    country = pd.Series(["A", "A", "A", "B", "A", "A", "A", "A", "B", "A"])
    assert groups.find(cells, 2, [-1], known, country) == {"10": "ten"}


def test_codes_that_a_file_declares_missing_are_no_group_unless_listed(tmp_path: Path) -> None:
    path = world.write_sav(tmp_path, {}, missing_ranges={"Q289": [7, 9]})
    _, found = read(path, {"survey": {"countries": ["SGP"]}})
    assert not {"7", "9"} & {code for g in found.axes["religion"] for code in g.codes}
    listed = {"survey": {"countries": ["SGP"], "axes": {"religion": {"groups": {5: "a", 7: "b"}}}}}
    _, found = read(path, listed)
    assert [g.label for g in found.axes["religion"]] == ["a", "b"]
    assert found.axes["religion"][1].n > 0


def test_a_persona_lives_in_its_own_country_and_says_it_once() -> None:
    prompt = config.spec_pairs(study(TWO), "train").prompt
    assert prompt.country == ""
    found = groups.Groups(("Singapore", "Malaysia"), {})
    said, traits = found.persona_phrase(prompt, {"country": "Malaysia", "sex": "male"})
    assert (said.country, traits) == ("Malaysia", {"sex": "male"})
    assert found.persona_phrase(prompt, {"country": "Malaysia"})[1] == {"country": "Malaysia"}
    named = replace(prompt, country="Utopia")
    assert groups.Groups((), {}).persona_phrase(named, {"sex": "male"}) == (named, {"sex": "male"})


def test_listed_groups_and_bands_are_written_down_like_found_ones(one: Path) -> None:
    written = io.read_json(one / "groups")
    assert list(written["axes"]) == ["sex", "age_group", "ethnicity", "religion"]
    frame = io.read_table(one / "responses", "responses")
    for axis, found in written["axes"].items():
        for group in found:
            assert group["n"] == (frame[axis] == group["label"]).sum()
    assert Axis("x", "x", "{group}", found=3).names() == []


# The documentation ---------------------------------------------------------------------------


def overlays(page: str) -> list[dict[str, Any]]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


def test_every_overlay_of_the_documentation_is_a_valid_study() -> None:
    said = overlays("countries.md")
    assert len(said) == 4
    malaysia, listed, germany, abroad = (study(overlay) for overlay in said)
    assert malaysia.name == "wvs-mys"
    assert listed.axes["ethnicity"].names() == ["Malay", "Chinese", "Indian"]
    assert "ethnicity" not in germany.axes
    assert ("country", "age_group", "religion") in abroad.splits["abroad"]
    (kfold,) = overlays("splits.md")
    kfold["splits"]["train"] = {"strata": ["age_group"]}
    assert study(kfold).folds("cross") == [f"cross-{i}" for i in range(1, 6)]


def test_the_documented_transfer_runs(csv: Path, tmp_path: Path) -> None:
    abroad = study(overlays("countries.md")[-1])
    tested = pairs(survey_side(abroad, csv, tmp_path), "abroad")
    assert set(tested["persona"].str.extract(r"living in (\w+)\.")[0]) == {"Malaysia"}
