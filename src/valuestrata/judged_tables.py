"""Column contracts of what is made of verdicts: win rates, and agreement of people with judges."""

from valuestrata.contracts import Column, Contract
from valuestrata.tables import FAIRNESS, VERDICT_OUTCOMES

WIN_RATE_STATISTICS = (
    "win_rate",
    "length_controlled",
    "shown_first",
    "shown_second",
    "position_bias",
    "flip_rate",
    "tie_rate",
    *VERDICT_OUTCOMES[1:],
)
"""Of a run by judge and dimension; the last ones are shares of comparisons without a verdict."""
COEFFICIENTS = ("kappa_linear", "kappa_quadratic", "alpha_nominal", "alpha_ordinal", "agreement")

_COLUMNS = {column.name: column for column in FAIRNESS.columns}
_RUN = tuple(_COLUMNS[name] for name in ("model", "variant", "split"))
_INTERVAL = tuple(_COLUMNS[name] for name in ("value", "ci_low", "ci_high", "n", "missing"))


def _p_value(meaning: str) -> Column:
    return Column("p_value", "float", optional=True, low=0, high=1, meaning=meaning)


WIN_RATES = Contract(
    "win_rates",
    (
        *_RUN,
        Column("judge", "text", meaning="name of the judge"),
        Column("dimension", "text", meaning="what was compared"),
        Column("statistic", "text", values=WIN_RATE_STATISTICS, meaning="what was measured"),
        *_INTERVAL,
        _p_value("t test over questions: rates against 0.5, a bias against 0"),
        Column("questions", "int", low=0, meaning="questions that the comparisons are about"),
        Column("note", "text", meaning="what is doubtful about the value, '' for nothing"),
    ),
)

HUMAN_AGREEMENT = Contract(
    "human_agreement",
    (
        Column("simulated", "bool", meaning="whether a script took the place of people"),
        Column("dimension", "text", meaning="what was compared"),
        Column(
            "comparison",
            "text",
            values=("human_human", "human_judge", "difference"),
            meaning="among people, people with a judge, or the second minus the first",
        ),
        Column("judge", "text", meaning="name of the judge, '' among people"),
        Column("rater", "text", meaning="an annotator, or 'all' of them"),
        Column("other_rater", "text", meaning="another annotator, the judge, or 'all' annotators"),
        Column("coefficient", "text", values=COEFFICIENTS, meaning="how agreement is measured"),
        *_INTERVAL,
        _p_value("of a difference of 0, paired bootstrap over questions"),
        Column("published", "float", optional=True, meaning="the paper's weighted kappa"),
    ),
)
