"""The study: one typed, frozen config, and what follows from it."""

import json
import os
from functools import cached_property
from typing import Any

from pydantic import Field

from valuestrata.study.base import EMPTY, FilledMap, FrozenMap, Name, Part, RecipeName
from valuestrata.study.budget import Budget
from valuestrata.study.evaluation import Contrasts, Evaluation, Labels
from valuestrata.study.judges import Generation, Judge, Prediction
from valuestrata.study.models import BaselineModel, LocalModel, Model, OpenAIModel
from valuestrata.study.people import People, SimulatedAnnotators
from valuestrata.study.prompts import Prompt, PromptVariant
from valuestrata.study.recipes import AnyRecipe
from valuestrata.study.sensitivity import Sensitivity
from valuestrata.study.splits import COUNTRY, Fold, Selection, Split, axes_of
from valuestrata.study.survey import Axis, Survey

SURVEY_VARIABLE = "VALUESTRATA_SURVEY"
"""Environment variable that names the survey's file in place of the study."""
BASE = "base"
"""The variant of an untuned model."""

Run = tuple[str, str, str]
"""(model, variant, split)"""


def part_name(split: str, role: str, fold: int) -> str:
    """Name of the train or test part of a k-fold split; folds count from 1 in names."""
    return f"{split}-{role}-{fold + 1}"


def variant_name(variant: str, prompt_variant: str) -> str:
    """Name of a variant that is asked in a prompt variant; no recipe's name has a plus."""
    return f"{variant}+{prompt_variant}" if prompt_variant else variant


def variant_parts(variant: str) -> tuple[str, str]:
    """The variant itself and its prompt variant, '' for the study's own prompt."""
    plain, _, prompt_variant = variant.partition("+")
    return plain, prompt_variant


