"""Columns that several tables share."""

from valuestrata.contracts import Column


def share(name: str, meaning: str) -> Column:
    """A column of numbers from 0 to 1 that may be missing."""
    return Column(name, "float", optional=True, low=0, high=1, meaning=meaning)


INTERVAL = (
    Column("value", "float", optional=True, meaning="the estimate"),
    Column("ci_low", "float", optional=True, meaning="lower end of the interval"),
    Column("ci_high", "float", optional=True, meaning="upper end of the interval"),
    Column("n", "int", low=0, meaning="units that entered the estimate"),
    Column("missing", "int", low=0, meaning="units left out because they have no value"),
)
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
