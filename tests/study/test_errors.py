"""A study that is wrong is one line: where, what, and what to do."""

from typing import Any

import pytest

from tests.study.parts import CONFIG, REMOVED, changed, check, complaint, part_classes, study
from valuestrata.errors import InputError
from valuestrata.study.load import load
from valuestrata.study.study import SURVEY_VARIABLE, Study
from valuestrata.study.yaml import parse

SEX = CONFIG["survey"]["axes"]["sex"]
SFT = CONFIG["recipes"]["sft"]
STRATA = CONFIG["splits"]["ood"]["strata"]
JUDGE = CONFIG["judges"]["toy-judge"]
PANEL = {"panel": {"judges": ["toy-judge", "x"]}, "reference": JUDGE["reference"]}
PREFERENCE = {"split": "train", "learning_rate": 1e-5}
TOY = {"backend": "transformers", "toy": {"architecture": "llama"}}
PRICES = {"prompt": 2.0, "completion": 8.0}
SERVED = {"backend": "openai", "model": "gpt", "base_url": "http://x/v1"}
VLLM = {"backend": "vllm", "model": "a/b", "revision": "main"}
CV = {"role": "test", "strata": ["sex"], "folds": {"of": 5}}


@pytest.fixture(autouse=True)
def _no_survey_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SURVEY_VARIABLE, raising=False)


def test_unknown_keys_are_named_with_their_place_and_the_valid_ones() -> None:
    places: dict[str, Any] = {
        "": {},
        "survey": {},
        "survey/simulate": {},
        "survey/select_all/s": {"survey/select_all": {"s": {"questions": ["Q1"]}}},
        "survey/axes/sex": {},
        "survey/axes/sex/fallback": {},
        "labels": {},
        "splits/ood": {},
        "splits/ood/questions": {},
        "splits/ood/fold": {},
        "splits/ood/folds": {},
        "prompt": {},
        "prompt_variants/mandarin": {},
        "models/toy-llama": {},
        "models/toy-llama/toy": {},
        "models/axis-mode": {},
        "models/served": {"models/served": SERVED},
        "models/served/prices": {"models/served": SERVED, "models/served/prices": PRICES},
        "models/fast": {"models/fast": VLLM},
        "recipes/sft/validation": {},
        "prediction": {},
        "generation": {},
        "judges/toy-judge": {},
        "judges/toy-judge/model": {},
        "judges/toy-judge/model/toy": {},
        "judges/toy-judge/reference": {},
        "judges/both/panel": {"judges/both": PANEL},
        "people": {},
        "people/simulate": {},
        "evaluation": {},
        "budget": {"budget": {"calls": 9}},
        "contrasts": {},
        "sensitivity": {"sensitivity": {}},
    }
    methods = ("sft", "soft", "ordinal", "dro", "dpo", "grpo")
    for method in methods:
        places[f"recipes/{method}"] = {f"recipes/{method}": {**PREFERENCE, "method": method}}
    for place, changes in places.items():
        line = complaint({**changes, f"{place}/zzz".lstrip("/"): 1})
        where = place.replace("/", ".") or "the study"
        assert line.startswith(f"{where}: unknown key 'zzz'; valid keys are "), line
    once = [place for place in places if "toy-judge/model" not in place]
    assert len(once) == len(part_classes())


