"""What an overlay can add, replace and remove, and the one line where it cannot."""

from pathlib import Path
from typing import Any, get_args

import pytest

from tests.study.parts import CONFIG, OVERLAYS, ROOT, STUDIES, part_classes
from valuestrata.errors import InputError
from valuestrata.study.base import is_list
from valuestrata.study.load import load, load_files, merge_files
from valuestrata.study.study import Study
from valuestrata.study.yaml import lay, parse

PLAIN = ROOT / "studies/wvs-any.yaml"


def laid(text: str, base: dict[str, Any] = CONFIG) -> Study:
    return load(over(text, base), files=False)


def over(text: str, base: dict[str, Any] = CONFIG) -> dict[str, Any]:
    return lay(base, parse(text))


def refused(text: str, base: dict[str, Any] = CONFIG) -> str:
    with pytest.raises(InputError) as caught:
        laid(text, base)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("config: ")
    return line.removeprefix("config: ")


# add -------------------------------------------------------------------------------------------


def test_lists_of_a_study_can_be_added_to() -> None:
    survey = laid("survey: {exclude+: [Q1], questions+: [Q2, Q3], missing+: [99]}").survey
    assert survey.exclude == (*CONFIG["survey"]["exclude"], "Q1")
    assert survey.questions == (*CONFIG["survey"]["questions"], "Q2", "Q3")
    # `missing` stands in no study file: its default counts
    assert survey.missing == (-1, -2, -3, -4, -5, 99)
    study = laid(
        "splits: {train: {strata+: [sex]}}",
        over("splits: {train: {strata: [religion]}}"),
    )
    assert study.splits["train"].strata == ("religion", "sex")
    more = laid(
        "splits: {ood: {questions: {without+: [Q1]}, "
        "groups: {religion: {only: [Hindu], only+: [Muslim]}}}}\n"
        "survey: {filter: {B_COUNTRY_ALPHA+: [MYS]}}\ngeneration: {splits+: [train]}\n"
        "models: {toy-llama: {recipes: [], recipes+: [sft]}}\n"
        "recipes: {sft: {target_modules: [q_proj], target_modules+: [v_proj]}}"
    )
    questions, groups = more.selections("ood")
    assert (questions.without, groups["religion"].only) == (("Q1",), ("Hindu", "Muslim"))
    assert more.survey.filter == {"B_COUNTRY_ALPHA": ("SGP", "MYS")}
    assert more.generation is not None
    assert more.generation.splits == ("ood", "train")
    assert more.models["toy-llama"].recipes == ("sft",)
    assert more.recipes["sft"].target_modules == ("q_proj", "v_proj")


def test_every_list_of_every_part_can_be_added_to() -> None:
    lists = [
        (part, name)
        for part in part_classes()
        for name, field in part.model_fields.items()
        if is_list(field.annotation)
    ]
    names = {name for _, name in lists}
    assert names >= {"exclude", "questions", "missing", "countries", "country_columns", "bands"}
    assert names >= {"strata", "only", "without", "splits", "recipes", "prompt_variants"}
    assert "filter" not in names
    for part, name in lists:
        raw = {name: [1], f"{name}+": [2, 3]}
        prepared = part._prepare(raw)  # the other keys of a part are its own affair
        assert prepared == {name: (1, 2, 3)}, (part, name)
        assert get_args(part.model_fields[name].annotation) or name


def test_what_is_no_list_cannot_be_added_to() -> None:
    whole = parse(PLAIN.read_text(encoding="utf-8"))
    for text, base, start, words in (
        ("title+: [x]", CONFIG, "the study: title+: title is no list", "write title: ..."),
        ("survey: {name+: [x]}", CONFIG, "survey: name+: name is no list", ""),
        ("survey: {axes+: [x]}", CONFIG, "survey: axes+: axes is no list", ""),
        (
            "survey: {exclude+: Q1}",
            CONFIG,
            "survey: exclude+: 'Q1' is not a list",
            "exclude+: [...]",
        ),
        ("survey: {exclude+: null}", CONFIG, "survey: exclude+: null is not a list", ""),
        ("survey: {exclud+: [Q1]}", CONFIG, "survey: unknown key 'exclud+'", "'exclude+'?"),
        ("exclude+: [Q1]", CONFIG, "the study: unknown key 'exclude+'", ""),
        (
            "survey: {questions+: [Q1]}",
            whole,
            "survey: questions+: questions is 'all', no list",
            "",
        ),
        ("survey: {countries+: [MYS]}", CONFIG, "survey: countries+: countries is not set", ""),
        (
            "models: {toy-llama: {recipes+: [x]}}",
            CONFIG,
            "models.toy-llama: recipes+: recipes is not set",
            "",
        ),
        ("splits: {train: {strata+: [sex]}}", CONFIG, "splits.train.strata: duplicate 'sex'", ""),
        (
            "splits: {ood: {strata+: [sex]}}",
            CONFIG,
            "splits.ood: stratum 'sex' is in the train split",
            "",
        ),
    ):
        line = refused(text, base)
        assert line.startswith(start), line
        assert words in line


