"""Column contracts of the tables that say who is served better, and whether tuning changed it."""

from valuestrata.columns import INTERVAL, METRIC_COLUMNS, P_ERROR, RUN, TESTED, number, share
from valuestrata.contracts import Column, Contract

CONTRASTS = ("rest", "reference", "ends")
READINGS = ("raw", "net")
ITEM_KINDS = ("wording", "paraphrase", "shuffled", "options", "reversed")

_LEVEL = Column("level", "text", meaning="'subgroups', or the axis whose groups are compared")
_CONTRAST = (
    _LEVEL,
    Column("group", "text", meaning="subgroup, or the axis' group"),
    Column("other_group", "text", meaning="'rest', or the group that it is compared with"),
    Column(
        "contrast",
        "text",
        values=CONTRASTS,
        meaning="group minus the rest, minus the study's reference, or last minus first group",
    ),
    *METRIC_COLUMNS,
    Column(
        "reading",
        "text",
        values=READINGS,
        meaning="the score itself (raw), or less what perfect knowledge would score (net)",
    ),
)

GROUP_CONTRASTS = Contract(
    "contrasts",
    (
        *RUN,
        *_CONTRAST,
        *INTERVAL,
        share("p_value", meaning="of no difference: Student's t over questions, at least 2^(1-Q)"),
        *TESTED,
    ),
)

CONSISTENCY = Contract(
    "consistency",
    (
        Column("split", "text", meaning="split of the study"),
        Column("variant", "text", meaning="variant of all these models"),
        *_CONTRAST,
        Column("value", "float", optional=True, meaning="mean of the models' differences"),
        Column("ci_low", "float", optional=True, meaning="lower end of its interval"),
        Column("ci_high", "float", optional=True, meaning="upper end of its interval"),
        share("p_value", meaning="of a mean of 0, over questions and models"),
        Column("family", "text", optional=True, meaning="tests that are counted together"),
        share("q_value", meaning="p adjusted within its family, by Benjamini and Hochberg"),
        Column("between_sd", "float", optional=True, low=0, meaning="SD of models' true effects"),
        Column("n_models", "int", low=0, meaning="models with the difference"),
        Column("same_sign", "int", low=0, meaning="of them, those with the sign of the mean"),
    ),
)

INEQUALITY_CHANGES = Contract(
    "inequality_changes",
    (
        *RUN,
        _LEVEL,
        Column("metric", "text", values=("accuracy", "nmae"), meaning="what is unequal"),
        Column("statistic", "text", values=("norm_range", "cv", "sd"), meaning="how unequal"),
        Column("raw_base", "float", optional=True, meaning="of the base, on the shared pairs"),
        Column("raw_tuned", "float", optional=True, meaning="of the tuned run, on the same pairs"),
        Column(
            "raw_by_mean",
            "float",
            optional=True,
            meaning="raw change if each group had changed by as much as the mean",
        ),
        Column("base", "float", optional=True, low=0, meaning="of the base, without noise"),
        Column("tuned", "float", optional=True, low=0, meaning="of the tuned run, without noise"),
        *INTERVAL,
        Column("n_groups", "int", low=0, meaning="groups that both runs have a score for"),
        Column("questions", "int", low=0, meaning="questions that the test is over"),
        share("p_value", meaning="of no change, jackknife over questions"),
        share("p_fall", meaning="one-sided: that it does not fall"),
        share("p_rise", meaning="one-sided: that it does not rise"),
        share(
            "p_joint",
            meaning="that accuracy's does not fall or NMAE's does not rise (larger of the two)",
        ),
        Column("family", "text", optional=True, meaning="tests that are counted together"),
        share("q_value", meaning="p_value adjusted within its family"),
        share("q_joint", meaning="p_joint adjusted within its family"),
    ),
)

DISPARITIES = Contract(
    "disparities",
    (
        *RUN,
        _LEVEL,
        Column("metric", "text", values=("accuracy", "nmae"), meaning="what is unequal"),
        Column(
            "statistic",
            "text",
            values=("theil", "max_min", "worst_group", "worst_minus_mean"),
            meaning="Theil index, largest gap, score of the worst group, or that less the mean",
        ),
        Column("value", "float", optional=True, meaning="as it is"),
        Column("corrected", "float", optional=True, meaning="without sampling noise"),
        Column("null_mean", "float", optional=True, meaning="mean if groups were served alike"),
        Column("null_p5", "float", optional=True, meaning="5th percentile if served alike"),
        Column("null_p95", "float", optional=True, meaning="95th percentile if served alike"),
        Column("n", "int", low=0, meaning="pairs that entered"),
        Column("missing", "int", low=0, meaning="pairs left out because they have no value"),
        Column("n_groups", "int", low=0, meaning="groups compared"),
        Column(
            "worst_group",
            "text",
            meaning="groups with the worst score, by '; ' where they tie",
        ),
    ),
)

ITEM_TEXTS = Contract(
    "item_texts",
    (
        Column("question", "text", meaning="question id in the survey"),
        Column("kind", "text", values=ITEM_KINDS, meaning="which text of the item"),
        Column("n_bytes", "int", low=1, meaning="its length in bytes of UTF-8"),
        Column("tokens", "int", low=1, meaning="its length in tokens, terminator included"),
        number("logprob", "log p of the whole text, in nats; missing where it is too long"),
    ),
)

SENSITIVITY = Contract(
    "sensitivity",
    (
        *RUN,
        Column("perturbation", "text", meaning="what was perturbed, or probed"),
        Column("metric", "text", meaning="what is measured"),
        *INTERVAL,
        share("p_value", meaning="of no difference, over questions; none of an agreement"),
        P_ERROR,
        *TESTED,
        Column("note", "text", meaning="why there is no number, or what is doubtful; else ''"),
    ),
)
