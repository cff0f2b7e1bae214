"""A study's columns in the survey file, and its questions in the codebook: what cannot be right.

It is imported where the graph is built, so it does without the libraries that read whole files.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from valuestrata.errors import InputError
from valuestrata.study.study import Study
from valuestrata.study.survey import Axis
from valuestrata.survey import codebook, missing
from valuestrata.survey.check_labels import label_problems
from valuestrata.survey.files import open_survey
from valuestrata.survey.settings import ReadingSettings, reading_settings
from valuestrata.survey.table import FileLabels, Headers, RawTable, ReadOptions

MAX_GUESSES = 20
"""Missing names that are shown with a name that is near."""


@dataclass(frozen=True)
class Columns:
    """Where a study's columns are in a file.

    positions: by the study's name of a column. axes: as the file can make them.
    """

    positions: dict[str, int]
    axes: dict[str, Axis]

    def labels(self, table: RawTable) -> FileLabels:
        """What the file says of each column; nothing where its format has no labels."""
        return {name: table.labels[p] for name, p in self.positions.items() if table.labels}


def check_columns(study: Study, root: Path) -> list[str]:
    """What codebook and survey file lack of a study, or contradict: a line each, none if nothing.

    Only headers and labels are read. A simulated survey has all columns; a file that does not exist
    is not looked at.

    Args:
        study: its parts are valid.
        root: folder that relative paths start from.
    """
    book_file = root / study.survey.codebook
    if not book_file.is_file():
        return []
    settings = ReadingSettings.model_validate(reading_settings(study))
    problems = []
    try:
        book, described = codebook.load(book_file), codebook.columns(book_file)
    except InputError as error:
        return [str(error)]
    absent = [name for name in named_questions(study) if name not in book]
    if absent:
        problems.append(
            f"survey.questions: {study.survey.codebook} has no {_list('question', absent, book)}; "
            "correct the names, or add the questions to the codebook"
        )
    names = [name for name in settings.questions or book if name in book]
    names = [name for name in names if name not in settings.exclude]
    asked = [book[name] for name in names]
    problems += missing.problems(asked, settings)
    file = root / study.survey_file
    if study.survey.simulate is None and file.is_file():
        options = read_options(settings, names, headers_only=True)
        try:
            with open_survey(file, options) as table:
                columns = find_columns(table, settings, names)
            labels = columns.labels(table)
            for problem in label_problems(labels, asked, columns.axes, described, settings):
                problems.append(f"survey.file: {study.survey_file}: {problem}")
        except InputError as error:
            problems.append(f"survey.file: {error}".replace(str(file), study.survey_file, 1))
    return problems


def named_questions(study: Study) -> list[str]:
    """The questions that a study names, once each: chosen, left out, recoded, or in a split."""
    survey = study.survey
    names = [*(() if survey.questions == "all" else survey.questions), *survey.exclude]
    axes = [part for axis in survey.axes.values() for part in (axis, axis.fallback) if part]
    names += [column for column in survey.recode if column not in {axis.column for axis in axes}]
    names += [item for battery in survey.select_all.values() for item in battery.questions]
    for split in study.splits:
        selection, _ = study.selections(split)
        names += [*(selection.only or ()), *selection.without]
    return list(dict.fromkeys(names))


def read_options(
    settings: ReadingSettings, questions: Sequence[str], headers_only: bool = False
) -> ReadOptions:
    """How to open a study's survey file: with every column in mind that it may be read for."""
    axes = settings.axes.values()
    fallbacks = [axis.fallback.column for axis in axes if axis.fallback]
    names = [*_plain_columns(settings, questions), *(axis.column for axis in axes), *fallbacks]
    names += settings.country_columns
    wanted = dict.fromkeys(alias for name in names for alias in _aliases(name, settings))
    return ReadOptions(settings.delimiter, tuple(wanted), headers_only, settings.encoding)


