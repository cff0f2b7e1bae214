"""What a whole country answered: the distribution that no persona is needed for.

Symbols: N respondents, Q questions, C codes.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from valuestrata.study.splits import COUNTRY
from valuestrata.survey import modal
from valuestrata.survey.encoded import NO_ANSWER, Floats, encode_survey


def national_shares(
    responses: pd.DataFrame, questions: pd.DataFrame, weighted: bool
) -> Mapping[tuple[str, str], Floats]:
    """[C] share of each of a question's codes, by country and question; NaN of nobody's answers.

    The country is '' in a study of one.

    Args:
        responses: the table of responses.
        questions: the table of questions.
        weighted: whether respondents count by their survey weight.
    """
    survey = encode_survey(responses, questions)
    weight = survey.weight if weighted else np.ones(len(responses))
    has_countries = COUNTRY in survey.groups.columns
    country = survey.groups[COUNTRY].astype("string") if has_countries else None
    shares = {}
    for name in [""] if country is None else sorted(map(str, country.dropna().unique())):
        inside = np.ones(len(responses), dtype=bool)
        if country is not None:
            inside = country.eq(name).fillna(False).to_numpy(dtype=bool)
        for q, question in enumerate(survey.scale.questions):
            valid = inside & (survey.answers[:, q] != NO_ANSWER)
            counts = np.bincount(
                survey.answers[valid, q].astype(np.intp), weight[valid], minlength=survey.width
            )
            share = modal.shares(counts.astype(np.float64))
            shares[name, question] = share[survey.scale.real[q]]
    return shares
