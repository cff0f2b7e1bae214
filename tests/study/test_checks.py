"""Parts of a study that are valid one by one and do not fit each other, and files that are gone."""

from pathlib import Path
from typing import Any

import pytest

from tests.study.parts import CONFIG, REMOVED, check, complaint, study
from valuestrata.study.study import SURVEY_VARIABLE

SEX = CONFIG["survey"]["axes"]["sex"]
SFT = CONFIG["recipes"]["sft"]
STRATA = CONFIG["splits"]["ood"]["strata"]
JUDGE = CONFIG["judges"]["toy-judge"]
PREFERENCE = {"split": "train", "learning_rate": 1e-5}
TOY = {"backend": "transformers", "toy": {"architecture": "llama"}}
SERVED = {"backend": "openai", "model": "gpt", "base_url": "http://x/v1"}
VLLM = {"backend": "vllm", "model": "a/b", "revision": "main"}


def panel(*judges: str) -> dict[str, Any]:
    return {"panel": {"judges": [*judges]}, "reference": JUDGE["reference"]}


PANEL = panel("toy-judge", "b")
CV = {"role": "test", "strata": ["sex"], "folds": {"of": 5}}


@pytest.fixture(autouse=True)
def _no_survey_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SURVEY_VARIABLE, raising=False)