def find_columns(table: RawTable, settings: ReadingSettings, questions: Sequence[str]) -> Columns:
    """Find every column that a study needs.

    An axis without its column is made of its fallback; one of the country columns is enough.

    Raises:
        InputError: one line that names all missing columns, and columns with nearly their names,
            or all columns that stand twice.
    """
    finder = _Finder(table, settings)
    positions = finder.positions(_plain_columns(settings, questions))
    missing = [name for name in _plain_columns(settings, questions) if name not in positions]
    axes, lost = {}, []
    for name, axis in settings.axes.items():
        made = finder.axis(axis)
        if made is None:
            lost.append(name)
            columns = [axis.column, *([axis.fallback.column] if axis.fallback else [])]
            missing.append(f"{' or '.join(columns)} of axis {name}")
        else:
            axes[name] = made
            positions |= finder.positions([made.column])
    countries = finder.positions(settings.country_columns)
    if settings.country_columns and not countries:
        missing.append(f"{' or '.join(settings.country_columns)} of survey.countries")
    if finder.ambiguous:
        raise InputError(f"{table.label}: {'; '.join(finder.ambiguous.values())}")
    if missing:
        shown = _list("column", missing, finder.headers.names())
        remedy = _remedy(table, lost, bool(positions or countries))
        raise InputError(f"{table.label}: no {shown}; {remedy}")
    return Columns(positions | countries, axes)


def _plain_columns(settings: ReadingSettings, questions: Sequence[str]) -> list[str]:
    """Columns without which nothing can be read: respondent, weight, filter, questions."""
    weight = [settings.weight] if settings.weight else []
    return list(dict.fromkeys([settings.respondent, *weight, *settings.filter, *questions]))


def _aliases(name: str, settings: ReadingSettings) -> list[str]:
    """What a column may be called in the file, the likeliest first."""
    return [*(old for old, new in settings.rename.items() if new == name), name]


class _Finder:
    """Finds columns by any of their names."""

    def __init__(self, table: RawTable, settings: ReadingSettings) -> None:
        self.headers, self.settings = Headers(table.headers), settings
        self.ambiguous: dict[str, str] = {}

    def positions(self, names: Iterable[str]) -> dict[str, int]:
        """Positions of those of the columns that there are."""
        return dict(self._found(names))

    def _found(self, names: Iterable[str]) -> Iterator[tuple[str, int]]:
        for name in names:
            hits = (self.headers.find(alias) for alias in _aliases(name, self.settings))
            try:
                position = next((hit for hit in hits if hit is not None), None)
            except InputError as error:
                self.ambiguous[name] = str(error)
                position = 0  # of no use: `find_columns` refuses the file
            if position is not None:
                yield name, position

    def axis(self, axis: Axis) -> Axis | None:
        """The axis, or what it falls back to; None where the file has neither column."""
        if self.positions([axis.column]):
            return axis
        other = axis.fallback
        if other and self.positions([other.column]):
            numbers = {name: getattr(other, name) for name in type(other).model_fields}
            return axis.replace(**numbers, groups=None, fallback=None)
        return None


def _list(noun: str, names: Sequence[str], near: Iterable[str]) -> str:
    """Missing names in one line, each with the one most like it: `columns Q2a (is it Q2?), X`.

    Where very many are missing they are of another kind, and likeness is chance.
    """
    existing = {name.casefold(): name for name in reversed(list(near))}
    guesses = existing if len(names) <= MAX_GUESSES else {}
    shown = []
    for name in names:
        close = get_close_matches(name.split(" ")[0].casefold(), list(guesses), n=1, cutoff=0.7)
        shown.append(f"{name} (is it {guesses[close[0]]}?)" if close else name)
    return f"{noun}{'s' if len(names) > 1 else ''} {', '.join(shown)}"


def _remedy(table: RawTable, axes: Sequence[str], has_any: bool) -> str:
    if len(table.headers) == 1:
        return "is survey.delimiter right?"
    if not has_any:  # the first line may be a respondent's, so it is not shown
        return (
            f"none of the study's columns is among its {len(table.headers)}: is it the right file, "
            "with names in the first line?"
        )
    remedy = "check the study's column names, or map them by survey.rename"
    if axes:
        leave_out = ", ".join(f"survey.axes.{name}: null" for name in axes)
        remedy += f"; an axis is left out by {leave_out}"
    return remedy
