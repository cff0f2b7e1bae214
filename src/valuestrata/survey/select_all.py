"""Items of "select all that apply", where a blank cell means that an item was not ticked."""

from collections.abc import Iterable, Mapping

import pandas as pd

from valuestrata.study.survey import SelectAll
from valuestrata.survey.codebook import Question
from valuestrata.survey.groups import BLANK


def fill_unticked(
    plain: Mapping[str, pd.Series], batteries: Mapping[str, SelectAll]
) -> tuple[dict[str, pd.Series], list[str]]:
    """The columns with the code of what was not ticked in blank cells; and a notice a battery.

    Args:
        plain: [N] plain cells of each question that is read, by name.
        batteries: as the study has them; items that are not read are left out.
    """
    filled, notices = dict(plain), []
    for name, battery in batteries.items():
        items = [item for item in battery.questions if item in plain]
        if not items:
            continue
        blank = pd.DataFrame({item: plain[item].isin(BLANK) for item in items})
        none = blank.all(axis=1)
        asked = ~none if battery.all_blank == "missing" else ~none | none
        for item in items:
            filled[item] = plain[item].mask(blank[item] & asked, str(battery.unticked))
        notices.append(
            f"survey.select_all.{name}: {int(blank[asked].sum().sum())} blank cells of "
            f"{len(items)} items are read as not ticked, code {battery.unticked}; "
            f"{int(none.sum())} of {len(none)} respondents ticked none and "
            + ("are taken as not asked" if battery.all_blank == "missing" else "count as asked")
        )
    return filled, notices


def one_code_notices(
    responses: pd.DataFrame, questions: Iterable[Question], batteries: Mapping[str, SelectAll]
) -> list[str]:
    """One line for questions to which every answer is the same, and others have none."""
    declared = {item for battery in batteries.values() for item in battery.questions}
    same = [
        f"{q.question} ({int(answers.dropna().iloc[0])}, {int(answers.isna().sum())} without)"
        for q in questions
        if q.question not in declared
        and len((answers := responses[q.question]).dropna().unique()) == 1
        and answers.isna().any()
    ]
    if not same:
        return []
    return [
        f"every answer is the same to {', '.join(same)}: if blank means that an item of a 'select "
        "all' question was not ticked, list it in survey.select_all"
    ]
