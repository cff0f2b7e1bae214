"""A study is checked before its graph is built: one line says what is wrong and what is right."""

import contextlib
import copy
import dataclasses
import datetime
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from valuestrata import config as study_config
from valuestrata import specs, validate
from valuestrata.config import SURVEY_VARIABLE, Study
from valuestrata.errors import InputError
from valuestrata.inference import vllm
from valuestrata.specs import from_json, to_json
from valuestrata.validate import ROOT, SCHEMA, load, read_yaml, unpinned

Raw = dict[str, Any]
Change = Callable[[Raw], object]
CONFIG = read_yaml(ROOT / "config.yaml")
SAID = read_yaml(SCHEMA)
STUDIES = sorted([ROOT / "config.yaml", *(ROOT / "studies").glob("*.yaml")])
GONE = object()
TOY = {"backend": "transformers", "toy": {"architecture": "llama"}}


@pytest.fixture(autouse=True)
def _no_survey_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SURVEY_VARIABLE, raising=False)


@pytest.fixture(autouse=True)
def _schema_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        validate, "read_yaml", lambda path: SAID if path == SCHEMA else read_yaml(path)
    )


@pytest.fixture
def raw() -> Raw:
    return copy.deepcopy(CONFIG)


@pytest.fixture(scope="module")
def demo() -> Study:
    return load(copy.deepcopy(CONFIG))


def put(path: str, value: object) -> Change:
    """A change of one key, named by its parts joined by /; GONE takes it out."""

    def change(raw: Raw) -> None:
        *folders, last = path.split("/")
        for folder in folders:
            raw = raw.setdefault(folder, {})
        if value is GONE:
            del raw[last]
        else:
            raw[last] = value

    return change


def both(*changes: Change) -> Change:
    def change(raw: Raw) -> None:
        for one in changes:
            one(raw)

    return change


def case(name: str, change: Change, *said: str) -> Any:
    return pytest.param(change, said, id=name)


def complaint(raw: Raw, change: Change, **options: Any) -> str:
    change(raw)
    with pytest.raises(InputError) as caught:
        load(raw, **options)
    return str(caught.value)


# The schema ----------------------------------------------------------------------------------


def nodes(said: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(said, dict):
        yield where, said
        for key, inner in said.items():
            yield from nodes(inner, f"{where}/{key}")
    elif isinstance(said, list):
        for i, inner in enumerate(said):
            yield from nodes(inner, f"{where}/{i}")


def test_the_schema_is_a_valid_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SAID)


def test_every_property_at_every_level_has_a_description() -> None:
    without = [
        f"{where}/{name}"
        for where, node in nodes(SAID)
        if not where.endswith("/default")
        for name, inner in node.get("properties", {}).items()
        if isinstance(inner, dict) and len(str(inner.get("description", ""))) < 4
    ]
    assert without == []


def test_every_level_with_properties_refuses_unknown_keys() -> None:
    open_levels = [
        where
        for where, node in nodes(SAID)
        if node.get("type") == "object"
        and "properties" in node
        and node.get("additionalProperties") is not False
    ]
    assert open_levels == []


def test_every_default_keeps_the_schema_it_stands_in() -> None:
    for where, node in nodes(SAID):
        if "default" in node and "properties" not in where.rsplit("/", 1)[-1]:
            inner = {**node, "$defs": SAID["$defs"]}
            jsonschema.Draft202012Validator(inner).validate(node["default"])


def test_every_reference_inside_the_schema_has_a_target() -> None:
    targets = {node["$ref"] for _, node in nodes(SAID) if isinstance(node.get("$ref"), str)}
    assert targets <= {f"#/$defs/{name}" for name in SAID["$defs"]}
    assert targets == {f"#/$defs/{name}" for name in SAID["$defs"]}


# Studies that are fine -----------------------------------------------------------------------


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.name)
def test_every_study_file_is_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SURVEY_VARIABLE, "any.csv")
    study = load(read_yaml(path), files=False)
    assert study.runs()


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.name)
def test_every_study_names_a_codebook_with_its_questions(path: Path) -> None:
    survey = read_yaml(path)["survey"]
    book = read_yaml(ROOT / survey["codebook"])["questions"]
    chosen = survey.get("questions", "all")
    asked = [] if chosen == "all" else chosen
    assert set(asked) | set(survey.get("exclude", [])) | set(survey.get("recode", {})) <= set(book)


def test_the_names_of_two_studies_differ() -> None:
    names = [read_yaml(path)["study"] for path in STUDIES]
    assert len(set(names)) == len(names)


def test_loading_does_not_change_what_it_is_given(raw: Raw) -> None:
    load(raw)
    assert raw == CONFIG


def test_defaults_are_filled_at_every_level(raw: Raw) -> None:
    for key in ("evaluation", "title"):
        del raw[key]
    del raw["recipes"]["sft"]["rank"], raw["judges"]["toy-judge"]["reference"]["variant"]
    filled = load(raw).config
    assert filled["evaluation"] == {"level": 0.95, "resamples": 1000, "seed": 1}
    assert filled["minimum"] == {"respondents": 30, "answers": 30}
    assert filled["survey"]["missing"] == [-1, -2, -3, -4, -5]
    assert filled["survey"]["axes"]["sex"]["label"] == ""
    assert filled["recipes"]["sft"]["rank"] == 8
    assert filled["models"]["toy-llama"]["toy"]["hidden"] == 96
    assert filled["judges"]["toy-judge"]["reference"]["variant"] == "base"
    assert filled["judges"]["toy-judge"]["model"]["batch_tokens"] == 16384
    assert filled["prompt"] == {"template": "english", "persona": "second", "options": "asked"}
    assert filled["prediction"] == {"max_new_tokens": 16}


def test_what_is_said_wins_over_the_default(raw: Raw) -> None:
    both(put("minimum/answers", 5), put("models/toy-llama/toy/hidden", 16))(raw)
    filled = load(raw).config
    assert filled["minimum"] == {"respondents": 30, "answers": 5}
    assert filled["models"]["toy-llama"]["toy"]["hidden"] == 16


def test_two_studies_share_no_default(raw: Raw) -> None:
    first, second = load(raw), load(copy.deepcopy(CONFIG))
    first.config["survey"]["missing"].append(99)
    first.config["minimum"]["answers"] = 1
    assert second.config["survey"]["missing"] == [-1, -2, -3, -4, -5]
    assert second.config["minimum"]["answers"] == 30