# remove and replace ----------------------------------------------------------------------------


def test_null_removes_a_part_and_takes_it_out_of_lists() -> None:
    named = (
        "models: {toy-qwen: {recipes: [sft, more]}}\n"
        "recipes: {more: {method: sft, split: train, learning_rate: 1e-3}}"
    )
    base = over(named)
    study = laid("recipes: {sft: null}", base)
    assert list(study.recipes) == ["more"]
    assert study.models["toy-qwen"].recipes == ("more",)
    study = laid("models: {toy-llama: null, additive: null}")
    assert list(study.models) == ["toy-qwen", "national-mode", "axis-mode"]
    study = laid("judges: {toy-judge: null}\nsplits: {train: null}\nrecipes: null")
    assert (dict(study.judges), list(study.splits), dict(study.recipes)) == ({}, ["ood"], {})
    study = laid("survey: {axes: {religion: null}}")
    assert study.strata("ood") == (("age_group", "ethnicity"),)
    variants = "prompt_variants: {w: {options: reversed}, v: {persona: list}}\n"
    asked = over(variants + "models: {toy-qwen: {prompt_variants: [w, v]}}")
    assert laid("prompt_variants: {w: null}", asked).models["toy-qwen"].prompt_variants == ("v",)
    two = over("generation: {splits: [ood, train]}")
    left = laid("splits: {train: null}\nrecipes: null", two).generation
    assert left is not None
    assert left.splits == ("ood",)


def test_a_whole_section_can_be_removed_or_replaced() -> None:
    study = laid("recipes: null\njudges: null\ngeneration: null\ntitle: null\nevaluation: null")
    assert not study.recipes
    assert not study.judges
    assert study.generation is None
    assert (study.title, study.evaluation.n_resamples) == ("", 10_000)
    only = laid(
        "models=: {rule: {backend: baseline, rule: additive}}\njudges=: {}\ngeneration: null"
    )
    assert list(only.models) == ["rule"]


def test_what_still_needs_a_removed_part_is_one_line() -> None:
    for text, start in (
        (
            "models: {toy-qwen: null}",
            "judges.toy-judge.reference.model: no language model 'toy-qwen'",
        ),
        ("splits: {train: null}", "recipes.sft.split: 'train' is neither a train split"),
        ("splits: {ood: null}", "generation.splits: [] has too few entries"),
        ("generation: null", "judges.toy-judge: nothing to judge"),
        ("models: null", "models: missing; add it"),
        ("splits=: {}", "splits: {} has too few entries"),
    ):
        assert refused(text).startswith(start), refused(text)


def test_a_null_that_removes_nothing_is_one_line_with_the_name_that_is_near() -> None:
    for text, start, words in (
        ("models: {toy-lama: null}", "models.toy-lama: null removes nothing", "'toy-llama'?"),
        ("survey: {axes: {ethncity: null}}", "survey.axes.ethncity: null removes", "'ethnicity'?"),
        ("recipes: {x: null}", "recipes.x: null removes nothing", "there are sft"),
        ("splits: {test: null}", "splits.test: null removes nothing", "there are train, ood"),
        ("judges: {toy: null}", "judges.toy: null removes nothing", ""),
    ):
        line = refused(text)
        assert line.startswith(start), line
        assert words in line
    # what was removed may be removed again
    assert (
        "toy-llama"
        not in laid("models: {toy-llama: null}", over("models: {toy-llama: null}")).models
    )


# the overlay of baselines ------------------------------------------------------------------------


def test_the_overlay_of_baselines_leaves_no_language_model_in_any_study() -> None:
    overlay = ROOT / "studies/overlays/baselines.yaml"
    assert overlay in OVERLAYS
    for path in [*STUDIES, ROOT / "tests/fixtures/mini.yaml"]:
        study = load_files([path, overlay], files=False)
        assert all(study.is_baseline(model) for model in study.models)
        assert not study.recipes
        assert not study.judges
        assert study.generation is None
        assert study.caveat in ("", "simulated survey")
    assert load_files([overlay], files=False).name == "demo"


def test_later_files_see_what_earlier_ones_added(tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{i}.yaml" for i in range(3))
    first.write_text("survey: {exclude+: [Q1]}\n")
    second.write_text("survey: {exclude+: [Q2]}\n")
    third.write_text("survey: {exclude: [Q3]}\n")
    base = ROOT / "config.yaml"
    assert merge_files([base, first, second])["survey"]["exclude"][-2:] == ["Q1", "Q2"]
    assert merge_files([base, first, third])["survey"]["exclude"] == ["Q3"]
