"""Studies that are valid: defaults, what follows from them, and their way to JSON and back."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from tests.study.parts import (
    CONFIG,
    OVERLAYS,
    REMOVED,
    STUDIES,
    changed,
    part_classes,
    parts_of,
    study,
    with_new_key,
)
from valuestrata.errors import InputError
from valuestrata.study.base import Part
from valuestrata.study.checks import unpinned
from valuestrata.study.load import ROOT, is_overlay, load, load_files
from valuestrata.study.models import LocalModel, OpenAIModel
from valuestrata.study.prompts import prompt_fields
from valuestrata.study.recipes import DPO, GRPO
from valuestrata.study.splits import Fold, Selection, stratum_id
from valuestrata.study.study import (
    SURVEY_VARIABLE,
    Study,
    dump,
    part_name,
    variant_name,
    variant_parts,
)
from valuestrata.study.yaml import read_yaml

TOY = {"backend": "transformers", "toy": {"architecture": "llama"}}
VLLM = {"backend": "vllm", "model": "a/b", "revision": "main"}
SERVED = {"backend": "openai", "model": "gpt", "base_url": "http://x/v1"}


@pytest.fixture(autouse=True)
def _no_survey_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SURVEY_VARIABLE, raising=False)


@pytest.fixture(scope="module")
def demo() -> Study:
    return study()


def files_as_studies() -> list[Study]:
    single = [[path] for path in [*STUDIES, ROOT / "tests/fixtures/mini.yaml"]]
    laid_over = [[ROOT / "studies/wvs-sg.yaml", overlay] for overlay in OVERLAYS]
    return [load_files(paths, files=False) for paths in single + laid_over]


def test_every_study_file_is_valid_and_comes_back_from_json(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SURVEY_VARIABLE, "any.csv")
    for made in files_as_studies():
        assert made.runs()
        text = made.to_json()
        back = Study.from_json(text)
        assert back == made
        assert hash(back) == hash(made)
        assert back.to_json() == text
        assert [type(part) for part in parts_of(back)] == [type(part) for part in parts_of(made)]
        assert list(back.axes) == list(made.axes)
        assert back.runs() == made.runs()
        assert "NaN" not in text
        assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made


def test_study_files_have_names_of_their_own_and_questions_of_their_codebook() -> None:
    raws = [read_yaml(path) for path in STUDIES]
    assert len({raw["study"] for raw in raws}) == len(raws)
    for raw in raws:
        survey = raw["survey"]
        book = read_yaml(ROOT / survey["codebook"])["questions"]
        listed = [] if survey.get("questions", "all") == "all" else survey["questions"]
        assert {*listed, *survey.get("exclude", []), *survey.get("recode", {})} <= set(book)


def test_overlays_are_told_from_studies() -> None:
    assert all(is_overlay(read_yaml(path)) for path in OVERLAYS)
    assert not any(is_overlay(read_yaml(path)) for path in STUDIES)


def test_defaults_are_filled_in_at_every_level_and_given_values_win() -> None:
    removed = ("evaluation", "title", "recipes/sft/lora_r", "judges/toy-judge/reference/variant")
    made = study({"min_pair_n": 5, "recipes/sft/epochs": 7, **dict.fromkeys(removed, REMOVED)})
    assert dump(made.evaluation) == {"confidence_level": 0.95, "n_resamples": 10_000, "seed": 1}
    assert (made.min_subgroup_n, made.min_pair_n, made.title) == (30, 5, "")
    assert made.survey.missing == (-1, -2, -3, -4, -5)
    assert (made.recipes["sft"].lora_r, made.recipes["sft"].epochs) == (8, 7)
    assert made.judges["toy-judge"].reference.variant == "base"
    assert dump(made.prompt) == {"template": "english", "persona": "second", "options": "asked"}
    toy = made.model("toy-llama")
    assert isinstance(toy, LocalModel)
    assert toy.toy
    assert (toy.max_batch_tokens, toy.toy.hidden_size, toy.toy.seed) == (16384, 96, 1)


def test_a_study_is_frozen_and_leaves_what_it_is_made_of_alone(demo: Study) -> None:
    raw = changed({})
    load(raw)
    assert raw == CONFIG
    for change in (
        lambda: setattr(demo, "title", "x"),
        lambda: demo.models.pop("toy-llama"),
        lambda: demo.survey.filter.update(x=()),
        lambda: demo.recipes.__setitem__("x", demo.recipes["sft"]),
    ):
        with pytest.raises((TypeError, ValueError)):
            change()
    assert demo == study()
    for part in parts_of(demo):
        for name in type(part).model_fields:
            assert not isinstance(getattr(part, name), list)


def test_codes_are_text_and_numbers_are_what_their_field_is() -> None:
    made = study(
        {
            "survey/filter": {"B": [1, "SGP"]},
            "survey/recode": {"Q56": {2: 3, 3: None}, "Q262": {"89 or older": 89, "": 0}},
            "recipes/sft/learning_rate": 1,
        }
    )
    assert made.survey.filter == {"B": ("1", "SGP")}
    assert made.survey.recode == {
        "Q56": {"2": 3, "3": None}, "Q262": {"89 or older": 89, "": 0},
    }  # fmt: skip
    assert list(made.survey.axes["sex"].groups or ()) == ["1", "2"]
    assert type(made.recipes["sft"].learning_rate) is float


def test_axes_have_labels_bands_and_null_leaves_one_out_with_its_strata() -> None:
    bands = {"column": "Q262", "bands": [16, 25, 65]}
    made = study({"survey/axes/age_group": bands})
    assert made.axes["age_group"].names() == ["16-24", "25-64", "65 and over"]
    assert (made.axis_label("age_group"), study().axis_label("age_group")) == ("age group", "age")
    left = study(
        {
            "survey/axes/ethnicity": None,
            "splits/ood/groups": {"ethnicity": {"only": ["Malay"]}},
        }
    )
    assert list(left.axes) == ["sex", "age_group", "religion"]
    assert left.strata("ood") == (("age_group", "religion"),)
    assert not any("ethnicity" in stratum for stratum in left.strata("train"))
    auto = study({"survey/axes/religion/groups": "auto"}).axes["religion"]
    assert (auto.is_auto, auto.names()) == (True, [])


def test_with_several_countries_all_strata_lie_within_one() -> None:
    countries = {"countries": ["SGP", 458], "country_columns": ["A", "B"]}
    survey = {**CONFIG["survey"], **countries}
    del survey["country"]
    made = study({"survey": survey, "splits/ood/groups": {"country": {"only": ["Singapore"]}}})
    assert made.several_countries
    assert next(iter(made.axes)) == "country"
    assert (made.axes["country"].column, made.axes["country"].is_auto) == ("A", True)
    assert made.axis_label("country") == "country"
    assert made.strata("ood")[0] == ("country", "age_group", "religion")
    one = study({"survey": {**survey, "countries": [458]}})
    assert (one.several_countries, next(iter(one.axes))) == (False, "sex")


def test_the_environment_names_the_survey_instead_of_the_study(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    survey = tmp_path / "mine.csv"
    survey.write_text("x")
    monkeypatch.setenv(SURVEY_VARIABLE, str(survey))
    made = study({"survey/simulate": REMOVED, "survey/file": "x.csv"})
    assert made.survey_file == str(survey)
    assert study().survey_file == "results/demo/survey/simulated.csv"


def test_caveats_name_simulated_surveys_and_toys(demo: Study) -> None:
    assert (demo.caveat, demo.survey_caveat) == ("simulated survey, toy models", "simulated survey")
    assert demo.run_caveat("toy-llama") == "simulated survey, toy model"
    assert demo.run_caveat("additive") == "simulated survey"
    raw = changed({"survey/simulate": REMOVED, "survey/file": "x.csv"})
    for model in [*raw["models"].values(), raw["judges"]["toy-judge"]["model"]]:
        if model.pop("toy", None):
            model |= {"model": "owner/name", "revision": "0123abc"}
    real = load(raw, files=False)
    assert (real.caveat, real.survey_caveat, real.run_caveat("toy-llama")) == ("", "", "")


def test_runs_are_models_by_variants_by_splits(demo: Study) -> None:
    assert len(demo.runs()) == (2 + 2 + 1 + 1 + 1) * 2
    assert len(demo.generation_runs()) == len(demo.judgements()) == 4
    assert ("axis-mode", "base", "train") in demo.runs()
    bare = study(dict.fromkeys(("judges", "generation", "recipes"), REMOVED))
    assert bare.judgements() == bare.generation_runs() == []
    assert bare.variants("toy-llama") == ["base"]


def test_models_have_recipes_and_prompt_variants_by_their_backend() -> None:
    made = study(
        {
            "recipes/slow": {**CONFIG["recipes"]["sft"], "learning_rate": 1e-6},
            "prompt_variants": {"mandarin": {"template": "mandarin"}, "list": {"persona": "list"}},
            "models/toy-qwen/recipes": ["slow"],
            "models/toy-qwen/prompt_variants": ["list"],
            "models/closed": SERVED,
            "models/fast": {**TOY, "backend": "vllm"},
            "judges/toy-judge/model": {**TOY, "backend": "vllm"},
        }
    )
    assert made.variants("toy-llama") == made.variants("fast") == ["base", "sft", "slow"]
    assert made.variants("toy-qwen") == ["base", "slow"]
    assert made.variants("axis-mode") == made.variants("closed") == ["base"]
    assert made.prompt_variant_runs("toy-qwen") == ["base+list", "slow+list"]
    assert made.prompt_variant_runs("closed") == ["base+mandarin", "base+list"]
    assert made.prompt_variant_runs("additive") == []
    assert (made.is_toy("closed"), made.is_toy("fast")) == (False, True)
    assert made.toys() == ["toy-llama", "toy-qwen", "fast", "toy-judge"]
    assert made.model("toy-judge") == made.judge_models["toy-judge"]


def test_a_prompt_variant_gives_only_what_differs() -> None:
    variants = {"turned": {"options": "reversed", "order": "question"}}
    made = study({"prompt": {"persona": "third"}, "prompt_variants": variants})
    plain = {"template": "english", "persona": "third", "options": "asked", "order": "persona"}
    assert prompt_fields(made.prompt) == plain
    turned = prompt_fields(made.prompt, made.prompt_variants["turned"])
    assert turned == {**plain, "options": "reversed", "order": "question"}


def test_a_recipe_on_a_split_with_folds_is_one_of_each_fold() -> None:
    made = study(
        {
            "splits/cv": {"role": "test", "strata": ["sex"], "folds": {"of": 2, "seed": 3}},
            "splits/train/strata": ["age_group"],
            "recipes/kf": {"method": "sft", "split": "cv", "learning_rate": 0.1},
            "prompt_variants": {"list": {"persona": "list"}},
        }
    )
    assert made.fine_tunes("toy-llama") == ["sft", "kf-1", "kf-2"]
    assert (made.fold_recipes("kf"), made.fold_recipes("sft")) == (["kf-1", "kf-2"], [])
    assert made.variants("toy-llama") == ["base", "sft", "kf"]
    assert list(made.tuned_recipes) == ["sft", "kf-1", "kf-2"]
    assert made.tuned_recipes["kf-2"].split == part_name("cv", "train", 1) == "cv-train-2"
    assert list(made.parts) == ["cv-test-1", "cv-train-1", "cv-test-2", "cv-train-2"]
    assert made.parts["cv-train-2"] == ("cv", Fold(of=2, unit="pair", seed=3, without=(1,)))
    assert made.parts["cv-train-2"][1].disjoint(made.parts["cv-test-2"][1])
    assert ("toy-llama", "kf", "cv") in made.runs()
    # its models know other splits no more than they should, but have no say there
    assert ("toy-llama", "kf", "ood") not in made.runs()
    assert made.prompt_variant_runs("toy-llama") == ["base+list", "sft+list"]


def test_methods_and_backends_have_their_own_keys_and_defaults() -> None:
    recipe = {"split": "train", "learning_rate": 1e-5}
    recipes = {method: {**recipe, "method": method} for method in ("dpo", "grpo")}
    made = study({"recipes": {**CONFIG["recipes"], **recipes}, "models/closed": SERVED})
    dpo, grpo, closed = made.recipes["dpo"], made.recipes["grpo"], made.model("closed")
    assert isinstance(dpo, DPO)
    assert (dpo.beta, dpo.rejected) == (0.1, "random")
    assert isinstance(grpo, GRPO)
    assert (grpo.beta, grpo.num_generations, grpo.temperature, grpo.max_new_tokens) == (
        0.1, 8, 1.0, 16,
    )  # fmt: skip
    assert isinstance(closed, OpenAIModel)
    assert (closed.max_concurrency, closed.timeout, closed.max_retries) == (4, 60.0, 6)
    spread = {**VLLM, "device_map": "auto", "gpus": 3}
    tuned = study({"models": {"m": spread}, "judges": {}, "recipes": {"p": recipes["dpo"]}})
    assert tuned.fine_tunes("m") == ["p"]  # one process, whatever the batch


def test_a_model_without_resources_is_what_results_depend_on() -> None:
    resources = {"threads": 2, "mem_mb": 9999, "runtime": 9, "prompt_variants": []}
    local = {**resources, "gpus": 0, "recipes": []}
    served = {**resources, "max_concurrency": 9, "timeout": 5, "max_retries": 1}
    for plain, added in ((TOY, local), (VLLM, local), (SERVED, served)):
        models = study({"models/a": plain, "models/b": {**plain, **added}}, files=False).models
        assert models["a"] != models["b"]
        assert models["a"] == models["a"].without_resources() == models["b"].without_resources()
    for key, value in (("dtype", "float32"), ("max_length", 99), ("max_batch_tokens", 999)):
        models = study({"models/a": TOY, "models/b": {**TOY, key: value}}).models
        assert models["a"].without_resources() != models["b"].without_resources()


def test_a_branch_is_warned_of_and_a_commit_is_not() -> None:
    models = {"models/moving": VLLM, "models/pinned": {**VLLM, "revision": "0123456789" * 4}}
    first, second = unpinned(study({**models, "judges/toy-judge/model": VLLM}))
    assert first.startswith("models.moving: revision main of a/b is not pinned")
    assert second.startswith("judges.toy-judge.model: ")


def test_files_need_not_exist_where_only_the_study_is_checked(tmp_path: Path) -> None:
    gone = {"survey/codebook": "no.yaml", "models/m": {"backend": "transformers", "model": "./no"}}
    assert study(gone, files=False).name == "demo"
    with pytest.raises(InputError, match=r"survey\.codebook"):
        study(root=tmp_path)
    (tmp_path / "studies/codebooks").mkdir(parents=True)
    (tmp_path / "studies/codebooks/wvs7.yaml").write_text("questions: {}\n")
    assert study(root=tmp_path).name == "demo"


def test_names_for_paths() -> None:
    for axes, name in (((), "all"), (("sex",), "sex"), (("sex", "age"), "sex-x-age")):
        assert stratum_id(axes) == name
    for variant, prompt_variant, name in (("sft", "", "sft"), ("base", "list", "base+list")):
        assert variant_name(variant, prompt_variant) == name
        assert variant_parts(name) == (variant, prompt_variant)


def test_selections_and_folds_are_disjoint_only_where_they_must_be() -> None:
    def fold(of: int = 5, **keys: Any) -> Fold:
        return Fold(of=of, **keys)

    cases: list[tuple[Any, Any, bool]] = [
        (Selection(only=("a",)), Selection(only=("b",)), True),
        (Selection(only=("a",)), Selection(without=("a",)), True),
        (Selection(only=("a", "b")), Selection(without=("a",)), False),
        (Selection(without=("a",)), Selection(without=("b",)), False),
        (Selection(), Selection(only=("a",)), False),
        (fold(only=(0,)), fold(without=(0,)), True),
        (fold(only=(0,)), fold(only=(1, 2)), True),
        (fold(only=(0, 1)), fold(without=(0,)), False),
        (fold(without=(0,)), fold(without=(1,)), False),
        (fold(2, without=(0,)), fold(2, without=(1,)), True),
        (fold(only=(0,)), fold(4, only=(1,)), False),
        (fold(only=(0,)), fold(seed=2, only=(1,)), False),
        (fold(only=(0,)), fold(unit="question", only=(1,)), False),
        (fold(only=(0,)), None, False),
    ]
    for first, second, apart in cases:
        assert first.disjoint(second) is apart, (first, second)
        assert second is None or second.disjoint(first) is apart


# Every typed part ----------------------------------------------------------------------------


def test_every_field_of_every_part_has_a_description() -> None:
    classes = part_classes()
    assert len(classes) > 25
    for part in classes:
        for name, field in part.model_fields.items():
            assert len(field.description or "") > 8, f"{part.__name__}.{name}"
            assert (field.description or "").endswith("."), f"{part.__name__}.{name}"


def test_every_part_refuses_unknown_keys_and_is_frozen() -> None:
    for part in part_classes():
        assert part.model_config.get("extra") == "forbid"
        assert part.model_config.get("frozen")
        assert part.model_config.get("strict")


def test_a_part_takes_a_new_key_with_a_default_and_all_else_stays(demo: Study) -> None:
    for part in parts_of(demo):
        wider = with_new_key(part)
        before, after = dump(part), dump(wider)
        assert after.pop("a_new_key") == 0
        assert after == before
        assert json.dumps(after) == json.dumps(before)
        assert wider.model_dump(exclude_defaults=True) == part.model_dump(exclude_defaults=True)


def test_what_says_which_part_is_meant_has_no_default() -> None:
    for part in part_classes():
        for name in {"backend", "method"} & set(part.model_fields):
            assert part.model_fields[name].is_required()


def test_a_replaced_part_is_checked() -> None:
    made: Part = study().evaluation
    assert made.replace(seed=2) == made.replace(seed=1).replace(seed=2)
    with pytest.raises(ValueError, match="seed"):
        made.replace(seed=-1)


def test_a_group_may_have_several_codes() -> None:
    expected = {"1": "Christian", "2": "Christian", "NA": "Christian", "5": "Muslim"}
    for groups in (
        {"Christian": [1, 2, "NA"], "Muslim": 5},
        {"Christian": [1, "2", "NA"], 5: "Muslim"},
        {"Christian": ["1", 2, "NA"], "Muslim": [5]},
        {1: "Christian", 2: "Christian", "NA": "Christian", 5: "Muslim"},
    ):
        made = study({"survey/axes/religion/groups": groups})
        assert dict(made.survey.axes["religion"].groups or ()) == expected
        assert made.survey.axes["religion"].names() == ["Christian", "Muslim"]
        again = load(json.loads(made.to_json()))
        assert again.survey.axes["religion"] == made.survey.axes["religion"]
