"""What the real file of the paper's study yields, for users to check their copy by.

Computed twice, independently, from the csv of release 6.0; that of release 5.1, whose headers carry
labels, gives the same in every cell (docs/reference.md). Only counts: no respondent's answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from valuestrata.study.study import Study
from valuestrata.survey.settings import reading_settings

if TYPE_CHECKING:
    from valuestrata.survey.encoded import EncodedSurvey
    from valuestrata.survey.groups import Groups

COUNTRY_CODES = {"SGP", "702"}
RELEASES = "the csv files of releases 5.1 and 6.0"
NAMES_OF_COLUMNS = ("delimiter", "rename", "respondent", "weight")
"""Settings of reading that no count depends on."""


@dataclass(frozen=True)
class Counts:
    """Respondents, and (subgroups, pairs) by split."""

    respondents: int
    splits: Mapping[str, tuple[int, int]] = field(default_factory=dict)


WVS7_SINGAPORE = Counts(2012, {"train": (50, 10_700), "ood": (48, 10_177)})


def is_singapore(study: Study) -> bool:
    """Whether a study is of the Singapore file of World Values Survey wave 7, and of it alone."""
    codes = {str(code) for code in study.survey.countries or ()}
    for column in ("B_COUNTRY_ALPHA", "B_COUNTRY"):
        codes |= set(study.survey.filter.get(column, ()))
    is_wave_7 = study.survey.codebook.endswith("wvs7.yaml")
    return is_wave_7 and bool(codes) and codes <= COUNTRY_CODES and not study.survey.simulate


def same_design(study: Study, papers: Study) -> bool:
    """Whether a study counts pairs as the paper's does; models and names may be others."""
    first, second = reading_settings(study), reading_settings(papers)
    return (
        all(first[key] == second[key] for key in first if key not in NAMES_OF_COLUMNS)
        and study.split_strata == papers.split_strata
        and all(study.splits[name] == split for name, split in papers.splits.items())
        and study.min_subgroup_n == papers.min_subgroup_n
        and study.min_pair_n == papers.min_pair_n
    )


def count_pairs(survey: "EncodedSurvey", groups: "Groups", study: Study) -> Counts:
    """The counts of a survey as it was read: subgroups and pairs that are large enough."""
    from valuestrata.survey.tally import count, strata_members

    splits = {}
    for name in study.splits:
        members = strata_members(
            survey.groups, study.strata(name), groups.labels(), study.min_subgroup_n
        )
        answers = [
            count(survey.answers, m.cell, m.size, survey.width).sum(axis=-1) for m in members
        ]
        pairs = sum(int((n >= study.min_pair_n).sum()) for n in answers)
        splits[name] = (sum(m.size for m in members), pairs)
    return Counts(len(survey.answers), splits)


def comparison(counts: Counts, release: str, expected: Counts = WVS7_SINGAPORE) -> tuple[bool, str]:
    """Whether counts are the expected ones, and a sentence that says so.

    Args:
        counts: of the file; its splits are empty where another design was read.
        release: what the file says of itself, '' for nothing.
        expected: what is known.
    """
    wanted = expected if counts.splits else Counts(expected.respondents)
    said_so = f"; {release}" if release else ""
    if counts == wanted:
        return True, f"{_shown(counts)}, as in {RELEASES} (docs/reference.md){said_so}"
    return False, (
        f"{_shown(counts)}, where {RELEASES} have {_shown(wanted)} (docs/reference.md): another "
        f"release, or not the whole file{said_so}"
    )


def release_of(headers: tuple[str, ...], version: str) -> str:
    """What a file says of its release: its column `version`, else the form of its headers."""
    if version:
        return f"its column version says {version}"
    if any(header.strip().startswith("Q1:") for header in headers):
        return "headers with labels, the form of release 5.1"
    return "headers without labels, the form of release 6.0"


def _shown(counts: Counts) -> str:
    parts = [f"{counts.respondents:,} respondents"]
    for i, noun in enumerate(("subgroups", "pairs")):
        if counts.splits:
            sizes = " + ".join(f"{sizes[i]:,}" for sizes in counts.splits.values())
            parts.append(f"{sizes} {noun}")
    return ", ".join(parts)