def test_parts_that_do_not_fit_each_other_are_refused() -> None:
    cv = {"splits/cv": CV, "splits/train/strata": ["age_group"]}
    check(
        [
            ({"splits/ood/strata": ["sex x height"]}, "splits.ood.strata: ",
             ("'height'", "axes are sex, age_group, ethnicity, religion")),
            ({"splits/ood/strata": ["religion x religion"]}, "splits.ood.strata: ", ("twice",)),
            ({"splits/ood/strata": ["age_group x religion", "religion x age_group"]},
             "splits.ood.strata: duplicate 'religion x age_group'", ()),
            ({"splits/ood/groups": {"height": {"only": ["tall"]}}},
             "splits.ood.groups: no axis", ()),
            ({"splits/ood/groups": {"sex": {"only": ["x"]}}}, "splits.ood.groups.sex: no group 'x'",
             ("male, female",)),
            ({"splits/ood/folds": {"of": 5}}, "generation.splits: 'ood' has folds", ()),
            ({"splits/cv": {**CV, "strata": STRATA}}, "splits.ood: ",
             ("split with folds 'cv'", "must not be trained on")),
            ({"splits/cv": CV}, "splits.cv: ", ("train split 'train'",)),
            ({**cv, "splits/cv-test-1": {"role": "test", "strata": ["religion"]}},
             "splits.cv-test-1: the name is taken by a fold of 'cv'", ()),
            ({**cv, "recipes/kf": {**SFT, "split": "cv"}, "recipes/kf-2": SFT},
             "recipes.kf-2: the name is taken by a fold of 'kf'", ()),
            ({**cv, "recipes/kf": {**SFT, "split": "cv"},
              "judges/toy-judge/reference/variant": "kf"},
             "judges.toy-judge.reference.variant: 'kf' is tuned on folds", ()),
            ({"splits/ood/strata": [*STRATA, "sex x ethnicity"]}, "splits.ood: ",
             ("'sex x ethnicity'", "train split 'train'")),
            ({"splits/ood/strata": [*STRATA, "ethnicity x sex"]}, "splits.ood: ",
             ("'ethnicity x sex'", "must not be trained on")),
            ({"survey/axes/country": SEX}, "survey.axes.country: the name is reserved", ()),
            *(({f"survey/axes/{name}": SEX}, f"survey.axes.{name}: ", ("rename",))
              for name in ("respondent", "weight", "all", "mean", "subgroups")),
            ({"prompt/template": "x"}, "prompt.template: no file 'x'", ("files are english",)),
            ({"prompt_variants/w": {"template": "x"}},
             "prompt_variants.w.template: no file 'x'", ()),
            ({"prompt_variants/w": {"template": "english"}}, "prompt_variants.w: the same as", ()),
            ({"prompt_variants/w": {"order": "persona"}}, "prompt_variants.w: the same as", ()),
            ({"models/toy-llama/prompt_variants": ["x"]},
             "models.toy-llama.prompt_variants: no prompt variant 'x'", ()),
            ({"models/toy-llama/recipes": ["x"]}, "models.toy-llama.recipes: no recipe 'x'",
             ("recipes are sft",)),
            ({"recipes/sft/split": "ood"}, "recipes.sft.split: 'ood' is neither", ("train",)),
            ({"recipes/sft/split": "no"}, "recipes.sft.split: 'no' is neither", ()),
            ({"recipes/sft/group_weights": {"sex=male": 2}}, "recipes.sft.group_weights: no effect",
             ("group_sampling: weight",)),
            ({"recipes/sft/group_sampling": "weight", "recipes/sft/group_weights": {"x": 2}},
             "recipes.sft.group_weights: no group 'x'", ("groups are age_group=16-24",)),
            ({"models/m": VLLM, "recipes/sft/lora_r": 513}, "recipes.sft.lora_r: 513",
             ("models.m", "512")),
            *(({"models/m": {**TOY, "gpus": 3, "recipes": ["p"]},
                "recipes/p": {**PREFERENCE, "method": method}},
               "recipes.p.batch_size: 8 is not a multiple of models.m.gpus, 3", ())
              for method in ("dpo", "grpo")),
            ({"models/m": {"backend": "transformers", "model": "owner/name"}},
             "models.m.revision: ",
             ("pin the commit of owner/name",)),
            ({"models/m": {"backend": "vllm", "model": "a/b"}}, "models.m.revision: missing", ()),
            ({"judges/toy-judge/model": {"backend": "transformers", "model": "a/b"}},
             "judges.toy-judge.model.revision: ", ("a/b",)),
            ({"prediction": {"constrained": True}, "models/m": SERVED},
             "models.m: prediction.constrained needs structured output",
             ("models.m.structured_output: true", "constrained: false")),
            ({"generation/splits": ["x"]}, "generation.splits: no split 'x'", ("train, ood",)),
            ({"generation": REMOVED}, "judges.toy-judge: nothing to judge", ("generation",)),
            ({"generation": None}, "judges.toy-judge: nothing to judge", ()),
            ({"judges/toy-llama": JUDGE}, "judges.toy-llama: a model has the same name", ()),
            ({"judges/toy-judge/model": {"backend": "baseline", "rule": "additive"}},
             "judges.toy-judge.model: a baseline cannot judge", ()),
            ({"judges/toy-judge/rubric": "x"}, "judges.toy-judge.rubric: no file",
             ("files are pairwise, toy", "path of your own")),
            ({"judges/toy-judge/rubric": "config.yaml"},
             "judges.toy-judge.rubric: config.yaml: ", ("system",)),
            ({"judges/toy-judge/parser": "brackets"},
             "judges.toy-judge.parser: brackets hold one verdict", ("3 dimensions", "lines")),
            ({"judges/toy-judge/parser": "json"},
             "judges.toy-judge.parser: json, and the rubric toy asks for another form", ()),
            ({"judges/toy-judge/constrained": True, "judges/toy-judge/reason": True},
             "judges.toy-judge.reason: a constrained verdict", ("remove reason",)),
            ({"judges/toy-judge/constrained": True, "judges/toy-judge/temperature": 0.5},
             "judges.toy-judge.temperature: a constrained verdict", ()),
            ({"judges/toy-judge/constrained": True, "judges/toy-judge/model": SERVED},
             "judges.toy-judge.constrained: needs structured output",
             ("judges.toy-judge.model.structured_output: true",)),
            ({"judges/toy-judge/panel": {"judges": ["a", "b"]}},
             "judges.toy-judge: give either model or panel", ()),
            ({"judges/both": {"reference": JUDGE["reference"]}},
             "judges.both: give either model or panel", ()),
            ({"judges/both": {**PANEL, "seed": 2}}, "judges.both: seed is its judges'", ()),
            ({"judges/both": panel("toy-judge", "x")},
             "judges.both.panel.judges: no judge 'x'", ("judges are toy-judge",)),
            ({"judges/b": JUDGE, "judges/both": PANEL, "judges/all": panel("b", "both")},
             "judges.all.panel.judges: both is a panel itself", ()),
            ({"judges/b": {**JUDGE, "reference": {"model": "toy-llama"}}, "judges/both": PANEL},
             "judges.both.panel.judges: b compares with another reference", ()),
            ({"judges/b": {**JUDGE, "rubric": "pairwise"}, "judges/both": PANEL},
             "judges.both.panel.judges: b judges other dimensions than toy-judge", ()),
            ({"judges/both": panel("toy-judge")}, "judges.both.panel.judges: ", ("2",)),
            ({"judges/both": {**PANEL, "reference": {"model": "x"}}, "judges/b": JUDGE},
             "judges.both.reference.model: no language model 'x'", ()),
            ({"judges/toy-judge/reference/model": "gpt"},
             "judges.toy-judge.reference.model: no language model 'gpt'", ("toy-llama",)),
            ({"judges/toy-judge/reference/model": "axis-mode"},
             "judges.toy-judge.reference.model: no language model 'axis-mode'", ()),
            ({"judges/toy-judge/reference/variant": "dpo"},
             "judges.toy-judge.reference.variant: toy-qwen has no variant 'dpo'", ("base, sft",)),
        ]
    )  # fmt: skip