def test_a_near_miss_gets_a_suggestion_and_a_strange_key_its_owner() -> None:
    check(
        [
            (
                {"recipes/sft/epoch": 1},
                "recipes.sft: unknown key 'epoch'; did you mean 'epochs'?",
                (),
            ),
            (
                {"recipes/sft/batch": 8},
                "recipes.sft: unknown key 'batch'; did you mean 'batch_",
                (),
            ),
            ({"survey/axis": {}}, "survey: unknown key 'axis'; did you mean 'axes'?", ()),
            ({"judge": {}}, "the study: unknown key 'judge'; did you mean 'judges'?", ()),
            # a misspelt required key is named as misspelt, not as missing
            (
                {"models/m": {"backend": "openai", "modle": "x", "base_url": "http://x"}},
                "models.m: unknown key 'modle'; did you mean 'model'?",
                (),
            ),
            # a suggestion is only ever valid for the method or backend
            ({"recipes/sft/bata": 0.1}, "recipes.sft: unknown key 'bata'; ", ("batch_size",)),
            (
                {"models/m": {**VLLM, "toi": {}}},
                "models.m: unknown key 'toi'; did you mean 'toy'",
                (),
            ),
        ]
    )
    supervised = "sft, soft, ordinal or dro"
    for method, key, value, owners in (
        ("sft", "beta", 0.1, "dpo or grpo"),
        ("sft", "group_dro_step_size", 0.1, "dro"),
        ("soft", "num_generations", 4, "grpo"),
        ("grpo", "rejected", "random", "dpo"),
        ("dpo", "temperature", 1.0, "grpo"),
        ("dpo", "gradient_accumulation_steps", 2, supervised),
        ("dpo", "batch_layout", "shared_prefix", supervised),
        ("grpo", "group_sampling", "weight", supervised),
    ):
        line = complaint({"recipes/r": {**PREFERENCE, "method": method, key: value}})
        assert line == f"recipes.r.{key}: belongs to {owners}, not to {method}; remove it"
    local = "transformers or vllm"
    for model, key, owners in (
        ({"backend": "baseline", "rule": "additive"}, "model", "transformers, vllm or openai"),
        ({"backend": "baseline", "rule": "additive"}, "recipes", local),
        ({"backend": "baseline", "rule": "additive"}, "threads", "transformers, vllm or openai"),
        ({"backend": "baseline", "rule": "additive"}, "gpus", local),
        (TOY, "rule", "baseline"),
        (TOY, "base_url", "openai"),
        (VLLM, "attn_implementation", "transformers"),
        (SERVED, "dtype", local),
        (SERVED, "gpus", local),
        (SERVED, "recipes", local),
        (SERVED, "revision", local),
    ):
        for place in ("models/m", "judges/toy-judge/model"):
            line = complaint({place: {**model, key: 1}})
            where = place.replace("/", ".")
            backend = model["backend"]
            assert line == f"{where}.{key}: belongs to {owners}, not to {backend}; remove it"


def test_values_of_another_type_are_told_how_to_be_written() -> None:
    for text, words in (
        ("'1e-6'", "'1e-6' is text, not a number; write 1e-6, without quotes"),
        ("fast", "'fast' is text, not a number"),
        ("[1]", "a list is not a number"),
        ("true", "true is not a number"),
        ("", "null is not a number; give a value"),
        (".inf", "inf is not a finite number"),
        (".nan", "nan is not a finite number"),
        ("0", "0 is too small; it must be more than 0"),
    ):
        line = complaint({"recipes/sft/learning_rate": parse(f"a: {text}")["a"]})
        assert line.startswith(f"recipes.sft.learning_rate: {words}"), line
    check(
        [
            ({"study": 5}, "study: 5 is not text; put it in quotes", ()),
            ({"title": True}, "title: true is not text; put it in quotes", ()),
            ({"survey/axes/sex/groups/1": 1990}, "survey.axes.sex.groups.1: 1990 is not text", ()),
            ({"survey/axes/sex/groups/1": True}, "survey.axes.sex.groups.1: true is not text", ()),
            (
                {"survey/missing": [1.5]},
                "survey.missing.0: 1.5 is neither text nor a whole number",
                (),
            ),
            ({"survey/recode": {"Q1": {1: "a"}}}, "survey.recode.Q1.1: 'a' is text", ()),
            (
                {"survey/countries": [1.5]},
                "survey.countries.0: 1.5 is neither text nor a whole",
                (),
            ),
            (
                {"survey/questions": "some"},
                "survey.questions: 'some' is neither all nor a list",
                (),
            ),
            ({"survey/questions": ["Q1", 2]}, "survey.questions.1: 2 is not text; put it in", ()),
            (
                {"survey/axes/sex/groups": "all"},
                "survey.axes.sex.groups: 'all' is neither auto",
                (),
            ),
            ({"recipes/sft/epochs": 1.5}, "recipes.sft.epochs: 1.5 is not a whole number", ()),
            ({"recipes/sft/epochs": "01"}, "recipes.sft.epochs: '01' is text", ("write 1,",)),
            (
                {"recipes/sft/target_modules": "q_proj"},
                "recipes.sft.target_modules: 'q_proj' is neither all-linear nor a list",
                (),
            ),
            (
                {"recipes/sft/gradient_checkpointing": "yes"},
                "recipes.sft.gradient_checkpointing: 'yes' is text, not true or false; write true",
                (),
            ),
            (
                {"evaluation/confidence_level": "95%"},
                "evaluation.confidence_level: '95%' is te",
                (),
            ),
            ({"evaluation/seed": True}, "evaluation.seed: true is not a whole number", ()),
            ({"evaluation/seed": "1"}, "evaluation.seed: '1' is text", ("write 1, without",)),
            ({"models/m": "gpt"}, "models.m: 'gpt' is text, not a mapping", ()),
            ({"splits/ood/strata": "sex"}, "splits.ood.strata: 'sex' is text, not a list", ()),
            ({"survey": []}, "survey: [] is not a mapping", ()),
        ]
    )


