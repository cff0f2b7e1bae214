"""The rows and columns of a survey file that a study uses, as text.

Only the needed columns are read, in slices, and rows of other countries are dropped as they come,
so a cross-national file never stands in memory whole.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from valuestrata.errors import InputError
from valuestrata.study.survey import Axis
from valuestrata.survey import columns
from valuestrata.survey.cells import plain_cells, text_cells
from valuestrata.survey.columns import Columns
from valuestrata.survey.files import open_survey
from valuestrata.survey.settings import ReadingSettings
from valuestrata.survey.table import FileLabels
from valuestrata.survey.weights import relative_weights


class Rows(NamedTuple):
    """Respondents as a file has them.

    raw: one row a respondent, the needed columns as text. weight: of each, with mean 1. axes: as
    the file can make them. labels: what the file says of its columns. notices: what is doubtful.
    """

    raw: pd.DataFrame
    weight: pd.Series
    axes: dict[str, Axis]
    labels: FileLabels
    notices: list[str]


def read_rows(path: Path, settings: ReadingSettings, questions: list[str]) -> Rows:
    """The respondents of the study's filter and countries that have a weight."""
    with open_survey(path, columns.read_options(settings, questions)) as table:
        needed: Columns = columns.find_columns(table, settings, questions)
        positions = list(dict.fromkeys(needed.positions.values()))
        other_countries: set[str] = set()
        unseen = {column: set(values) for column, values in settings.filter.items()}
        parts = [
            _kept_rows(part, needed.positions, settings, other_countries, unseen)
            for part in table.slices(positions)
        ]
        labels = needed.labels(table)
    raw = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    _check_countries(raw, other_countries, settings, path)
    absent = [
        f"survey.filter.{column}: no row has {', '.join(map(repr, sorted(values)))}"
        for column, values in unseen.items()
        if values
    ]
    if raw.empty:
        shown = dict(settings.filter) or ""
        which = "; ".join([f"no row is left after survey.filter {shown}".rstrip(), *absent])
        raise InputError(f"{path}: {which}")
    raw, weight, notices = _weighed(raw, settings, path)
    _check_countries(raw, other_countries, settings, path)
    return Rows(raw, weight, needed.axes, labels, [*table.notices, *absent, *notices])


def _weighed(
    raw: pd.DataFrame, settings: ReadingSettings, path: Path
) -> tuple[pd.DataFrame, pd.Series, list[str]]:
    """The respondents that have a weight, their weights, and how many have none."""
    if settings.weight is None:
        return raw, pd.Series(1.0, index=raw.index), []
    cells = plain_cells(raw[settings.weight])
    where = f"{path}: column {settings.weight}"
    weight, notices = relative_weights(cells, settings.blank_weight, where)
    kept = raw.loc[weight.index].reset_index(drop=True)
    return kept, weight.reset_index(drop=True), notices


def _kept_rows(
    part: pd.DataFrame,
    positions: Mapping[str, int],
    settings: ReadingSettings,
    other_countries: set[str],
    unseen: Mapping[str, set[str]],
) -> pd.DataFrame:
    """The rows of the filter and the countries, as text.

    Collects the countries that there are, and takes the filter's values that there are out of
    `unseen`.
    """
    keep = pd.Series(True, index=part.index)
    for name, values in settings.filter.items():
        plain = plain_cells(text_cells(part[positions[name]]))
        unseen[name].difference_update(plain.unique())
        keep &= plain.isin(list(values))
    if settings.countries:
        chosen = pd.Series(False, index=part.index)
        for name in (column for column in settings.country_columns if column in positions):
            codes = plain_cells(text_cells(part[positions[name]]))
            chosen |= codes.isin(list(settings.countries))
            other_countries |= set(codes.unique())
        keep &= chosen
    rows = part[keep]
    return pd.DataFrame({name: text_cells(rows[position]) for name, position in positions.items()})


def _check_countries(
    raw: pd.DataFrame, others: set[str], settings: ReadingSettings, path: Path
) -> None:
    """Refuse a country that the file does not have."""
    here = [column for column in settings.country_columns if column in raw]
    present = {code for column in here for code in plain_cells(raw[column]).unique()}
    for code in settings.countries:
        if code not in present:
            existing = sorted(present | others)
            raise InputError(
                f"{path}: survey.countries: no row of country {code!r} in column "
                f"{' or '.join(settings.country_columns)}; there are {', '.join(existing[:80])}"
            )