def test_a_study_without_judges_generation_and_recipes_is_fine(raw: Raw) -> None:
    for key in ("judges", "generation", "recipes"):
        del raw[key]
    study = load(raw)
    assert study.judgements() == []
    assert study.writing_runs() == []
    assert study.variants("toy-llama") == ["base"]


def test_a_key_in_place_of_its_variables_name_is_refused_and_not_repeated(raw: Raw) -> None:
    key = "sk-proj-0123456789abcdef"
    service = {"address": "https://x/v1", "key_variable": key}
    line = complaint(raw, put("models/m", {**SERVED, "service": service}))
    assert line.startswith("config: models.m.service.key_variable: ")
    assert key not in line
    assert "never the key" in line
    raw["models"]["m"]["service"] = {"address": f"https://me:{key}@x/v1"}
    line = complaint(raw, lambda _: None)
    assert line.startswith("config: models.m.service.address: ")
    assert key not in line


def test_a_served_model_has_the_base_alone_and_asks_for_what_the_study_says(raw: Raw) -> None:
    raw["models"]["closed"] = SERVED
    study = load(raw)
    assert study.variants("closed") == ["base"]
    model = study_config.spec_predict(study, "closed", "base").model
    assert model.service == specs.Service("http://x/v1", 4, 60, 6)
    assert study_config.spec_predict(study, "toy-llama", "base").model.service is None


def test_vllm_is_tuned_like_transformers_and_may_judge(raw: Raw) -> None:
    raw["models"]["fast"] = {**TOY, "backend": "vllm"}
    raw["judges"]["toy-judge"]["model"] = {**TOY, "backend": "vllm"}
    study = load(raw)
    assert study.variants("fast") == study.variants("toy-llama")


def test_fine_tunes_of_a_spread_model_run_in_one_process_whatever_their_batch(raw: Raw) -> None:
    raw["models"] = {"m": {**VLLM, "device_map": "auto", "gpus": 3}}
    raw["judges"] = {}
    raw["recipes"] = {"p": {"method": "dpo", "split": "train", "learning_rate": 1.0e-5}}
    assert study_config.spec_finetune(load(raw), "m", "p").model.device_map == "auto"


def test_a_branch_is_warned_of_and_a_commit_is_not(raw: Raw) -> None:
    raw["models"]["moving"] = VLLM
    raw["models"]["pinned"] = {**VLLM, "revision": "0123456789" * 4}
    raw["judges"]["toy-judge"]["model"] = VLLM
    first, second = unpinned(load(raw))
    assert first.startswith("models.moving: revision main of a/b is not pinned")
    assert second.startswith("judges.toy-judge.model: ")


def test_a_language_model_is_tuned_by_all_recipes_and_a_baseline_by_none(raw: Raw) -> None:
    raw["recipes"]["slow"] = {**raw["recipes"]["sft"], "learning_rate": 1.0e-6}
    raw["models"]["toy-qwen"]["recipes"] = ["slow"]
    study = load(raw)
    assert study.variants("toy-llama") == ["base", "sft", "slow"]
    assert study.variants("toy-qwen") == ["base", "slow"]
    assert study.variants("axis-mode") == ["base"]


def test_the_runs_are_models_by_variants_by_splits(demo: Study) -> None:
    assert len(demo.runs()) == (2 + 2 + 1 + 1 + 1) * 2
    assert len(demo.writing_runs()) == 4
    assert len(demo.judgements()) == 4
    assert ("axis-mode", "base", "train") in demo.runs()