def test_wrong_studies_are_refused_part_by_part() -> None:
    check(
        [
            ({"study": REMOVED}, "study: missing; add it: Name of the study", ()),
            ({"survey": REMOVED}, "survey: missing; add it: ", ()),
            ({"models": REMOVED}, "models: missing", ()),
            ({"models": {}}, "models: {} has too few entries", ("at least 1",)),
            ({"splits": {}}, "splits: ", ("at least 1",)),
            ({"survey/axes": {}}, "survey.axes: ", ("at least 1",)),
            ({"survey/codebook": REMOVED}, "survey.codebook: missing; add it: YAML file with", ()),
            ({"survey/file": "x.csv"}, "survey: ", ("keep one",)),
            ({"survey/simulate/respondents": 9}, "survey.simulate.respondents: 9", ("100",)),
            ({"survey/delimiter": ";;"}, "survey.delimiter: ", ("too long",)),
            ({"survey/encoding": "utf-9"}, "survey.encoding: 'utf-9' is no encoding", ("cp1251",)),
            ({"survey/encoding": "hex"}, "survey.encoding: 'hex' is no encoding", ()),
            ({"survey/select_all": {"s": {}}}, "survey.select_all.s.questions: missing", ()),
            ({"survey/filter": {"C": []}}, "survey.filter.C: ", ("at least 1",)),
            ({"survey/country": REMOVED}, "survey: ", ("either country", "countries")),
            ({"survey/countries": ["SGP"]}, "survey: ", ("either country",)),
            (
                {"survey/country": REMOVED, "survey/countries": ["SGP"]},
                "survey: country_columns is missing",
                (),
            ),
            ({"survey/axes/sex/groups": {1: "male"}}, "survey.axes.sex.groups: ", ("at least 2",)),
            ({"survey/axes/sex/groups": {1: "a", 2: "a"}}, "survey.axes.sex: all codes", ("'a'",)),
            ({"survey/axes/sex/groups": {"a": [1, 2], "b": [2]}}, "survey.axes.sex.groups: code 2",
             ("in two groups, 'a' and 'b'",)),
            ({"survey/axes/sex/groups": {"a": [], "b": 1}}, "survey.axes.sex.groups: a: []", ()),
            ({"survey/axes/sex/groups": {"a": [True], "b": 1}}, "survey.axes.sex.groups: a: True",
             ("in quotes",)),
            ({"survey/axes/sex/groups": {1: ["a"], 2: "b"}}, "survey.axes.sex.groups: 1: a list",
             ("label: [codes]",)),
            ({"survey/axes/sex/groups": REMOVED}, "survey.axes.sex: give either groups", ()),
            ({"survey/axes/sex/bands": [1, 2]}, "survey.axes.sex: ", ("not both",)),
            ({"survey/axes/sex/groups/1": "a & b"},
             "survey.axes.sex.groups.1: 'a & b'", ("' & '",)),
            ({"survey/axes/sex/groups/1": "a=b"}, "survey.axes.sex.groups.1: 'a=b'", ("'='",)),
            ({"survey/axes/sex/persona": "x"}, "survey.axes.sex.persona: 'x'", ("{group}",)),
            ({"survey/axes/sex/persona": "{group} of {x}"},
             "survey.axes.sex.persona: ", ("other",)),
            ({"survey/axes/sex/persona": "{group} {"}, "survey.axes.sex.persona: ", ("other",)),
            ({"survey/axes/sex/persona": "{group:5}"}, "survey.axes.sex.persona: ", ("other",)),
            ({"survey/axes/sex": {"column": "A", "bands": [30, 16]}}, "survey.axes.sex.bands: ",
             ("not ascending",)),
            ({"survey/axes/sex": {"column": "A", "bands": [16, 16]}}, "survey.axes.sex.bands: ",
             ("duplicates",)),
            (
                {"survey/axes/sex/fallback": {"column": "A", "bands": [16, 25]}},
                "survey.axes.sex: fallback.bands make the labels 16-24, 25 and over",
                ("male, female",),
            ),
            (
                {
                    "survey/axes/sex/groups": "auto",
                    "survey/axes/sex/fallback": {"column": "A", "bands": [16, 25]},
                },
                "survey.axes.sex: fallback is not possible with groups: auto",
                (),
            ),
            ({"survey/axes/sex/groups": "auto", "survey/axes/sex/bands": [1, 2]},
             "survey.axes.sex: give either", ()),
            ({"splits/ood/strata": []}, "splits.ood.strata: [] has too few", ()),
            ({"splits/ood/strata": [STRATA[0]] * 2}, "splits.ood.strata: duplicate", ()),
            ({"splits/ood/role": "dev"},
             "splits.ood.role: 'dev' is not allowed", ("train", "test")),
            ({"splits/ood/role": REMOVED}, "splits.ood.role: missing", ()),
            ({"splits/ood/questions": {}}, "splits.ood.questions: give either only or without", ()),
            ({"splits/ood/questions": {"only": ["Q1"], "without": ["Q4"]}}, "splits.ood.questions",
             ("either only or without",)),
            ({"splits/ood/groups": {"sex": {"only": []}}},
             "splits.ood.groups.sex: give either", ()),
            ({"splits/ood/fold": {"of": 5, "only": [5]}},
             "splits.ood.fold: parts go from 0 to 4", ()),
            ({"splits/ood/fold": {"of": 2, "without": [0, 1]}},
             "splits.ood.fold: keeps no part", ()),
            ({"splits/ood/fold": {"of": 5, "only": [0], "without": [1]}},
             "splits.ood.fold: give ei", ()),
            ({"splits/ood/fold": {"of": 5}}, "splits.ood.fold: give either only or without", ()),
            ({"splits/ood/folds": {"of": 1}}, "splits.ood.folds.of: 1 is too small", ()),
            ({"splits/ood/folds": {"of": 5, "unit": "person"}}, "splits.ood.folds.unit: ",
             ("subgroup",)),
            ({"splits/train/folds": {"of": 5}}, "splits.train: folds are for a test split", ()),
            ({"splits/ood/folds": {"of": 5}, "splits/ood/fold": {"of": 2, "only": [0]}},
             "splits.ood: folds are for a test split without a fold", ()),
            ({"prompt_variants/w": {}}, "prompt_variants.w: changes nothing", ()),
            ({"prompt_variants/w": {"persona": "first"}}, "prompt_variants.w.persona: ", ("list",)),
            ({"prompt_variants/a+b": {"persona": "list"}}, "prompt_variants: 'a+b' is not", ()),
            ({"prompt/order": "question"}, "prompt: unknown key 'order'", ()),
            ({"recipes/sft/method": "ppo"}, "recipes.sft.method: 'ppo' is not allowed; choose sft",
             ("did you mean dpo",)),
            ({"recipes/sft/method": REMOVED}, "recipes.sft.method: missing; choose sft, soft", ()),
            ({"recipes/sft/learning_rate": 0}, "recipes.sft.learning_rate: 0 is too small", ()),
            ({"recipes/sft/learning_rate": REMOVED}, "recipes.sft.learning_rate: missing", ()),
            ({"recipes/sft/lr_scheduler_type": "x"},
             "recipes.sft.lr_scheduler_type: ", ("cosine",)),
            ({"recipes/sft/validation": {"share": 1}},
             "recipes.sft.validation.share: 1", ("less",)),
            ({"recipes/base": SFT}, "recipes: 'base' is not allowed; base is the untuned", ()),
            ({"recipes/p": {**PREFERENCE, "method": "dpo", "beta": 0}}, "recipes.p.beta: ", ()),
            ({"recipes/p": {**PREFERENCE, "method": "dpo", "rejected": "worst"}},
             "recipes.p.rejected: ", ("runner-up",)),
            ({"recipes/p": {**PREFERENCE, "method": "grpo", "num_generations": 1}},
             "recipes.p.num_generations: ", ("at least 2",)),
            ({"models/m": {"backend": "x"}}, "models.m.backend: 'x' is not", ("baseline",)),
            ({"models/m": {}}, "models.m.backend: missing; choose transformers, vllm, openai", ()),
            ({"models/m": {"backend": "baseline"}}, "models.m.rule: missing", ()),
            ({"models/axis-mode/rule": "x"}, "models.axis-mode.rule: ", ("national_mode",)),
            ({"models/m": {"backend": "transformers"}}, "models.m: give either model", ("toy",)),
            ({"models/m": {"backend": "vllm"}}, "models.m: give either model", ()),
            ({"models/toy-llama/model": "a/b"}, "models.toy-llama: give either model", ()),
            ({"models/m": {k: v for k, v in SERVED.items() if k != "base_url"}},
             "models.m.base_url: missing", ()),
            ({"models/m": {k: v for k, v in SERVED.items() if k != "model"}},
             "models.m.model: missing", ()),
            ({"models/toy-llama/attn_implementation": "flash"},
             "models.toy-llama.attn_implementation: 'flash'", ("sdpa",)),
            ({"models/toy-llama/forest_attention": "flex", "models/toy-llama/gpus": 0},
             "models.toy-llama: forest_attention: flex reads on one GPU", ("gpus: 0", "gathered")),
            ({"models/toy-llama/forest_attention": "flex", "models/toy-llama/gpus": 2,
              "models/toy-llama/device_map": "auto"},
             "models.toy-llama: forest_attention: flex", ("device_map", "gathered")),
            ({"models/toy-llama/max_length": 1}, "models.toy-llama.max_length: 1 is too small", ()),
            ({"models/toy-llama/toy/hidden_size": 20}, "models.toy-llama.toy.hidden_size: 20",
             ("multiple of 8",)),
            ({"models/m": {**SERVED, "base_url": "localhost:80"}}, "models.m.base_url: ",
             ("http://",)),
            ({"evaluation/confidence_level": 1},
             "evaluation.confidence_level: 1", ("less than 1",)),
            ({"evaluation/n_resamples": 1}, "evaluation.n_resamples: 1", ("at least 10",)),
            ({"min_subgroup_n": 0}, "min_subgroup_n: 0 is too small", ()),
            ({"evaluation/seed": -1}, "evaluation.seed: -1 is too small", ()),
        ]
    )  # fmt: skip