class Study(Part):
    """One study = one config: a survey, its axes, splits, models, recipes, judges."""

    study: Name = Field(description="Name of the study; its results go to results/<study>/.")
    title: str = Field(
        default="", description="One line at the head of the report; the name by default."
    )
    survey: Survey = Field(description="Where the answers come from and how they are read.")
    min_subgroup_n: int = Field(
        default=30, ge=1, description="Fewest respondents (unweighted) that make a subgroup."
    )
    min_pair_n: int = Field(
        default=30,
        ge=1,
        description="Fewest valid answers (unweighted) that make a (subgroup, question) pair.",
    )
    labels: Labels = Field(
        default=Labels(),
        description="How a subgroup's answers become what models are scored against.",
    )
    splits: FilledMap[Name, Split] = Field(
        description="Named sets of strata. Models are tuned on train splits, tested on test splits."
    )
    prompt: Prompt = Field(
        default=Prompt(),
        description="The study's own wording: models are tuned, write and are judged in it.",
    )
    prompt_variants: FrozenMap[Name, PromptVariant] = Field(
        default=EMPTY,
        description=(
            "Other wordings, in which language models answer the questionnaire once more; NAME "
            "makes the variants base+NAME and RECIPE+NAME. Each gives only what differs from "
            "`prompt`."
        ),
    )
    models: FilledMap[Name, Model] = Field(description="The models and baselines compared.")
    recipes: FrozenMap[RecipeName, AnyRecipe] = Field(
        default=EMPTY, description="Ways of fine-tuning; a recipe's name is the variant it makes."
    )
    one_load: bool = Field(
        default=False,
        description=(
            "Whether each local model, each of its adapters and each judge is loaded once for all "
            "that it is asked, by one job, and not once for each table. Tables are the same."
        ),
    )
    prediction: Prediction = Field(
        default=Prediction(), description="The structured questionnaire."
    )
    generation: Generation | None = Field(
        default=None, description="Open-ended answers; left out, none are written."
    )
    judges: FrozenMap[Name, Judge] = Field(
        default=EMPTY,
        description="Models that compare open-ended answers with a reference's, in both orders.",
    )
    people: People | None = Field(
        default=None,
        description=(
            "Who annotated judged text pairs, to compare judges with; left out, the report takes "
            "what `valuestrata agreement` wrote, if anything."
        ),
    )
    evaluation: Evaluation = Field(default=Evaluation(), description="Intervals and tests.")
    budget: Budget | None = Field(
        default=None,
        description=(
            "Most that all jobs together may spend on services; no job starts a call that could "
            "pass it. By default there is no limit."
        ),
    )
    contrasts: Contrasts = Field(
        default=Contrasts(), description="Which groups of an axis are compared with which."
    )
    sensitivity: Sensitivity | None = Field(
        default=None,
        description=(
            "How far answers hang on the prompt, and probes for contamination; left out, nothing "
            "is asked."
        ),
    )

    def to_json(self) -> str:
        """The study with every default filled in, as JSON that `from_json` reads."""
        return json.dumps(dump(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Study":
        """The inverse of `to_json`."""
        return cls.model_validate(json.loads(text))

    # the survey side -------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the study and of its results folder."""
        return self.study

    @property
    def results(self) -> str:
        """Where the study's artefacts go, relative to the repository."""
        return f"results/{self.study}"

    @property
    def survey_caveat(self) -> str:
        """The caveat of artefacts that no model took part in."""
        return "simulated survey" if self.survey.simulate else ""

    @cached_property
    def caveat(self) -> str:
        """What every artefact says about toy models and simulated data; '' if neither."""
        parts = [self.survey_caveat, "toy models" if self.toys() else ""]
        return ", ".join(filter(None, parts))

    def run_caveat(self, model: str) -> str:
        """The caveat of what one model, or one judge's model, made."""
        parts = [self.survey_caveat, "toy model" if self.is_toy(model) else ""]
        return ", ".join(filter(None, parts))

    @property
    def survey_file(self) -> str:
        """The survey's file; a simulated one is made by the graph. '' where none is named."""
        if self.survey.simulate:
            return f"{self.results}/survey/simulated.csv"
        return os.environ.get(SURVEY_VARIABLE) or self.survey.file or ""

    @property
    def several_countries(self) -> bool:
        """Whether the study is of more than one country."""
        return len(self.survey.countries or ()) > 1

    @cached_property
    def axes(self) -> dict[str, Axis]:
        """The axes in the study's order; the country comes first where there are several."""
        if not self.several_countries or not self.survey.country_columns:
            return self.survey.axes
        column = self.survey.country_columns[0]
        country = Axis(column=column, label=COUNTRY, persona="from {group}", groups="auto")
        return {COUNTRY: country, **self.survey.axes}

    def axis_label(self, name: str) -> str:
        """What tables and figures call an axis."""
        return self.axes[name].label or name.replace("_", " ")

    @property
    def ordered_axes(self) -> tuple[str, ...]:
        """The axes whose groups have an order."""
        named = self.contrasts.ordered_axes
        return tuple(a for a in self.axes if self.axes[a].is_ordered) if named is None else named

    # splits ----------------------------------------------------------------------------------

    @cached_property
    def split_strata(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        """Strata (tuples of axes) of each split; with several countries all lie within one."""
        return {
            name: tuple(self._within_country(axes_of(stratum)) for stratum in split.strata)
            for name, split in self.splits.items()
        }

    def strata(self, split: str) -> tuple[tuple[str, ...], ...]:
        """Strata (tuples of axes) of a split."""
        return self.split_strata[split]

    def _within_country(self, axes: tuple[str, ...]) -> tuple[str, ...]:
        rest = tuple(axis for axis in axes if axis != COUNTRY)
        return (COUNTRY, *rest) if self.several_countries else axes

    def selections(self, split: str) -> tuple[Selection, dict[str, Selection]]:
        """Which questions, and which groups of each axis, a split keeps."""
        return self.splits[split].questions or Selection(), self.splits[split].groups

    def fold(self, split: str) -> Fold | None:
        """The part of its pairs, questions or subgroups that a split keeps; None for all."""
        return self.splits[split].fold

    @cached_property
    def parts(self) -> dict[str, tuple[str, Fold]]:
        """Parts of the k-fold splits by name: the whole split, and what of it is kept."""
        parts = {}
        for name, split in self.splits.items():
            division = dump(split.folds) if split.folds else {"of": 0}
            for i in range(division["of"]):
                parts[part_name(name, "test", i)] = (name, Fold(**division, only=(i,)))
                parts[part_name(name, "train", i)] = (name, Fold(**division, without=(i,)))
        return parts

    # recipes and variants --------------------------------------------------------------------

    def fold_recipes(self, recipe: str) -> list[str]:
        """The recipes that a recipe on a k-fold split stands for, one a fold; none otherwise."""
        split = self.splits.get(self.recipes[recipe].split)
        return [f"{recipe}-{i + 1}" for i in range(split.folds.of if split and split.folds else 0)]

    @cached_property
    def tuned_recipes(self) -> dict[str, AnyRecipe]:
        """What is tuned, by name: the study's recipes, a k-fold one as one of each fold."""
        tuned: dict[str, AnyRecipe] = {}
        for name, recipe in self.recipes.items():
            folds = self.fold_recipes(name)
            for i, fold in enumerate(folds):
                tuned[fold] = recipe.replace(split=part_name(recipe.split, "train", i))
            if not folds:
                tuned[name] = recipe
        return tuned

    def model_recipes(self, model: str) -> list[str]:
        """Names of the recipes of a model: those it lists, else all; none if it is not local."""
        config = self.model(model)
        if not isinstance(config, LocalModel):
            return []
        return list(self.recipes if config.recipes is None else config.recipes)

    def model_prompt_variants(self, model: str) -> list[str]:
        """Names of the prompt variants of a model: those it lists, else all; none of a baseline."""
        config = self.model(model)
        if isinstance(config, BaselineModel):
            return []
        names = config.prompt_variants
        return list(self.prompt_variants if names is None else names)

    def fine_tunes(self, model: str) -> list[str]:
        """The fine-tunes of a model: its recipes, a k-fold one as one of each fold."""
        recipes = self.model_recipes(model)
        return [tune for name in recipes for tune in self.fold_recipes(name) or [name]]

    def evaluates_on(self, variant: str, split: str) -> bool:
        """Whether a variant answers a split: a k-fold recipe answers its own alone."""
        recipe = self.recipes.get(variant)
        return recipe is None or not self.fold_recipes(variant) or recipe.split == split

    def variants(self, model: str) -> list[str]:
        """Variants of a model: base, then its recipes."""
        return [BASE, *self.model_recipes(model)]

    def prompt_variant_runs(self, model: str) -> list[str]:
        """The variants of a model, but k-fold ones, in each of its prompt variants."""
        plain = [v for v in self.variants(model) if v == BASE or not self.fold_recipes(v)]
        names = self.model_prompt_variants(model)
        return [variant_name(variant, name) for name in names for variant in plain]

    # runs ------------------------------------------------------------------------------------

    def runs(self) -> list[Run]:
        """All (model, variant, split), model by model."""
        return [
            (model, variant, split)
            for model in self.models
            for variant in [*self.variants(model), *self.prompt_variant_runs(model)]
            for split in self.splits
            if self.evaluates_on(variant, split)
        ]

    def generation_runs(self) -> list[Run]:
        """The runs that write open-ended answers: language models on the splits asked."""
        return [
            (model, variant, split)
            for model in self.models
            if not self.is_baseline(model)
            for variant in self.variants(model)
            for split in (self.generation.splits if self.generation else ())
            if self.evaluates_on(variant, split)
        ]

    def splits_with_texts(self) -> list[str]:
        """The splits on which a run writes open-ended answers."""
        return list(dict.fromkeys(split for *_, split in self.generation_runs()))

    def judgements(self) -> list[tuple[str, str, str, str]]:
        """All (model, variant, split, judge)."""
        return [(*run, judge) for run in self.generation_runs() for judge in self.judges]

    @property
    def annotator_files(self) -> tuple[str, ...]:
        """csv files of the people who annotated judged text pairs."""
        return self.people.files if self.people else ()

    @property
    def simulated_annotators(self) -> SimulatedAnnotators | None:
        """The script in the place of people, where a judge compares texts of toys; else None."""
        of_toys = any(self.is_toy(model) for model, *_ in self.judgements())
        return self.people.simulate if self.people and of_toys else None

    @property
    def annotated_judge(self) -> str:
        """The judge whose text pairs the script annotates; '' where there is no script."""
        simulated = self.simulated_annotators
        return (simulated.judge or next(iter(self.judges))) if simulated else ""

    # models ----------------------------------------------------------------------------------

    @cached_property
    def judge_models(self) -> dict[str, Model]:
        """The judges' models by the judge's name; a panel has none."""
        return {name: judge.model for name, judge in self.judges.items() if judge.model}

    def panel(self, judge: str) -> tuple[str, ...]:
        """The judges of a panel; none where a model judges."""
        panel = self.judges[judge].panel
        return panel.judges if panel else ()

    def rubric(self, judge: str) -> str:
        """The rubric of a judge; a panel has its judges'."""
        return self.judges[next(iter(self.panel(judge)), judge)].rubric

    def probed_judges(self) -> list[str]:
        """The judges that the graph tries on texts made for it."""
        return [name for name in self.judge_models if self.judges[name].probes]

    def local_models(self) -> dict[str, LocalModel]:
        """Models and judges' models whose weights are here, by where the study says them."""
        return {k: model for k, model in self._places().items() if isinstance(model, LocalModel)}

    def service_models(self) -> dict[str, OpenAIModel]:
        """Models and judges' models at a service, by where the study says them."""
        return {k: model for k, model in self._places().items() if isinstance(model, OpenAIModel)}

    def _places(self) -> dict[str, Model]:
        places = {f"models.{name}": model for name, model in self.models.items()}
        return places | {f"judges.{name}.model": model for name, model in self.judge_models.items()}

    def model(self, name: str) -> Model:
        """A model, or a judge's model, by name."""
        return self.models[name] if name in self.models else self.judge_models[name]

    def is_baseline(self, name: str) -> bool:
        """Whether a model is a rule that needs no language model."""
        return isinstance(self.model(name), BaselineModel)

    def is_service(self, name: str) -> bool:
        """Whether a model is asked at a service, which may cost money; a panel of judges is not."""
        return isinstance({**self.judge_models, **self.models}.get(name), OpenAIModel)

    def is_toy(self, name: str) -> bool:
        """Whether a model's weights are made by the graph."""
        model = self.model(name)
        return isinstance(model, LocalModel) and model.toy is not None

    def toys(self) -> list[str]:
        """Names of all models and judges whose weights the graph makes."""
        return [name for name in [*self.models, *self.judge_models] if self.is_toy(name)]


def dump(part: Part) -> dict[str, Any]:
    """A part with every default filled in, as plain data for JSON, in the study's order."""
    return part.model_dump(mode="json")