def test_the_environment_names_the_survey_instead_of_the_study(
    raw: Raw, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    survey = tmp_path / "mine.csv"
    survey.write_text("x")
    del raw["survey"]["simulate"]
    monkeypatch.setenv(SURVEY_VARIABLE, str(survey))
    assert load(raw).survey_file == str(survey)


def test_a_simulated_survey_and_toys_are_named_in_the_caveat(raw: Raw, demo: Study) -> None:
    assert demo.caveat == "simulated survey, toy models"
    assert demo.survey_caveat == "simulated survey"
    for model in [*raw["models"].values(), raw["judges"]["toy-judge"]["model"]]:
        if model.pop("toy", None):
            model |= {"weights": "owner/name", "revision": "0123abc"}
    real = load(
        both(put("survey/simulate", GONE), put("survey/file", "x.csv"))(raw) or raw, ROOT, False
    )
    assert real.caveat == ""
    assert real.survey_caveat == ""


# Studies that are not ------------------------------------------------------------------------

UNKNOWN_KEYS = [
    "zzz",
    "survey/zzz",
    "survey/simulate/zzz",
    "survey/axes/sex/zzz",
    "survey/axes/sex/otherwise/zzz",
    "minimum/zzz",
    "labels/zzz",
    "splits/ood/zzz",
    "splits/ood/questions/zzz",
    "splits/ood/fold/zzz",
    "splits/ood/folds/zzz",
    "prompt/zzz",
    "wordings/mandarin/zzz",
    "models/toy-llama/zzz",
    "models/toy-llama/toy/zzz",
    "models/toy-llama/service/zzz",
    "recipes/sft/zzz",
    "recipes/sft/held_back/zzz",
    "prediction/zzz",
    "generation/zzz",
    "judges/toy-judge/zzz",
    "judges/toy-judge/model/zzz",
    "judges/toy-judge/model/toy/zzz",
    "judges/toy-judge/reference/zzz",
    "evaluation/zzz",
]


@pytest.mark.parametrize("path", UNKNOWN_KEYS)
def test_an_unknown_key_is_named_with_its_place_and_the_known_ones(raw: Raw, path: str) -> None:
    line = complaint(raw, put(path, 1))
    place = path.removesuffix("zzz").strip("/").replace("/", ".") or "the study"
    assert line.startswith(f"config: {place}: unknown key 'zzz'; known are ")
    assert "\n" not in line


def test_the_unknown_keys_above_are_tried_at_every_level_of_the_schema() -> None:
    levels = sum("properties" in node and "type" in node for _, node in nodes(SAID))
    once = {path for path in UNKNOWN_KEYS if "judges/toy-judge/model" not in path}
    assert len(once) == levels


@pytest.mark.parametrize(
    ("written", "right"),
    [
        ("1e-6", "1.0e-6"),
        ("5E-4", "5.0e-4"),
        ("-1e-6", "-1.0e-6"),
        ("2e5", "2.0e+5"),
        ("1.5e5", "1.5e+5"),
    ],
)
def test_a_number_that_yaml_reads_as_text_is_told_how_to_be_written(
    raw: Raw, written: str, right: str
) -> None:
    value = yaml.safe_load(f"rate: {written}")["rate"]
    assert isinstance(value, str)
    line = complaint(raw, put("recipes/sft/learning_rate", value))
    assert line.startswith("config: recipes.sft.learning_rate: ")
    assert f"write {right}" in line
    assert isinstance(yaml.safe_load(right), float)


def test_the_paper_s_learning_rate_can_be_written(raw: Raw) -> None:
    raw["recipes"]["sft"]["learning_rate"] = yaml.safe_load("1.0e-6")
    assert study_config.spec_finetune(load(raw), "toy-llama", "sft").recipe.learning_rate == 1e-6


@pytest.mark.parametrize(
    ("method", "key", "value", "methods"),
    [
        ("sft", "beta", 0.1, "dpo or grpo"),
        ("sft", "step_size", 0.1, "dro"),
        ("soft", "generations", 4, "grpo"),
        ("grpo", "rejected", "random", "dpo"),
        ("dpo", "temperature", 1.0, "grpo"),
        ("dpo", "accumulate", 2, "sft or soft or ordinal or dro"),
        ("grpo", "balance", "weight", "sft or soft or ordinal or dro"),
    ],
)
def test_a_setting_that_the_method_has_not_is_refused(
    raw: Raw, method: str, key: str, value: Any, methods: str
) -> None:
    raw["recipes"]["sft"]["method"] = method
    line = complaint(raw, put(f"recipes/sft/{key}", value))
    assert line == f"config: recipes.sft.{key}: belongs to {methods}, not to {method}"


@pytest.mark.parametrize("method", ["dpo", "grpo"])
def test_preference_methods_come_with_their_defaults(raw: Raw, method: str) -> None:
    raw["recipes"]["sft"]["method"] = method
    recipe = study_config.spec_finetune(load(raw), "toy-llama", "sft").recipe
    assert (recipe.method, recipe.beta, recipe.rejected) == (method, 0.1, "random")
    assert (recipe.generations, recipe.temperature, recipe.max_new_tokens) == (8, 1.0, 16)


BAD_NAMES = ["a/b", "..", ".", "a b", "", "-x", ".hidden", "ü", "a\\b", "a;b", "$(x)", "a\n"]
NAMED = ("models", "recipes", "splits", "judges")


@pytest.mark.parametrize(
    ("kind", "name"),
    [*(("study", n) for n in BAD_NAMES), *((k, n) for k in NAMED for n in ("a/b", "..", "a b"))],
)
def test_a_name_that_cannot_be_part_of_a_path_is_refused(raw: Raw, kind: str, name: str) -> None:
    def change(raw: Raw) -> None:
        if kind == "study":
            raw["study"] = name
        else:
            raw[kind][name] = next(iter(raw[kind].values()))

    line = complaint(raw, change)
    assert line.startswith(f"config: {kind}: ")
    assert "use A-Z a-z 0-9 . _ - only" in line
    assert "\n" not in line


@pytest.mark.parametrize("name", ["Sex", "sex-2", "1st", "a b", "", "a/b", "..", "sex x age"])
def test_a_bad_name_of_an_axis_is_refused(raw: Raw, name: str) -> None:
    line = complaint(raw, put("survey/axes", {name: CONFIG["survey"]["axes"]["sex"]}))
    assert line.startswith("config: survey.axes: ")


@pytest.mark.parametrize("name", ["respondent", "weight", "all", "mean", "subgroups"])
def test_an_axis_cannot_take_a_name_that_tables_need(raw: Raw, name: str) -> None:
    line = complaint(raw, put(f"survey/axes/{name}", CONFIG["survey"]["axes"]["sex"]))
    assert line.startswith("config: survey.axes")
    assert name in line


STRATA = CONFIG["splits"]["ood"]["strata"]
SEX = CONFIG["survey"]["axes"]["sex"]
JUDGE = CONFIG["judges"]["toy-judge"]

SERVED = {"backend": "openai", "weights": "gpt", "service": {"address": "http://x/v1"}}
VLLM = {"backend": "vllm", "weights": "a/b", "revision": "main"}
DEFAULTS = {
    k: v["default"] for k, v in SAID["$defs"]["model"]["properties"].items() if "default" in v
}

WRONG = [
    case("no study name", put("study", GONE), "the study", "'study'"),
    case("no survey", put("survey", GONE), "the study", "'survey'"),
    case("no models", put("models", GONE), "the study", "'models'"),
    case("no model", put("models", {}), "models"),
    case("no splits", put("splits", {}), "splits"),
    case("no axes", put("survey/axes", {}), "survey.axes"),
    case("no codebook key", put("survey/codebook", GONE), "survey", "'codebook'"),
    case(
        "codebook gone", put("survey/codebook", "no.yaml"), "survey.codebook", "no.yaml", "no such"
    ),
    case(
        "no source of the survey",
        put("survey/simulate", GONE),
        "survey.file",
        "missing",
        f"${SURVEY_VARIABLE}",
    ),
    case(
        "survey file gone",
        both(put("survey/simulate", GONE), put("survey/file", "no.csv")),
        "survey.file",
        "no.csv: no such file",
        f"${SURVEY_VARIABLE}",
    ),
    case("two sources of the survey", put("survey/file", "x.csv"), "survey", "keep one"),
    case("too few simulated", put("survey/simulate/respondents", 9), "survey.simulate.respondents"),
    case("a long delimiter", put("survey/delimiter", ";;"), "survey.delimiter", "too long"),
    case("a missing code as text", put("survey/missing", ["x"]), "survey.missing.0", "'x'"),
    case("a recode to text", put("survey/recode", {"Q1": {1: "a"}}), "survey.recode.Q1.1"),
    case("a recode from text", put("survey/recode", {"Q1": {"a": 1}}), "survey.recode.Q1", "'a'"),
    case("filter without values", put("survey/filter", {"C": []}), "survey.filter.C"),
    case("one group", put("survey/axes/sex/groups", {1: "male"}), "survey.axes.sex.groups"),
    case(
        "two groups of one label",
        put("survey/axes/sex/groups", {1: "male", 2: "male"}),
        "survey.axes.sex",
        "share a label",
    ),
    case(
        "neither groups nor bands", put("survey/axes/sex/groups", GONE), "survey.axes.sex", "groups"
    ),
    case("groups and bands", put("survey/axes/sex/bands", [1, 2]), "survey.axes.sex", "bands"),
    case("a label with &", put("survey/axes/sex/groups/1", "a & b"), "survey.axes.sex.groups.1"),
    case("a label with =", put("survey/axes/sex/groups/1", "a=b"), "survey.axes.sex.groups.1"),
    case(
        "a label that is no text", put("survey/axes/sex/groups/1", True), "survey.axes.sex.groups.1"
    ),
    case(
        "bands out of order",
        both(put("survey/axes/sex/groups", GONE), put("survey/axes/sex/bands", [30, 16])),
        "survey.axes.sex.bands",
        "ascending",
    ),
    case(
        "a band twice",
        both(put("survey/axes/sex/groups", GONE), put("survey/axes/sex/bands", [16, 16])),
        "survey.axes.sex.bands",
        "ascending",
    ),
    case("a persona without group", put("survey/axes/sex/persona", "x"), "survey.axes.sex.persona"),
    case(
        "a persona with another brace",
        put("survey/axes/sex/persona", "{group} of {place}"),
        "survey.axes.sex.persona",
    ),
    case(
        "a persona with half a brace",
        put("survey/axes/sex/persona", "{group} {"),
        "survey.axes.sex",
    ),
    case(
        "a stratum of an unknown axis",
        put("splits/ood/strata", ["sex x height"]),
        "splits.ood",
        "'height'",
        "known are sex, age_group, ethnicity, religion",
    ),
    case("an axis twice", put("splits/ood/strata", ["religion x religion"]), "splits.ood", "twice"),
    case("a stratum twice", put("splits/ood/strata", [STRATA[0]] * 2), "splits.ood.strata"),
    case(
        "a stratum twice in another order",
        put("splits/ood/strata", ["age_group x religion", "religion x age_group"]),
        "splits.ood",
        "religion x age_group",
    ),
    case("no strata", put("splits/ood/strata", []), "splits.ood.strata"),
    case(
        "a fold beyond the last",
        put("splits/ood/fold", {"of": 5, "only": [5]}),
        "splits.ood.fold",
        "parts go from 0 to 4",
    ),
    case(
        "a fold without a part",
        put("splits/ood/fold", {"of": 2, "without": [0, 1]}),
        "splits.ood.fold",
        "keeps no part",
    ),
    case(
        "a fold that keeps and leaves out",
        put("splits/ood/fold", {"of": 5, "only": [0], "without": [1]}),
        "splits.ood.fold",
        "either only or without",
    ),
    case(
        "a fold that does neither",
        put("splits/ood/fold", {"of": 5}),
        "splits.ood.fold",
        "either only or without",
    ),
    case("one fold", put("splits/ood/folds", {"of": 1}), "splits.ood.folds.of"),
    case(
        "folds by respondent",
        put("splits/ood/folds", {"of": 5, "unit": "person"}),
        "splits.ood.folds.unit",
        "subgroup",
    ),
    case(
        "a train split in folds",
        put("splits/train/folds", {"of": 5}),
        "splits.train.folds",
        "only a test split",
    ),
    case(
        "folds of a fold",
        both(put("splits/ood/folds", {"of": 5}), put("splits/ood/fold", {"of": 2, "only": [0]})),
        "splits.ood.folds",
        "only a test split without a fold",
    ),
    case(
        "open-ended answers by fold",
        put("splits/ood/folds", {"of": 5}),
        "generation.splits",
        "'ood' has folds",
    ),
    case(
        "folds that hold another test split's pairs",
        put("splits/cv", {"role": "test", "strata": STRATA, "folds": {"of": 5}}),
        "splits.ood",
        "split with folds 'cv'",
        "must not be trained on",
    ),
    case(
        "folds that a train split holds",
        put("splits/cv", {"role": "test", "strata": ["sex"], "folds": {"of": 5}}),
        "splits.cv",
        "train split 'train'",
    ),
    case(
        "a split named as a fold",
        both(
            put("splits/cv", {"role": "test", "strata": ["age_group"], "folds": {"of": 2}}),
            put("splits/cv-test-1", {"role": "test", "strata": ["religion"]}),
            put("splits/train/strata", ["sex"]),
        ),
        "splits.cv-test-1",
        "taken by a fold",
    ),
    case(
        "a recipe named as a fold",
        both(
            put("splits/cv", {"role": "test", "strata": ["age_group"], "folds": {"of": 2}}),
            put("splits/train/strata", ["sex"]),
            put("recipes/kf", {"method": "sft", "split": "cv", "learning_rate": 0.1}),
            put("recipes/kf-2", CONFIG["recipes"]["sft"]),
        ),
        "recipes.kf-2",
        "taken by a fold",
    ),
    case("groups that are neither", put("survey/axes/sex/groups", "all"), "survey.axes.sex.groups"),
    case(
        "found groups and bands",
        both(put("survey/axes/sex/groups", "found"), put("survey/axes/sex/bands", [1, 2])),
        "survey.axes.sex",
    ),
    case(
        "found groups otherwise",
        both(
            put("survey/axes/sex/groups", "found"),
            put("survey/axes/sex/otherwise", {"column": "Q262", "bands": [16, 25]}),
        ),
        "survey.axes.sex.otherwise",
        "have no bands",
    ),
    case("no country", put("survey/country", GONE), "survey", "country", "countries"),
    case("country and countries", put("survey/countries", ["SGP"]), "survey", "either country"),
    case(
        "countries of no column",
        both(put("survey/country", GONE), put("survey/countries", ["SGP"])),
        "survey.country_columns",
        "missing",
    ),
    case("an axis named country", put("survey/axes/country", SEX), "survey.axes.country", "taken"),
    case(
        "a selection by no axis",
        put("splits/ood/groups", {"height": {"only": ["tall"]}}),
        "splits.ood.groups",
        "'height'",
    ),
    case("a third role", put("splits/ood/role", "dev"), "splits.ood.role", "train", "test"),
    case("no role", put("splits/ood/role", GONE), "splits.ood", "'role'"),
    case(
        "test on a train stratum",
        put("splits/ood/strata", [*STRATA, "sex x ethnicity"]),
        "splits.ood",
        "'sex x ethnicity'",
        "train split 'train'",
    ),
    case(
        "test on a train stratum in another order",
        put("splits/ood/strata", [*STRATA, "ethnicity x sex"]),
        "splits.ood",
        "'ethnicity x sex'",
        "must not be trained on",
    ),
    case(
        "an unknown template", put("prompt/template", "x"), "prompt.template", "known are english"
    ),
    case("the study's template", put("wordings/w", {"template": "english"}), "wordings.w", "own"),
    case("the study's wording", put("wordings/w", {"order": "persona"}), "wordings.w", "own"),
    case("an empty wording", put("wordings/w", {}), "wordings.w"),
    case("no such persona", put("wordings/w", {"persona": "first"}), "wordings.w.persona", "list"),
    case(
        "a wording's template", put("wordings/w", {"template": "x"}), "wordings.w.template", "'x'"
    ),
    case("a plus in a name", put("wordings/a+b", {"persona": "list"}), "wordings", "'a+b'"),
    case("order of the study's own wording", put("prompt/order", "question"), "prompt", "'order'"),
    case(
        "an unknown wording",
        put("models/toy-llama/wordings", ["x"]),
        "models.toy-llama.wordings",
        "'x'",
    ),
    case(
        "a wording of a baseline",
        both(put("wordings/w", {"persona": "list"}), put("models/axis-mode/wordings", ["w"])),
        "models.axis-mode.wordings",
        "no prompt",
    ),
    case("a recipe on a test split", put("recipes/sft/split", "ood"), "recipes.sft.split", "'ood'"),
    case("a recipe on no split", put("recipes/sft/split", "no"), "recipes.sft.split", "'no'"),
    case("a recipe named base", put("recipes/base", CONFIG["recipes"]["sft"]), "recipes", "base"),
    case("an unknown method", put("recipes/sft/method", "ppo"), "recipes.sft.method", "sft"),
    case("a rate of 0", put("recipes/sft/learning_rate", 0), "recipes.sft.learning_rate"),
    case("no rate", put("recipes/sft/learning_rate", GONE), "recipes.sft", "'learning_rate'"),
    case("an endless rate", put("recipes/sft/learning_rate", float("inf")), "recipes.sft.learning"),
    case(
        "no number as rate", put("recipes/sft/learning_rate", float("nan")), "recipes.sft.learning"
    ),
    case("a fraction of epochs", put("recipes/sft/epochs", 1.5), "recipes.sft.epochs", "integer"),
    case(
        "one layer by name", put("recipes/sft/targets", "q_proj"), "recipes.sft.targets", "a list"
    ),
    case("an unknown schedule", put("recipes/sft/schedule", "x"), "recipes.sft.schedule", "cosine"),
    case(
        "all held back", put("recipes/sft/held_back", {"share": 1}), "recipes.sft.held_back.share"
    ),
    case(
        "a grid of preferences",
        put("recipes/sft", {**CONFIG["recipes"]["sft"], "method": "dpo", "grid": True}),
        "recipes.sft.grid",
        "not for dpo",
    ),
    case(
        "favour without balance",
        put("recipes/sft/favour", {"sex=male": 2}),
        "recipes.sft.favour",
        "balance: weight",
    ),
    case(
        "favour of no group",
        put("recipes/sft", {**CONFIG["recipes"]["sft"], "balance": "weight", "favour": {"x": 2}}),
        "recipes.sft.favour",
        "'x'; known are age_group=16-24",
    ),
    case("an unknown backend", put("models/m", {"backend": "x"}), "models.m.backend", "baseline"),
    case("a baseline without rule", put("models/m", {"backend": "baseline"}), "models.m.rule"),
    case(
        "a baseline with an unknown rule",
        put("models/axis-mode/rule", "x"),
        "models.axis-mode.rule",
        "national_mode",
    ),
    case("a tuned baseline", put("models/axis-mode/recipes", ["sft"]), "models.axis-mode.recipes"),
    case("a baseline with weights", put("models/axis-mode/weights", "a/b"), "models.axis-mode"),
    case("a model with a rule", put("models/toy-llama/rule", "axis_mode"), "models.toy-llama.rule"),
    case("a model of nothing", put("models/m", {"backend": "transformers"}), "models.m", "weights"),
    case("weights and toy", put("models/toy-llama/weights", "a/b"), "models.toy-llama", "either"),
    case(
        "hub weights without revision",
        put("models/m", {"backend": "transformers", "weights": "owner/name"}),
        "models.m.revision",
        "pin the commit of owner/name",
    ),
    case(
        "local weights gone",
        put("models/m", {"backend": "transformers", "weights": "./no"}),
        "models.m.weights",
        "./no: no such directory",
    ),
    case(
        "dpo without a reference",
        put("recipes/sft", {**CONFIG["recipes"]["sft"], "method": "dpo", "beta": 0}),
        "recipes.sft.beta",
    ),
    case(
        "a rejection of no kind",
        put("recipes/sft", {**CONFIG["recipes"]["sft"], "method": "dpo", "rejected": "worst"}),
        "recipes.sft.rejected",
        "runner-up",
    ),
    case(
        "one reply to compare",
        put("recipes/sft", {**CONFIG["recipes"]["sft"], "method": "grpo", "generations": 1}),
        "recipes.sft.generations",
    ),
    case(
        "an unknown recipe",
        put("models/toy-llama/recipes", ["x"]),
        "models.toy-llama.recipes",
        "'x'",
    ),
    case(
        "a service of a model here",
        put("models/toy-llama/service", {"address": "http://x/v1"}),
        "models.toy-llama.service",
        "transformers",
    ),
    case(
        "a served model nowhere",
        put("models/m", {k: v for k, v in SERVED.items() if k != "service"}),
        "models.m.service",
    ),
    case(
        "a served model without name",
        put("models/m", {k: v for k, v in SERVED.items() if k != "weights"}),
        "models.m",
    ),
    case(
        "a tuned served model", put("models/m", {**SERVED, "recipes": ["sft"]}), "models.m.recipes"
    ),
    case("a pinned service", put("models/m", {**SERVED, "revision": "0"}), "models.m.revision"),
    case(
        "a rank beyond vLLM's",
        both(put("models/m", VLLM), put("recipes/sft/rank", vllm.RANKS[-1] + 1)),
        "recipes.sft.rank",
        "models.m",
        "512",
    ),
    *(
        case(
            f"a batch of {method} that its GPUs cannot share",
            both(
                put("models/m", {**TOY, "gpus": 3, "recipes": ["p"]}),
                put("recipes/p", {"method": method, "split": "train", "learning_rate": 1.0e-5}),
            ),
            "recipes.p.batch",
            "models.m.gpus",
        )
        for method in ("dpo", "grpo")
    ),
    *(
        case(
            f"a baseline's {key}", put(f"models/axis-mode/{key}", value), f"models.axis-mode.{key}"
        )
        for key, value in DEFAULTS.items()
    ),
    *(
        case(f"a served model's {key}", put("models/m", {**SERVED, key: value}), f"models.m.{key}")
        for key, value in DEFAULTS.items()
        if key not in ("threads", "memory_mb", "minutes")
    ),
    case(
        "a served judge's dtype",
        put("judges/toy-judge/model", {**SERVED, "dtype": "bfloat16"}),
        "judges.toy-judge.model.dtype",
    ),
    case("a kernel of vLLM", put("models/m", {**VLLM, "attention": "sdpa"}), "models.m.attention"),
    case("vLLM of nothing", put("models/m", {"backend": "vllm"}), "models.m", "weights"),
    case(
        "vLLM unpinned", put("models/m", {"backend": "vllm", "weights": "a/b"}), "models.m.revision"
    ),
    case(
        "another kernel", put("models/toy-llama/attention", "flash"), "models.toy-llama.attention"
    ),
    case("a short prompt", put("models/toy-llama/max_length", 1), "models.toy-llama.max_length"),
    case(
        "an address with a user",
        put("models/m", {**SERVED, "service": {"address": "https://me:secret@x/v1"}}),
        "models.m.service.address",
    ),
    case(
        "an address of nothing",
        put("models/m", {**SERVED, "service": {"address": "localhost:80"}}),
        "models.m.service.address",
        "http://",
    ),
    case("a width not of 8", put("models/toy-llama/toy/hidden", 20), "models.toy-llama.toy.hidden"),
    case(
        "an unknown split to write on", put("generation/splits", ["x"]), "generation.splits", "'x'"
    ),
    case("a judge without generation", put("generation", GONE), "judges.toy-judge", "generation"),
    case(
        "a judge named as a model", put("judges/toy-llama", JUDGE), "judges.toy-llama", "same name"
    ),
    case(
        "a judge that is a baseline",
        put("judges/toy-judge/model", {"backend": "baseline", "rule": "axis_mode"}),
        "judges.toy-judge.model",
        "cannot judge",
    ),
    case(
        "a judge without revision",
        put("judges/toy-judge/model", {"backend": "transformers", "weights": "a/b"}),
        "judges.toy-judge.model.revision",
        "a/b",
    ),
    case(
        "an unknown rubric", put("judges/toy-judge/rubric", "x"), "judges.toy-judge.rubric", "known"
    ),
    case(
        "an unknown reference",
        put("judges/toy-judge/reference/model", "gpt"),
        "judges.toy-judge.reference.model",
        "'gpt'",
    ),
    case(
        "a baseline as reference",
        put("judges/toy-judge/reference/model", "axis-mode"),
        "judges.toy-judge.reference.model",
        "'axis-mode'",
    ),
    case(
        "an unknown variant",
        put("judges/toy-judge/reference/variant", "dpo"),
        "judges.toy-judge.reference.variant",
        "'dpo'",
    ),
    case("a level of 1", put("evaluation/level", 1), "evaluation.level"),
    case("a level in percent", put("evaluation/level", "95%"), "evaluation.level", "text"),
    case("too few resamples", put("evaluation/resamples", 1), "evaluation.resamples"),
    case("a minimum of 0", put("minimum/respondents", 0), "minimum.respondents"),
    case("a seed below 0", put("evaluation/seed", -1), "evaluation.seed"),
    case("a seed that is a truth", put("evaluation/seed", True), "evaluation.seed"),
    case("a seed as text", put("evaluation/seed", "1"), "evaluation.seed", "text"),
]


@pytest.mark.parametrize(("change", "said"), WRONG)
def test_a_wrong_study_is_one_line_that_names_the_key(
    raw: Raw, change: Change, said: tuple[str, ...]
) -> None:
    line = complaint(raw, change)
    assert "\n" not in line
    assert line.startswith(f"config: {said[0]}")
    for words in said:
        assert words in line


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(put("survey/axes/sex/groups/1", "a & b"), id="label"),
        pytest.param(put("survey/axes/Sex", SEX), id="name of an axis"),
        pytest.param(put("survey/axes/sex/persona", "x"), id="persona"),
        pytest.param(put("survey/axes/sex/bands", [1, 2]), id="groups and bands"),
        pytest.param(put("recipes/base", CONFIG["recipes"]["sft"]), id="recipe named base"),
        pytest.param(put("survey/axes/sex/groups", GONE), id="neither groups nor bands"),
        pytest.param(put("survey/questions", "some"), id="questions"),
    ],
)
def test_a_message_tells_the_remedy_in_words_and_not_in_a_schema_s_terms(
    raw: Raw, change: Change
) -> None:
    line = complaint(raw, change)
    for terms in ("does not match", "valid under", "was expected", "required property"):
        assert terms not in line


