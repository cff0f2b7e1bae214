"""The groups of each axis as a survey has them: listed in the study, or taken from the data.

`clean` writes them down once, and every stage that needs an axis' groups reads them from there.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from valuestrata import io
from valuestrata.prompting.settings import PromptSettings
from valuestrata.study.base import EMPTY, FrozenMap, Part
from valuestrata.study.splits import COUNTRY, stratum_id

log = logging.getLogger(__name__)

BLANK = ("", "NA", "NaN", "nan", ".")


class Group(Part):
    """A group: its label, the codes that mean it (none of a band), its respondents."""

    label: str
    codes: tuple[str, ...]
    n: int


class Groups(Part):
    """The groups of each axis, in order.

    countries: names of the countries that were taken out of a cross-national file; none where the
    study itself names its country. With several, COUNTRY is the first axis.
    left_out: axes that a country lacks, by country, where there are several.
    """

    countries: tuple[str, ...]
    axes: FrozenMap[str, tuple[Group, ...]]
    left_out: FrozenMap[str, tuple[str, ...]] = EMPTY

    def labels(self) -> dict[str, tuple[str, ...]]:
        """Axis -> labels."""
        return {axis: tuple(g.label for g in groups) for axis, groups in self.axes.items()}

    def sizes(self) -> dict[str, dict[str, int]]:
        """Axis -> label -> respondents."""
        return {axis: {g.label: g.n for g in groups} for axis, groups in self.axes.items()}

    def persona_phrase(
        self, prompt: PromptSettings, groups: Mapping[str, str]
    ) -> tuple[PromptSettings, dict[str, str]]:
        """Wording and traits of a subgroup's persona, who lives in the subgroup's country.

        The country is no trait besides, unless there is nothing else to say of the subgroup.
        """
        if not self.countries:
            return prompt, dict(groups)
        traits = {axis: group for axis, group in groups.items() if axis != COUNTRY}
        country = groups.get(COUNTRY, self.countries[0])
        return prompt.replace(country=country), traits or dict(groups)

    def compared(
        self, strata: Sequence[tuple[str, ...]]
    ) -> list[tuple[str, tuple[str, ...], dict[str, tuple[str, ...]]]]:
        """Name, axes and groups of each set of subgroups to compare with each other.

        A stratum, or one of each country where the stratum lies within countries: people of two
        countries differ for more reasons than the axes.
        """
        labels = self.labels()
        sets = []
        for axes in strata:
            if COUNTRY in axes and len(axes) > 1:
                rest = stratum_id(tuple(axis for axis in axes if axis != COUNTRY))
                sets += [
                    (f"{country}: {rest}", axes, {**labels, COUNTRY: (country,)})
                    for country in labels[COUNTRY]
                ]
            else:
                sets.append((stratum_id(axes), axes, labels))
        return sets


def read_groups(path: Path | str) -> Groups:
    """Read the groups that `clean` wrote."""
    return Groups.model_validate(io.read_json(path))


def auto_groups(
    cells: pd.Series,
    min_n: int,
    labels: Sequence[Mapping[str, str]],
    country: pd.Series | None = None,
) -> dict[str, str]:
    """Code -> label of each code that `min_n` respondents of a country have, in order of code.

    Args:
        cells: [N] codes as text, blank for no answer; so is `NA`, unless it has a label.
        min_n: respondents.
        labels: labels by code, the first that has the code counts.
        country: [N], where there are several: each has ethnic groups of its own.
    """
    valid = cells[~cells.isin([blank for blank in BLANK if not _is_labelled(blank, labels)])]
    within = [valid] if country is None else [part for _, part in valid.groupby(country)]
    sizes = [part.value_counts() for part in within]
    codes = {str(code) for size in sizes for code in size[size >= min_n].index}
    return {code: label_of(code, labels, str(cells.name)) for code in sorted(codes, key=_order)}


def auto_notices(
    axis: str, cells: pd.Series, listed: Mapping[str, str], labels: Sequence[Mapping[str, str]]
) -> list[str]:
    """Lines for groups that are called by their code, and for `NA`, which may be a code, too.

    Args:
        axis: its name.
        cells: [N] codes as text.
        listed: code -> label, of `auto_groups`.
        labels: labels by code.
    """
    notices = []
    remedy = f"under columns: {cells.name} in the codebook"
    bare = [code for code in listed if _order(code)[0] == 0 and not _is_labelled(code, labels)]
    if bare:
        notices.append(
            f"axis {axis}: codes without a label stand for themselves, in prompts as well: "
            f"{', '.join(bare)}; label them {remedy}"
        )
    n = int((cells == "NA").sum())
    words = cells[~cells.isin(BLANK)].str.fullmatch(r"[A-Za-z].*")
    if n and words.any() and not _is_labelled("NA", labels):
        notices.append(
            f"axis {axis}: {n} cells hold NA, which is read as no answer; if it is a code, label "
            f"it {remedy}"
        )
    return notices


def _is_labelled(code: str, labels: Sequence[Mapping[str, str]]) -> bool:
    return any(names.get(code) for names in labels)


def label_of(code: str, labels: Sequence[Mapping[str, str]], column: str) -> str:
    """What a code means; the code itself, with a warning, where it has no label."""
    label = next((names[code] for names in labels if names.get(code)), "")
    if not label and _order(code)[0] == 0:
        log.warning("column %s: code %s has no label; the code is used instead", column, code)
    return _tidy(label or code)


def _tidy(text: str) -> str:
    """A label that can be part of a subgroup's name, without a country's mark (SG: Chinese)."""
    plain = re.sub(r"^[A-Z]{2,3}: ", "", " ".join(text.split()))
    return plain.replace(" & ", " and ").replace("=", "-")


def _order(code: str) -> tuple[int, int, str]:
    """Numbers by size, then texts."""
    return (0, int(code), "") if re.fullmatch(r"-?\d+", code) else (1, 0, code)


def count_groups(labels: Mapping[str, str] | Sequence[str], cells: pd.Series) -> tuple[Group, ...]:
    """The groups of an axis with their respondents.

    Args:
        labels: code -> label, where several codes may share one; or labels without codes.
        cells: [N] label of each respondent.
    """
    sizes = cells.value_counts().to_dict()
    codes: dict[str, tuple[str, ...]] = {}
    if isinstance(labels, Mapping):
        for code, name in labels.items():
            codes[name] = (*codes.get(name, ()), code)
    else:
        codes = dict.fromkeys(labels, ())
    return tuple(
        Group(label=name, codes=meaning, n=int(sizes.get(name, 0)))
        for name, meaning in codes.items()
    )
