"""Codes that occur off a question's scale and that the codebook does not name."""

from collections.abc import Iterable, Sequence

import pandas as pd

from valuestrata.errors import InputError
from valuestrata.io import records
from valuestrata.survey.codebook import Question

SHOWN = 8
"""Codes that a notice lists."""
REMEDY = (
    "declare it missing (survey.missing, or `missing` of the question in the codebook), map it by "
    "survey.recode, or name it under `extra` in the codebook"
)


def undeclared_codes(codes: Iterable[int], question: Question) -> list[int]:
    """Those of some codes that are neither on the scale nor named under `extra`, ascending."""
    scale = range(question.scale_min, question.scale_max + 1)
    return sorted(code for code in codes if code not in scale and code not in question.extra)


def undeclared_notices(responses: pd.DataFrame, questions: Sequence[Question]) -> list[str]:
    """A line for all undeclared codes with how many gave them; none where there is none.

    Raises:
        InputError: such a code is the answer given most often to a question.
    """
    shown = []
    for question in questions:
        sizes = responses[question.question].value_counts()
        for code in undeclared_codes(map(int, sizes.index), question):
            shown.append(f"{question.question} {code} ({sizes[code]} of {sizes.sum()})")
            if sizes[code] == sizes.max() and (sizes == sizes.max()).sum() == 1:
                raise InputError(
                    f"{_where(question.question, code, question.scale_min, question.scale_max)}, "
                    f"is the answer given most often ({sizes[code]} of {sizes.sum()}); {REMEDY}"
                )
    if not shown:
        return []
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return [
        "codes off their question's scale that the codebook does not name count as answers: "
        f"{', '.join(shown[:SHOWN])}{more}; {REMEDY.replace(' it ', ' them ')}"
    ]


def refuse_undeclared_modes(pairs: pd.DataFrame, questions: pd.DataFrame) -> None:
    """Refuse pairs whose modal answer is an undeclared code.

    Args:
        pairs: [n rows] subgroup, question and mode.
        questions: the table of questions, where such a code has no label.

    Raises:
        InputError: one line with the first question, its code and how many subgroups it is of.
    """
    for row in records(questions):
        name, low, high = row["question"], int(row["scale_min"]), int(row["scale_max"])
        for code, label in zip(map(int, row["codes"]), row["labels"], strict=True):
            if low <= code <= high or label:
                continue
            modal = pairs[(pairs["question"] == name) & (pairs["mode"] == code)]["subgroup"]
            if len(modal):
                raise InputError(
                    f"{_where(name, code, low, high)}, is the modal answer of {len(modal)} "
                    f"subgroups (the first is {modal.iloc[0]}); {REMEDY}"
                )


def _where(question: str, code: int, scale_min: int, scale_max: int) -> str:
    return (
        f"question {question}: code {code}, which is off the scale {scale_min} to {scale_max} and "
        "which the codebook does not name"
    )