@pytest.mark.parametrize("study", [None, [], "text", 3, {}], ids=repr)
def test_what_is_no_study_at_all_is_one_line(study: Any) -> None:
    with pytest.raises(InputError, match="config: the study: "):
        load(study)


def test_a_group_code_that_yaml_reads_as_a_date_is_text_or_one_line(raw: Raw) -> None:
    groups = {datetime.date(2020, 1, 1): "old", 2: "new"}
    raw["survey"]["axes"]["sex"]["groups"] = groups
    with contextlib.suppress(InputError):
        assert set(load(raw).axes["sex"].groups or {}) == {"2020-01-01", "2"}


def test_files_need_not_exist_where_only_the_study_is_checked(raw: Raw) -> None:
    put("survey/codebook", "no.yaml")(raw)
    put("models/m", {"backend": "transformers", "weights": "./no"})(raw)
    assert load(raw, files=False).name == "demo"


def test_relative_files_start_from_the_root(raw: Raw, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"survey\.codebook"):
        load(raw, root=tmp_path)
    (tmp_path / "studies" / "codebooks").mkdir(parents=True)
    (tmp_path / "studies" / "codebooks" / "wvs7.yaml").write_text("questions: {}\n")
    assert load(raw, root=tmp_path).name == "demo"


# Files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [1, 2\nb: 3\n", "line 2: not valid YAML"),
        (b"a: 1\n  b: 2\n", "line 2: not valid YAML"),
        (b"\xff\xfea", "not valid YAML"),
        (b"a: \x00", "not valid YAML"),
        (b"a: !!python/object:os.system {}\n", "not valid YAML"),
        (b"? [1, 2]\n: 3\n", "not valid YAML"),
    ],
    ids=["bracket", "indent", "not UTF-8", "NUL", "python object", "list as key"],
)
def test_a_file_that_is_no_yaml_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert said in line
    assert "\n" not in line