def test_groups_that_show_only_in_the_file_are_not_checked_here() -> None:
    auto = {"survey/axes/religion/groups": "auto"}
    weights = {"group_sampling": "weight", "group_weights": {"religion=Jedi": 2}}
    assert study({**auto, "recipes/sft": {**SFT, **weights}}).name == "demo"
    assert study({**auto, "splits/ood/groups": {"religion": {"only": ["Jedi"]}}}).name == "demo"


def test_splits_that_share_a_pair_are_refused_and_others_are_not() -> None:
    only, without = {"only": ["Q1"]}, {"without": ["Q1"]}
    shared: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {}),
        ({"questions": without}, {"questions": {"only": ["Q1", "Q4"]}}),
        ({"questions": without}, {"questions": {"without": ["Q4"]}}),
        ({}, {"questions": only}),
        ({}, {"fold": {"of": 5, "only": [0]}}),
        ({"fold": {"of": 5, "without": [0]}}, {"fold": {"of": 5, "only": [0, 1]}}),
        ({"fold": {"of": 5, "without": [0]}}, {"fold": {"of": 4, "only": [0]}}),
        ({"fold": {"of": 5, "without": [0]}}, {"fold": {"of": 5, "unit": "question", "only": [0]}}),
        # sex is no axis of the stratum, so it keeps nothing apart
        ({"groups": {"sex": {"only": ["male"]}}}, {"groups": {"sex": {"only": ["female"]}}}),
    ]
    apart: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"questions": without}, {"questions": only}),
        ({"fold": {"of": 5, "without": [0]}}, {"fold": {"of": 5, "only": [0]}}),
        (
            {"groups": {"religion": {"without": ["Muslim"]}}},
            {"groups": {"religion": {"only": ["Muslim"]}}},
        ),
    ]
    for pairs, is_shared in ((shared, True), (apart, False)):
        for train, test in pairs:
            splits = {
                "train": {"role": "train", "strata": ["religion"], **train},
                "ood": {"role": "test", "strata": ["religion"], **test},
            }
            if is_shared:
                assert "must not be trained on" in complaint({"splits": splits})
            else:
                assert study({"splits": splits}).runs()


def test_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    check(
        [
            ({"survey/codebook": "no.yaml"}, "survey.codebook: no.yaml: no such file", ()),
            ({"survey/simulate": REMOVED}, "survey.file: missing", (f"${SURVEY_VARIABLE}",)),
            (
                {"survey/simulate": REMOVED, "survey/file": "no.csv"},
                "survey.file: no.csv: no such file",
                (f"${SURVEY_VARIABLE}",),
            ),
            (
                {"models/m": {"backend": "transformers", "model": "./no"}},
                "models.m.model: ./no: no such directory",
                (),
            ),
        ]
    )
    (tmp_path / "weights").mkdir()
    local = {"backend": "transformers", "model": str(tmp_path / "weights")}
    assert study({"models/m": local}).name == "demo"
