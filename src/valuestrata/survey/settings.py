"""What reading a survey depends on."""

from valuestrata.study.base import EMPTY, CodeMap, FrozenMap, Part
from valuestrata.study.study import Study
from valuestrata.study.survey import AUTO, MISSING, Axis, Survey


class ReadingSettings(Part):
    """What of a study decides how its survey file is read and cleaned.

    Attributes:
        delimiter: of a csv file, or `auto`.
        rename: name in the file -> name in the study.
        respondent: column with the respondent's id.
        weight: column with the survey weight; None for equal weights.
        filter: column -> values that are kept.
        missing: codes and texts that mean no answer.
        questions: the questions to use, in order; None for all of the codebook.
        exclude: questions to leave out.
        recode: question -> {from: to}; None is missing.
        axes: without labels and persona phrases, which no data depends on.
        countries: codes of the countries to keep; none where the study names its country.
        country_columns: columns that may hold these codes.
        min_subgroup_n: respondents that make a group of an axis with `groups: auto`; 0 if none has.
    """

    delimiter: str = AUTO
    rename: FrozenMap[str, str] = EMPTY
    respondent: str
    weight: str | None = None
    filter: FrozenMap[str, tuple[str, ...]] = EMPTY
    missing: tuple[str | int, ...] = MISSING
    questions: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    recode: FrozenMap[str, CodeMap[str, int | None]] = EMPTY
    axes: FrozenMap[str, Axis]
    countries: tuple[str, ...] = ()
    country_columns: tuple[str, ...] = ()
    min_subgroup_n: int = 0

    def recode_of(self, question: str) -> dict[int, int | None]:
        """Code -> new code of a question."""
        return {int(code): new for code, new in self.recode.get(question, {}).items()}


def reading_settings(study: Study) -> dict[str, object]:
    """The fields of `ReadingSettings` by name, for it or a class derived from it."""
    survey = study.survey
    return {
        "delimiter": survey.delimiter,
        "rename": survey.rename,
        "respondent": survey.respondent,
        "weight": survey.weight,
        "filter": survey.filter,
        "missing": survey.missing,
        "questions": None if survey.questions == "all" else survey.questions,
        "exclude": survey.exclude,
        "recode": survey.recode,
        "axes": {name: axis.replace(**_NO_WORDING) for name, axis in survey.axes.items()},
        "countries": tuple(map(str, survey.countries or ())),
        "country_columns": (survey.country_columns or ()) if survey.countries else (),
        "min_subgroup_n": study.min_subgroup_n if _has_auto_axis(survey) else 0,
    }


_NO_WORDING = {name: Axis.model_fields[name].default for name in ("label", "persona")}


def _has_auto_axis(survey: Survey) -> bool:
    return any(axis.is_auto for axis in survey.axes.values())