def test_a_study_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.yaml: no such file"):
        read_yaml(tmp_path / "no.yaml")


def test_a_folder_as_study_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        read_yaml(tmp_path)


def run_check(*files: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    env.pop(SURVEY_VARIABLE, None)
    return subprocess.run(
        [sys.executable, "-m", "valuestrata", "check", *map(str, files)],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_checking_a_bad_study_exits_2_with_one_line_and_no_traceback(
    tmp_path: Path, raw: Raw
) -> None:
    raw["recipes"]["sft"]["learning_rate"] = "1e-6"
    bad = tmp_path / "bad.yaml"
    bad.write_text(yaml.safe_dump(raw))
    done = run_check(bad)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert f"{bad}: config: recipes.sft.learning_rate: " in done.stderr
    assert "Traceback" not in done.stderr


def test_checking_several_studies_tells_of_each(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("study: [\n")
    done = run_check(*STUDIES, tmp_path / "bad.yaml", tmp_path / "gone.yaml")
    assert done.returncode == 2
    assert done.stdout.count(": fine\n") == len(STUDIES)
    assert len(done.stderr.splitlines()) == 2
    assert "gone.yaml: no such file" in done.stderr


# Specs ---------------------------------------------------------------------------------------


def all_specs(study: Study) -> dict[str, Any]:
    """Every spec of a study: name and arguments -> spec."""
    c = study_config
    found: dict[str, Any] = {
        "clean": c.spec_clean(study),
        "diversity": c.spec_diversity(study),
        "evaluation": c.spec_evaluation(study),
        "ceiling": c.spec_ceiling(study),
        "summary": c.spec_summary(study),
        "compare": c.spec_compare(study),
        "report": c.spec_report(study),
    }
    if "simulate" in study.config["survey"]:
        found["simulate"] = c.spec_simulate(study)
    found["labels"] = c.spec_labels(study)
    some = [*study.splits, *study.parts]
    found |= {f"pairs {split}": c.spec_pairs(study, split) for split in some}
    for wording in study.config["wordings"]:
        found |= {f"pairs {s}+{wording}": c.spec_pairs(study, s, wording) for s in study.splits}
    found |= {f"tally {split}": c.spec_tally(study, split) for split in study.splits}
    found |= {f"toy {name}": c.spec_toy(study, name) for name in study.toys()}
    found |= {f"judge {name}": c.spec_judge(study, name) for name in study.config["judges"]}
    for model in study.models:
        for variant in [*study.variants(model), *study.reworded(model)]:
            found[f"predict {model} {variant}"] = c.spec_predict(study, model, variant)
        found[f"score {model}"] = c.spec_score(study, model)
        found[f"pool {model}"] = c.spec_pool(study, model)
        if "generation" in study.config and not study.is_baseline(model):
            found[f"generate {model}"] = c.spec_generate(study, model)
        for recipe in study.tuned(model):
            found[f"finetune {model} {recipe}"] = c.spec_finetune(study, model, recipe)
    for run in study.runs():
        found[f"fairness {' '.join(run)}"] = c.spec_fairness(study, *run)
    return found


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.name)
def test_a_spec_comes_back_from_json_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SURVEY_VARIABLE, "any.csv")
    found = all_specs(load(read_yaml(path), files=False))
    assert len(found) > 15
    for name, spec in found.items():
        if isinstance(spec, str):
            continue
        text = to_json(spec)
        back = from_json(type(spec), text)
        assert back == spec, name
        assert to_json(back) == text
        assert "\n" not in text
        assert "NaN" not in text
        hash(json.dumps(dataclasses.asdict(back), sort_keys=True))


def test_every_spec_function_is_tried_above(demo: Study) -> None:
    tried = {name.split(" ", maxsplit=1)[0] for name in all_specs(demo)}
    offered = {n.removeprefix("spec_") for n in vars(study_config) if n.startswith("spec_")}
    assert tried == offered


def test_lists_in_a_spec_come_back_as_tuples(demo: Study) -> None:
    spec = from_json(specs.Clean, to_json(study_config.spec_clean(demo)))
    assert isinstance(spec.missing, tuple)
    assert isinstance(spec.filter["B_COUNTRY_ALPHA"], tuple)
    assert isinstance(spec.axes["sex"], specs.Axis)


def test_bands_and_recodes_come_back(raw: Raw) -> None:
    raw["survey"]["axes"]["age_group"] = {"column": "Q262", "bands": [16, 25, 65]}
    raw["survey"]["recode"] = {"Q56": {2: 3, 3: None}}
    spec = study_config.spec_clean(load(raw))
    back = from_json(specs.Clean, to_json(spec))
    assert back.axes["age_group"].names() == ["16-24", "25-64", "65 and over"]
    assert back.recode == {"Q56": {"2": 3, "3": None}}


def moved(one: Study, other: Study) -> set[str]:
    before, after = all_specs(one), all_specs(other)
    return {name for name in before.keys() & after.keys() if before[name] != after[name]}


def test_an_overlay_leaves_an_axis_out_with_its_strata(raw: Raw) -> None:
    raw["survey"]["axes"]["ethnicity"] = None
    raw["splits"]["ood"]["groups"] = {"ethnicity": {"only": ["Malay"]}}
    study = load(raw)
    assert list(study.axes) == ["sex", "age_group", "religion"]
    assert study.splits["ood"] == (("age_group", "religion"),)
    assert ("sex", "religion") in study.splits["train"]
    assert not any("ethnicity" in stratum for stratum in study.splits["train"])


def test_a_split_of_axes_that_are_all_left_out_is_one_line(raw: Raw) -> None:
    raw["survey"]["axes"] |= {"ethnicity": None, "religion": None}
    with pytest.raises(InputError, match=r"config: splits\.ood\.strata"):
        load(raw)


def test_folds_and_countries_move_no_spec_but_their_own(raw: Raw, demo: Study) -> None:
    raw["splits"]["cv"] = {"role": "test", "strata": ["sex"], "folds": {"of": 2}}
    raw["splits"]["train"]["strata"].remove("sex")
    raw["recipes"]["kf"] = {"method": "sft", "split": "cv", "learning_rate": 0.1}
    study = load(raw)
    plain = copy.deepcopy(CONFIG)
    plain["splits"]["train"]["strata"].remove("sex")
    assert moved(load(plain), study) == {"ceiling", "compare", "diversity", "report", "summary"}
    assert study.tuned("toy-llama") == ["sft", "kf-1", "kf-2"]
    spec = study_config.spec_finetune(study, "toy-llama", "kf-2")
    assert spec.recipe.split == "cv-train-2"
    assert study_config.spec_pairs(study, "cv-train-2").fold == specs.Fold(2, "pair", 1, None, (1,))
    assert study_config.spec_compare(study).folded == {"kf": "cv"}
    assert study_config.spec_report(study).folds == {"kf": ("kf-1", "kf-2")}


def test_found_groups_depend_on_the_minimum_and_listed_ones_do_not(raw: Raw, demo: Study) -> None:
    raw["minimum"] = {"respondents": 40}
    assert "clean" not in moved(demo, load(raw))
    raw["survey"]["axes"]["religion"]["groups"] = "found"
    assert study_config.spec_clean(load(raw)).axes["religion"].found == 40


def test_adding_a_model_changes_no_spec_of_another(raw: Raw, demo: Study) -> None:
    raw["models"]["another"] = {**TOY, "dtype": "float32"}
    assert moved(demo, load(raw)) == {"compare", "report"}


def test_adding_a_recipe_changes_no_other_fine_tune(raw: Raw, demo: Study) -> None:
    raw["recipes"]["slow"] = {**raw["recipes"]["sft"], "learning_rate": 1.0e-6}
    assert moved(demo, load(raw)) == {"compare", "report"}


def test_adding_a_wording_changes_no_other_spec(raw: Raw, demo: Study) -> None:
    raw["wordings"] = {"mandarin": {"template": "mandarin"}, "listed": {"persona": "list"}}
    raw["models"]["toy-qwen"]["wordings"] = ["listed"]
    study = load(raw)
    assert moved(demo, study) == {"compare", "report"}
    assert study.reworded("toy-llama") == [
        "base+mandarin", "sft+mandarin", "base+listed", "sft+listed",
    ]  # fmt: skip
    assert study.reworded("toy-qwen") == ["base+listed", "sft+listed"]
    assert study.reworded("additive") == []
    assert study.writing_runs() == demo.writing_runs()
    assert len(study.runs()) == len(demo.runs()) + 6 * 2


def test_a_wording_says_only_what_it_words_otherwise(raw: Raw) -> None:
    raw["prompt"] = {"persona": "third"}
    raw["wordings"] = {"turned": {"options": "reversed", "order": "question"}}
    own, turned = (study_config.spec_pairs(load(raw), "ood", w).prompt for w in ("", "turned"))
    assert (own.persona, own.order, own.options) == ("third", "persona", "asked")
    assert (turned.persona, turned.order, turned.options) == ("third", "question", "reversed")
    assert turned.template == own.template


def test_adding_real_weights_changes_no_spec_of_a_toy(raw: Raw, demo: Study) -> None:
    raw["models"]["real"] = {"backend": "transformers", "weights": "a/b", "revision": "0"}
    assert moved(demo, load(raw)) == {"compare", "report"}


ANSWERS = {"predict toy-llama base", "predict toy-llama sft", "generate toy-llama"}


@pytest.mark.parametrize(
    ("path", "value", "moves"),
    [
        ("title", "Another", {"report"}),
        ("models/toy-llama/minutes", 99, set()),
        ("models/toy-llama/memory_mb", 9999, set()),
        ("models/toy-llama/gpus", 0, set()),
        ("models/toy-llama/threads", 2, set()),
        ("models/toy-llama/batch_tokens", 999, ANSWERS),
        ("models/toy-llama/max_length", 999, ANSWERS),
        ("models/toy-llama/backend", "vllm", ANSWERS),
        ("minimum/answers", 20, {"diversity", "pairs train", "pairs ood"}),
        ("survey/missing", [-1], {"clean"}),
        ("labels/mode", "weighted", {"diversity", "pairs train", "pairs ood", "labels", "summary"}),
        ("models/toy-llama/toy/steps", 9, {"toy toy-llama"}),
        ("judges/toy-judge/max_new_tokens", 9, {"judge toy-judge"}),
    ],
)
def test_a_setting_changes_only_the_specs_of_stages_that_use_it(
    raw: Raw, demo: Study, path: str, value: object, moves: set[str]
) -> None:
    put(path, value)(raw)
    assert moved(demo, load(raw)) == moves


NO_SPEC = {
    *(("models", key) for key in ("gpus", "threads", "memory_mb", "minutes")),
    *(("judges", key) for key in ("gpus", "threads", "memory_mb", "minutes")),
    ("survey", "codebook"),
}
"""Settings of no stage: what a job asks for, and a file that the graph itself follows."""


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, int | float | str):
        yield path, value