def test_names_that_cannot_be_part_of_a_path_are_refused() -> None:
    bad = ["a/b", "..", ".", "a b", "", "-x", ".hidden", "ü", "a\\b", "a;b", "$(x)", "a\n"]
    for name in bad:
        line = complaint({"study": name})
        assert line.startswith("study: ")
        assert "use A-Z a-z 0-9 . _ - only" in line
        for kind in ("models", "recipes", "splits", "judges"):
            raw = changed({})
            raw[kind][name] = next(iter(raw[kind].values()))
            with pytest.raises(InputError, match=rf"config: {kind}: .*use A-Z a-z 0-9"):
                load(raw)
    for name in ("Sex", "sex-2", "1st", "a b", "", "a/b", "..", "sex x age"):
        line = complaint({"survey/axes": {name: SEX}})
        assert line.startswith(f"survey.axes: {name!r} is not allowed; an axis is named in lower")


def test_a_key_in_place_of_its_variable_is_refused_and_not_repeated() -> None:
    secret = "sk-proj-0123456789abcdef"
    for key, value, words in (
        ("api_key_env", secret, "never the key"),
        ("base_url", f"https://me:{secret}@x/v1", "hold no user, password, query or"),
        ("base_url", f"https://x/v1?api_key={secret}", "hold no user, password, query or"),
        ("base_url", f"https://x/v1%3Fapi_key={secret}", "nothing that looks like a key"),
        ("base_url", f"https://x/v1;key={secret}", "nothing that looks like a key"),
        ("base_url", f"https://x/{secret}/v1", "nothing that looks like a key"),
        ("base_url", f"https://x /{secret}", "no blank"),
        ("api_key", secret, "did you mean 'api_key_env'?"),
    ):
        line = complaint({"models/m": {**SERVED, key: value}})
        assert line.startswith("models.m")
        assert secret not in line
        assert words in line


