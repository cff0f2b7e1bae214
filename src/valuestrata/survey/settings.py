"""What reading a survey depends on."""

import re
from typing import Literal

from valuestrata.study.base import CODE, EMPTY, CodeMap, FrozenMap, Part
from valuestrata.study.study import Study
from valuestrata.study.survey import AUTO, MISSING, Axis, SelectAll, Survey


class ReadingSettings(Part):
    """What of a study decides how its survey file is read and cleaned.

    Attributes:
        delimiter: of a csv file, or `auto`.
        rename: name in the file -> name in the study.
        respondent: column with the respondent's id.
        weight: column with the survey weight; None for equal weights.
        blank_weight: whether a respondent without a weight is refused or dropped.
        filter: column -> values that are kept.
        missing: codes and texts that mean no answer.
        questions: the questions to use, in order; None for all of the codebook.
        exclude: questions to leave out.
        encoding: of the file's text, or `auto`.
        recode: column -> {from: to}; None is missing.
        select_all: batteries in which a blank cell means that an item was not ticked.
        axes: without labels and persona phrases, which no data depends on.
        countries: codes of the countries to keep; none where the study names its country.
        country_columns: columns that may hold these codes.
        min_subgroup_n: respondents that make a group of an axis with `groups: auto`; 0 if none has.
    """

    delimiter: str = AUTO
    encoding: str = AUTO
    rename: FrozenMap[str, str] = EMPTY
    respondent: str
    weight: str | None = None
    blank_weight: Literal["refuse", "drop"] = "refuse"
    filter: FrozenMap[str, tuple[str, ...]] = EMPTY
    missing: tuple[str | int, ...] = MISSING
    questions: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    recode: FrozenMap[str, CodeMap[str, int | None]] = EMPTY
    select_all: FrozenMap[str, SelectAll] = EMPTY
    axes: FrozenMap[str, Axis]
    countries: tuple[str, ...] = ()
    country_columns: tuple[str, ...] = ()
    min_subgroup_n: int = 0

    def recode_of(self, question: str) -> dict[int, int | None]:
        """Code -> new code of a question; texts of the file are left out."""
        recode = self.recode.get(question, {})
        return {int(code): new for code, new in recode.items() if re.fullmatch(CODE, code)}


def reading_settings(study: Study) -> dict[str, object]:
    """The fields of `ReadingSettings` by name, for it or a class derived from it."""
    survey = study.survey
    return {
        "delimiter": survey.delimiter,
        "encoding": survey.encoding,
        "rename": survey.rename,
        "respondent": survey.respondent,
        "weight": survey.weight,
        "blank_weight": survey.blank_weight,
        "filter": survey.filter,
        "missing": survey.missing,
        "questions": None if survey.questions == "all" else survey.questions,
        "exclude": survey.exclude,
        "recode": survey.recode,
        "select_all": survey.select_all,
        "axes": {name: axis.replace(**_NO_WORDING) for name, axis in survey.axes.items()},
        "countries": tuple(map(str, survey.countries or ())),
        "country_columns": (survey.country_columns or ()) if survey.countries else (),
        "min_subgroup_n": study.min_subgroup_n if _has_auto_axis(survey) else 0,
    }


_NO_WORDING = {name: Axis.model_fields[name].default for name in ("label", "persona")}


def _has_auto_axis(survey: Survey) -> bool:
    return any(axis.is_auto for axis in survey.axes.values())
