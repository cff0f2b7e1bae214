"""Items of "select all that apply", where a blank cell means that an item was not ticked."""

from collections.abc import Iterable, Mapping

import pandas as pd

from valuestrata.study.survey import SelectAll
from valuestrata.survey.codebook import Question
from valuestrata.survey.groups import BLANK


def unticked_cells(
    cells: Mapping[str, pd.Series], batteries: Mapping[str, SelectAll]
) -> tuple[dict[str, pd.Series], list[str]]:
    """[N] the code of what was not ticked, else blank, by item; and a notice a battery.

    Args:
        cells: [N] plain cells as the file has them, of each question that is read.
        batteries: as the study has them; items that are not read are left out.
    """
    unticked: dict[str, pd.Series] = {}
    notices = []
    for name, battery in batteries.items():
        items = [item for item in battery.questions if item in cells]
        if not items:
            continue
        blank = pd.DataFrame({item: cells[item].isin(BLANK) for item in items})
        none = blank.all(axis=1)
        if battery.all_blank == "missing":
            blank = blank.mask(none, False)
        code = str(battery.unticked)
        unticked |= {item: blank[item].map({True: code, False: ""}) for item in items}
        notices.append(
            f"survey.select_all.{name}: {int(blank.to_numpy().sum())} blank cells of {len(items)} "
            f"items are read as not ticked, code {code}; {int(none.sum())} of {len(none)} "
            f"respondents ticked none and "
            + ("are taken as not asked" if battery.all_blank == "missing" else "count as asked")
        )
    return unticked, notices


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
