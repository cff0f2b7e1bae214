"""Contracts of tables about judges: trials, win rates, agreement with people.

Verdicts are in tables.py.
"""

from valuestrata.columns import INTERVAL, RUN, share
from valuestrata.contracts import Column, Contract
from valuestrata.tables import VERDICT_OUTCOMES

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

PROBES = Contract(
    "probes",
    (
        Column(
            "probe",
            "text",
            values=("instruction", "length", "same"),
            meaning="what was done to a text: told up, made longer, or nothing",
        ),
        Column("dimension", "text", meaning="what was compared"),
        Column(
            "outcome",
            "text",
            values=("won", "lost", "first", "second"),
            meaning="the changed text won or lost, or one of two equal ones won by its place",
        ),
        *INTERVAL,
        Column("judge_version", "text", meaning="model and revision, or hash of the weights"),
    ),
)

WIN_RATES = Contract(
    "win_rates",
    (
        *RUN,
        Column("judge", "text", meaning="name of the judge"),
        Column("dimension", "text", meaning="what was compared"),
        Column("statistic", "text", values=WIN_RATE_STATISTICS, meaning="what was measured"),
        *INTERVAL,
        share("p_value", meaning="t test over questions: rates against 0.5, a bias against 0"),
        share("q_value", meaning="p_value adjusted over the runs that are compared"),
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
        *INTERVAL,
        share("p_value", meaning="of a difference of 0, paired bootstrap over questions"),
        Column("published", "float", optional=True, meaning="the paper's weighted kappa"),
    ),
)