def test_what_is_no_study_at_all_is_one_line() -> None:
    for raw in (None, [], "text", 3, {}, {"survey": None}, {"splits": 3, "survey": {"axes": 1}}):
        with pytest.raises(InputError, match=r"^config: ") as caught:
            load(raw)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


def test_a_split_of_axes_that_are_all_left_out_is_one_line() -> None:
    line = complaint({"survey/axes/ethnicity": None, "survey/axes/religion": None})
    assert line.startswith("splits.ood.strata: [] has too few entries")


def test_messages_are_in_words_and_not_in_the_validator_s_terms() -> None:
    terms = ("Value error", "should", "Input", "does not match", "valid under", "required property")
    for changes in (
        {"survey/axes/sex/groups/1": "a & b"},
        {"survey/axes/Sex": SEX},
        {"survey/axes/sex/groups": REMOVED},
        {"survey/questions": 3},
        {"recipes/base": SFT},
        {"models/m": 1},
        {"recipes/sft": []},
        {"survey/axes/sex/bands": "x"},
        {"survey/axes/sex/groups": [1]},
        {"survey/simulate": 5},
        {"splits/ood/fold": []},
    ):
        line = complaint(changes)
        assert not any(term in line for term in terms), line
        assert not line.endswith("is not valid")


def test_the_first_problem_is_enough_for_a_study() -> None:
    assert complaint({"title": 1, "evaluation/seed": -1}).startswith("title: ")
    assert isinstance(study(), Study)