def test_every_setting_is_in_the_spec_of_some_stage(demo: Study) -> None:
    before = all_specs(demo)
    unused = set()
    for path, value in leaves(demo.config):
        config = copy.deepcopy(demo.config)
        inside = config
        for key in path[:-1]:
            inside = inside[key]
        other = "malay" if path[-1] == "template" else value + type(value)(1)
        inside[path[-1]] = not value if isinstance(value, bool) else other
        known = all(name in config["models"] for name in demo.models)
        if known and all_specs(Study(config)) == before:
            unused.add(path)
    assert {path for path in unused if (path[0], path[-1]) not in NO_SPEC} == set()


EVALUATED = {"evaluation", "ceiling", "diversity", "fairness", "summary", "compare", "report"}


def test_the_level_of_intervals_changes_what_has_intervals_and_no_prediction(
    raw: Raw, demo: Study
) -> None:
    put("evaluation/level", 0.9)(raw)
    changed = {name.split(" ", maxsplit=1)[0] for name in moved(demo, load(raw))}
    assert changed == EVALUATED


def test_the_order_of_keys_changes_no_spec(demo: Study) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: turned(v) for k, v in reversed(list(value.items()))}
        return value

    raw = copy.deepcopy(CONFIG)
    raw["recipes"] = turned(raw["recipes"])
    raw["models"] = {k: turned(v) for k, v in raw["models"].items()}
    assert moved(demo, load(raw)) == set()


@pytest.mark.parametrize(
    ("axes", "name"), [((), "all"), (("sex",), "sex"), (("sex", "age"), "sex-x-age")]
)
def test_a_stratum_has_a_name_for_paths(axes: tuple[str, ...], name: str) -> None:
    assert specs.stratum_id(axes) == name
