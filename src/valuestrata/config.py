"""The study: one checked config, and what each stage needs of it.

`validate.load` makes a `Study`. The `spec_*` functions give each stage exactly the settings it
depends on.
"""

import dataclasses
import os
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from valuestrata import provenance, specs

SURVEY_VARIABLE = "VALUESTRATA_SURVEY"
BASE = "base"
ALL_LINEAR = "all-linear"
PERSONA_AGNOSTIC = ("uniform", "national_mode")
"""Rules of baselines that answer alike for every persona."""
CEILING_DRAWS = 50
"""Random splits in halves, and new samples, of each subgroup for its human ceilings."""
FOUND = "found"


@dataclass(frozen=True)
class Study:
    """A checked study. `config` is the merged YAML with every default filled in."""

    config: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the study and of its results folder."""
        return str(self.config["study"])

    @property
    def results(self) -> str:
        """Where the study's artefacts go, relative to the repository."""
        return f"results/{self.name}"

    @cached_property
    def caveat(self) -> str:
        """What every artefact says about toy models and simulated data; '' if neither."""
        said = []
        if "simulate" in self.config["survey"]:
            said.append("simulated survey")
        if any("toy" in m for m in [*self.models.values(), *self.judge_models.values()]):
            said.append("toy models")
        return ", ".join(said)

    @cached_property
    def survey_caveat(self) -> str:
        """The caveat of artefacts that no model took part in."""
        return "simulated survey" if "simulate" in self.config["survey"] else ""

    @property
    def survey_file(self) -> str:
        """The csv file that is read; a simulated one is made by the graph."""
        survey = self.config["survey"]
        if "simulate" in survey:
            return f"{self.results}/survey/simulated.csv"
        return str(os.environ.get(SURVEY_VARIABLE) or survey.get("file", ""))

    @cached_property
    def axes(self) -> dict[str, specs.Axis]:
        """The study's axes in config order; the country comes first where there are several."""
        least = self.config["minimum"]["respondents"]
        own = {k: _axis(k, v, least) for k, v in self.config["survey"]["axes"].items()}
        return {specs.COUNTRY: _country(self.config["survey"]), **own} if self.several else own

    @property
    def several(self) -> bool:
        """Whether the study is of more than one country."""
        return len(self.config["survey"].get("countries", [])) > 1

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        """Model configs by name."""
        return typing.cast(dict[str, dict[str, Any]], self.config["models"])

    @property
    def judge_models(self) -> dict[str, dict[str, Any]]:
        """Configs of the judges' models by the judge's name."""
        return {k: v["model"] for k, v in self.config["judges"].items()}

    @property
    def splits(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        """Strata (tuples of axes) of each split; with several countries all lie within one."""
        return {
            name: tuple(self._within(axes_of(stratum)) for stratum in said["strata"])
            for name, said in self.config["splits"].items()
        }

    def _within(self, axes: tuple[str, ...]) -> tuple[str, ...]:
        rest = tuple(axis for axis in axes if axis != specs.COUNTRY)
        return (specs.COUNTRY, *rest) if self.several else axes

    def selections(self, split: str) -> tuple[specs.Selection, dict[str, specs.Selection]]:
        """Which questions, and which groups of each axis, a split keeps."""
        said = self.config["splits"][split]
        groups = {k: specs.from_dict(specs.Selection, v) for k, v in said["groups"].items()}
        return specs.from_dict(specs.Selection, said.get("questions", {})), groups

    def fold(self, split: str) -> specs.Fold | None:
        """The part of its pairs, questions or subgroups that a split keeps; None for all."""
        said = self.config["splits"][split]
        return specs.from_dict(specs.Fold, said["fold"]) if "fold" in said else None

    @cached_property
    def parts(self) -> dict[str, tuple[str, specs.Fold]]:
        """What the k-fold splits are cut into, by name: the split, and what of it is kept."""
        found = {}
        for name, said in self.config["splits"].items():
            cut = said.get("folds")
            for i in range(cut["of"] if cut else 0):
                kept = specs.Fold(**cut, only=(i,))
                found[part_name(name, "test", i)] = (name, kept)
                found[part_name(name, "train", i)] = (name, replace(kept, only=None, without=(i,)))
        return found

    def folds(self, recipe: str) -> list[str]:
        """The recipes that a recipe on a k-fold split stands for, one a fold; none otherwise."""
        cut = self.config["splits"].get(self.config["recipes"][recipe]["split"], {}).get("folds")
        return [f"{recipe}-{i + 1}" for i in range(cut["of"] if cut else 0)]

    @cached_property
    def recipes(self) -> dict[str, specs.Recipe]:
        """What is tuned: the study's recipes, a k-fold one as one of each fold."""
        made = {}
        for name, said in self.config["recipes"].items():
            recipe = _recipe(said)
            folds = self.folds(name)
            for i, fold in enumerate(folds):
                made[fold] = replace(recipe, split=part_name(recipe.split, "train", i))
            if not folds:
                made[name] = recipe
        return made

    def tuned(self, model: str) -> list[str]:
        """The fine-tunes of a model: its recipes, a k-fold one as one of each fold."""
        return [one for name in self.models[model]["recipes"] for one in self.folds(name) or [name]]

    def speaks(self, variant: str, split: str) -> bool:
        """Whether a variant answers a split: a k-fold recipe's models know of their own alone."""
        recipe = self.config["recipes"].get(variant)
        return recipe is None or not self.folds(variant) or bool(recipe["split"] == split)

    def variants(self, model: str) -> list[str]:
        """Variants of a model: base, then its recipes."""
        return [BASE, *self.models[model]["recipes"]]

    def reworded(self, model: str) -> list[str]:
        """The variants of a model, but k-fold ones, once more in each of its other wordings."""
        said = self.models[model]["wordings"]
        plain = [v for v in self.variants(model) if v == BASE or not self.folds(v)]
        return [specs.reworded(variant, wording) for wording in said for variant in plain]

    def runs(self) -> list[tuple[str, str, str]]:
        """All (model, variant, split), model by model."""
        return [
            (model, variant, split)
            for model in self.models
            for variant in [*self.variants(model), *self.reworded(model)]
            for split in self.splits
            if self.speaks(variant, split)
        ]

    def writing_runs(self) -> list[tuple[str, str, str]]:
        """The runs that write open-ended answers: language models on the splits asked."""
        return [
            (model, variant, split)
            for model in self.models
            if not self.is_baseline(model)
            for variant in self.variants(model)
            for split in self.config.get("generation", {}).get("splits", [])
            if self.speaks(variant, split)
        ]

    def judgements(self) -> list[tuple[str, str, str, str]]:
        """All (model, variant, split, judge)."""
        return [(*run, judge) for run in self.writing_runs() for judge in self.config["judges"]]

    def is_baseline(self, model: str) -> bool:
        """Whether a model is a rule that needs no language model."""
        return bool(self.model_config(model)["backend"] == "baseline")

    def is_toy(self, model: str) -> bool:
        """Whether a model's weights are made by the graph."""
        return "toy" in self.model_config(model)

    def model_config(self, model: str) -> dict[str, Any]:
        """Config of a model or of a judge's model."""
        return {**self.judge_models, **self.models}[model]

    def toys(self) -> list[str]:
        """Names of all models and judges whose weights the graph makes."""
        return [m for m in [*self.models, *self.config["judges"]] if self.is_toy(m)]


# What each stage depends on ------------------------------------------------------------------


def spec_simulate(study: Study) -> specs.Simulate:
    """Settings of the simulated survey."""
    return specs.from_dict(specs.Simulate, study.config["survey"]["simulate"])


def spec_clean(study: Study) -> specs.Clean:
    """Settings of reading the survey."""
    survey = study.config["survey"]
    chosen = survey["questions"]
    return specs.Clean(
        name=survey["name"],
        delimiter=survey["delimiter"],
        respondent=survey["respondent"],
        weight=survey.get("weight"),
        filter={k: tuple(map(str, v)) for k, v in survey["filter"].items()},
        missing=tuple(survey["missing"]),
        questions=None if chosen == "all" else tuple(chosen),
        exclude=tuple(survey["exclude"]),
        recode={q: {str(k): v for k, v in m.items()} for q, m in survey["recode"].items()},
        axes={k: v for k, v in study.axes.items() if k != specs.COUNTRY},
        caveat=study.survey_caveat,
        rename=survey["rename"],
        countries=_countries(survey),
    )


def spec_tally(study: Study, split: str) -> specs.Tally:
    """Settings of one split's tallies."""
    minimum = study.config["minimum"]["respondents"]
    return specs.Tally(study.splits[split], minimum, study.survey_caveat)


def spec_diversity(study: Study) -> specs.Diversity:
    """Settings of the conflict scores, over the strata of all splits."""
    strata = tuple(dict.fromkeys(s for split in study.splits.values() for s in split))
    least = study.config["minimum"]
    tally = specs.Tally(strata, least["respondents"], study.survey_caveat)
    return specs.Diversity(tally, least["answers"], _weighting(study), spec_evaluation(study))


def spec_ceiling(study: Study) -> specs.Ceiling:
    """Settings of the human ceilings."""
    return specs.Ceiling(
        splits={k: len(v) for k, v in study.splits.items()},
        draws=CEILING_DRAWS,
        evaluation=spec_evaluation(study),
        caveat=study.survey_caveat,
    )


def spec_pairs(study: Study, split: str, wording: str = "") -> specs.Pairs:
    """Settings of the pairs and prompts of one split, or of one part of a k-fold split.

    They are worded as the study says, or in another wording.
    """
    whole, part = study.parts.get(split, (split, None))
    questions, groups = study.selections(whole)
    return specs.Pairs(
        minimum=study.config["minimum"]["answers"],
        questions=questions,
        groups=groups,
        labels=_weighting(study),
        prompt=_prompt(study, wording),
        caveat=study.survey_caveat,
        fold=part or study.fold(whole),
    )


def spec_labels(study: Study) -> specs.Labels:
    """Settings of both readings of the labels."""
    return specs.Labels(_weighting(study), study.survey_caveat)


def spec_toy(study: Study, model: str) -> specs.MakeToy:
    """Settings of a toy's training."""
    toy = specs.from_dict(specs.Toy, study.model_config(model)["toy"])
    rubric = study.config["judges"].get(model, {}).get("rubric", "")
    return specs.MakeToy(toy, _prompt(study), rubric, _run_caveat(study, model))


def spec_finetune(study: Study, model: str, recipe: str) -> specs.Finetune:
    """Settings of one fine-tune. How the model will answer later is none of them."""
    weights = _model(study, model)
    return specs.Finetune(
        model=replace(weights, backend="transformers", batch_tokens=0, max_length=None),
        recipe=study.recipes[recipe],
        template=_prompt(study).template,
        caveat=_run_caveat(study, model),
    )


def spec_predict(study: Study, model: str, variant: str) -> specs.Predict:
    """Settings of one variant's structured answers."""
    return specs.Predict(
        model=_model(study, model),
        template=_prompt(study, specs.variant_parts(variant)[1]).template,
        max_new_tokens=study.config["prediction"]["max_new_tokens"],
        caveat=_run_caveat(study, model),
    )


def spec_pool(study: Study, model: str) -> specs.Pool:
    """Settings of putting a k-fold recipe's predictions together."""
    return specs.Pool(_run_caveat(study, model))


def spec_generate(study: Study, model: str) -> specs.Generate:
    """Settings of one model's open-ended answers."""
    said = study.config["generation"]
    return specs.Generate(
        model=_model(study, model),
        per_subgroup=said["per_subgroup"],
        max_new_tokens=said["max_new_tokens"],
        temperature=said["temperature"],
        seed=said["seed"],
        caveat=_run_caveat(study, model),
    )


def spec_judge(study: Study, judge: str) -> specs.Judge:
    """Settings of one judge."""
    said = study.config["judges"][judge]
    return specs.Judge(
        model=_model(study, judge),
        rubric=said["rubric"],
        max_new_tokens=said["max_new_tokens"],
        caveat=study.caveat,
    )


def spec_score(study: Study, model: str) -> specs.Score:
    """Settings of a run's scores."""
    return specs.Score(_run_caveat(study, model))


def spec_evaluation(study: Study) -> specs.Evaluation:
    """Settings of intervals and tests."""
    return specs.from_dict(specs.Evaluation, study.config["evaluation"])


def spec_fairness(study: Study, model: str, variant: str, split: str) -> specs.Fairness:
    """Settings of one run's fairness."""
    run = (model, variant, split)
    return specs.Fairness(run, spec_evaluation(study), _run_caveat(study, model))


def spec_summary(study: Study) -> specs.Summary:
    """Settings of the survey side's summary."""
    return specs.Summary(
        study=study.name,
        survey=study.config["survey"]["name"],
        country=study.config["survey"].get("country", ""),
        splits=tuple(study.splits),
        labels=_weighting(study),
        evaluation=spec_evaluation(study),
        caveat=study.survey_caveat,
    )


def spec_compare(study: Study) -> specs.Compare:
    """Settings of the comparison of all runs."""
    return specs.Compare(
        models={m: tuple(study.variants(m)) for m in study.models},
        wordings={m: tuple(study.reworded(m)) for m in study.models},
        baselines=tuple(m for m in study.models if study.is_baseline(m)),
        persona_agnostic=tuple(
            m for m, said in study.models.items() if said.get("rule") in PERSONA_AGNOSTIC
        ),
        splits={k: tuple(map(specs.stratum_id, v)) for k, v in study.splits.items()},
        judges=tuple(study.config["judges"]),
        judged_splits=tuple(study.config.get("generation", {}).get("splits", [])),
        evaluation=spec_evaluation(study),
        caveat=study.caveat,
        folded={k: v["split"] for k, v in study.config["recipes"].items() if study.folds(k)},
    )


def spec_report(study: Study) -> specs.Report:
    """Settings of tables, figures and report."""
    config = study.config
    return specs.Report(
        study=study.name,
        title=config["title"] or study.name,
        survey=config["survey"]["name"],
        caveat=study.caveat,
        axes={k: a.label for k, a in study.axes.items()},
        roles={k: v["role"] for k, v in config["splits"].items()},
        compare=spec_compare(study),
        reference={
            k: (v["reference"]["model"], v["reference"]["variant"])
            for k, v in config["judges"].items()
        },
        recipes={k: _recipe(v) for k, v in config["recipes"].items()},
        folds={k: tuple(study.folds(k)) for k in config["recipes"] if study.folds(k)},
        wordings=config["wordings"],
        toys=tuple(study.toys()),
    )


def part_name(split: str, role: str, fold: int) -> str:
    """Name of the train or test part of a k-fold split; folds count from 1 in names."""
    return f"{split}-{role}-{fold + 1}"


def _axis(name: str, said: Mapping[str, Any], least: int) -> specs.Axis:
    groups = said.get("groups")
    found = groups == FOUND
    return specs.Axis(
        column=said["column"],
        label=said["label"] or name.replace("_", " "),
        persona=said["persona"],
        groups={str(k): v for k, v in groups.items()} if groups and not found else None,
        bands=tuple(said["bands"]) if "bands" in said else None,
        otherwise=specs.from_dict(specs.Otherwise, said["otherwise"])
        if "otherwise" in said
        else None,
        found=least if found else None,
    )


def _country(survey: Mapping[str, Any]) -> specs.Axis:
    column = survey["country_columns"][0]
    return specs.Axis(column, specs.COUNTRY, "from {group}", found=1)


def _countries(survey: Mapping[str, Any]) -> specs.Countries | None:
    if "countries" not in survey:
        return None
    codes = tuple(map(str, survey["countries"]))
    return specs.Countries(codes, tuple(survey["country_columns"]))


def _weighting(study: Study) -> specs.Weighting:
    return specs.from_dict(specs.Weighting, study.config["labels"])


def _prompt(study: Study, wording: str = "") -> specs.Prompt:
    """The study's own wording, or another, which says only what it words otherwise."""
    own = {**study.config["prompt"], "order": "persona"}
    said = {**own, **(study.config["wordings"][wording] if wording else {})}
    return specs.Prompt(
        template=_template(said["template"]),
        country=study.config["survey"].get("country", ""),
        personas={name: axis.persona for name, axis in study.axes.items()},
        labels={name: axis.label for name, axis in study.axes.items()},
        persona=said["persona"],
        order=said["order"],
        options=said["options"],
    )


def _template(name: str) -> str:
    """A template's name with its file's hash: editing it reruns what it words, and nothing else."""
    path = provenance.SOURCE / provenance.PACKAGE / "prompting" / "templates" / f"{name}.yaml"
    return f"{name}@{provenance.file_digest(path)[:12]}"


def _model(study: Study, name: str) -> specs.Model:
    said = study.model_config(name)
    weights = f"{study.results}/models/{name}/base" if "toy" in said else said.get("weights")
    fields: dict[str, Any] = {f.name: said.get(f.name) for f in dataclasses.fields(specs.Model)}
    return specs.from_dict(specs.Model, {**fields, "weights": weights})


def _recipe(said: Mapping[str, Any]) -> specs.Recipe:
    targets = None if said["targets"] == ALL_LINEAR else said["targets"]
    return specs.from_dict(specs.Recipe, {**said, "targets": targets})


def _run_caveat(study: Study, model: str) -> str:
    said = [study.survey_caveat] if study.survey_caveat else []
    return ", ".join([*said, "toy model"] if study.is_toy(model) else said)


def axes_of(stratum: str) -> tuple[str, ...]:
    """The axes of a stratum as a study writes it: joined by ' x '."""
    return tuple(part.strip() for part in stratum.split(" x "))
