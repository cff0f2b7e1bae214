"""Columns that several tables share."""

from valuestrata.contracts import Column

TIED = "; "
"""Between the names of groups that tie."""


def share(name: str, meaning: str) -> Column:
    """A column of numbers from 0 to 1 that may be missing."""
    return Column(name, "float", optional=True, low=0, high=1, meaning=meaning)


def number(name: str, meaning: str, low: float | None = None) -> Column:
    """A column of numbers that may be missing."""
    return Column(name, "float", optional=True, low=low, meaning=meaning)


INTERVAL = (
    Column("value", "float", optional=True, meaning="the estimate"),
    Column("ci_low", "float", optional=True, meaning="lower end of the interval"),
    Column("ci_high", "float", optional=True, meaning="upper end of the interval"),
    Column("n", "int", low=0, meaning="units that entered the estimate"),
    Column("missing", "int", low=0, meaning="units left out because they have no value"),
)
CORRECTED = (
    number("value", "as observed, sampling noise and all"),
    number("corrected", "estimate without sampling noise"),
    number("ci_low", "lower end of the corrected one's interval"),
    number("ci_high", "upper end of the corrected one's interval"),
    Column("n", "int", low=0, meaning="units that entered the estimate"),
    Column("missing", "int", low=0, meaning="units left out because they have no value"),
)
"""INTERVAL of a score that sampling noise makes too large."""
P_ERROR = share("p_error", meaning="Monte Carlo standard error of p_value; 0 where it is exact")
RUN = (
    Column("model", "text", meaning="name of the model in the study"),
    Column("variant", "text", meaning="base, or the recipe that tuned it"),
    Column("split", "text", meaning="split of the study"),
)

METRIC_COLUMNS = (
    Column("metric", "text", meaning="what is measured: accuracy, win_rate, ..."),
    Column("judge", "text", meaning="judge of a win or flip rate, else ''"),
    Column("dimension", "text", meaning="what that judge compared, else ''"),
)
METRIC = [column.name for column in METRIC_COLUMNS]
"""Columns that name a metric that runs are compared by."""

TESTED = (
    Column("questions", "int", optional=True, low=0, meaning="questions that the test is over"),
    Column(
        "std_error", "float", optional=True, low=0, meaning="standard error, clustered by question"
    ),
    Column("family", "text", optional=True, meaning="tests that are counted together"),
    share("q_value", meaning="p adjusted within its family, by Benjamini and Hochberg"),
    Column(
        "smallest_gap",
        "float",
        optional=True,
        low=0,
        meaning="least true difference found in 80% of studies, were it its family's only one",
    ),
)
"""What a tested difference has beside its interval and p-value."""
