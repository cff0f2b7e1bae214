"""Column contract of every table that a stage writes: name, dtype, unit, range.

A table is checked against its contract when it is written and when it is read, so a stage can rely
on what it is handed. Symbols: S subgroups, Q questions, C answer codes.
"""

from valuestrata.columns import (
    CORRECTED,
    INTERVAL,
    METRIC_COLUMNS,
    P_ERROR,
    RUN,
    TESTED,
    number,
    share,
)
from valuestrata.contracts import Column, Contract

OUTCOMES = ("answer", "refusal", "invalid", "truncated", "failed")
CEILING_NAMES = ("split_half", "noise_ceiling")
PASSES = ("shared_prefix", "plain")
INEQUALITIES = ("norm_range", "cv", "sd", "net_sd")
RANKS = ("spearman", "kendall")
VERDICT_OUTCOMES = ("verdict", "invalid", "truncated", "failed")


_PAIR = (
    Column("stratum", "text", meaning="set of axes that the subgroup is a cell of"),
    Column("subgroup", "text", meaning="cell, as axis=group joined by ' & '"),
    Column("question", "text", meaning="question id in the survey"),
)
PAIR = [column.name for column in _PAIR]
"""Columns that name a pair."""

_NULL = (
    Column("null_mean", "float", optional=True, meaning="mean if groups were identical"),
    Column("null_p95", "float", optional=True, meaning="95th percentile if groups were identical"),
    share("p_value", meaning="chance of a value this large by identical groups"),
    P_ERROR,
)
_LEVEL = Column(
    "measurement_level", "text", values=("ordinal", "nominal"), meaning="measurement level"
)
_ANSWER = Column(
    "answer", "int", optional=True, meaning="parsed code, only where the outcome is an answer"
)
_WRITTEN = (
    Column("thought", "text", optional=True, meaning="what came before the text, if it thought"),
    Column("finish_reason", "text", optional=True, meaning="why the text ended: stop, length"),
)
_PROMPT_TOKENS = Column(
    "prompt_tokens", "int", optional=True, low=0, meaning="prompt length in tokens"
)
_ANSWERED_BY = (
    Column("prompt_hash", "text", meaning="hash of the rendered prompt"),
    Column(
        "model_version", "text", meaning="model and revision, or hash of the weights, that answered"
    ),
    Column("adapter", "text", meaning="hash of the adapter, '' for none"),
    Column("adapter_shift", "float", "most that it moves a logit at load", optional=True, low=0),
    Column("notes", "text", meaning="what was doubtful when the model was loaded, a line each"),
)

# wide: the study's axes (text, a group label or missing) and questions (int codes) follow
RESPONSES = Contract(
    "responses",
    (
        Column("respondent", "text", meaning="id, unique within the survey"),
        Column("weight", "float", low=0, meaning="survey weight, mean 1 over the respondents kept"),
    ),
    open=True,
)

QUESTIONS = Contract(
    "questions",
    (
        Column("question", "text", meaning="question id in the survey"),
        Column("topic", "text", meaning="short noun phrase"),
        Column("text", "text", meaning="wording shown to a model"),
        Column("block", "text", meaning="thematic block"),
        _LEVEL,
        Column("scale_min", "int", meaning="lowest code of the scale"),
        Column("scale_max", "int", meaning="highest code of the scale"),
        Column("codes", "ints", meaning="codes of the scale and others that occur, ascending"),
        Column("labels", "texts", meaning="label of each code, '' where it has none"),
        Column("n", "int", low=0, meaning="respondents with a valid answer"),
        Column("missing", "int", low=0, meaning="respondents without one"),
    ),
)

TALLY = Contract(
    "tally",
    (
        *_PAIR,
        Column("code", "int", meaning="answer code"),
        Column("count", "int", low=0, meaning="respondents who gave it"),
        Column("weighted", "float", low=0, meaning="sum of their weights"),
        Column("respondents", "int", low=0, meaning="size of the subgroup, unweighted"),
    ),
)

DIVERSITY = Contract(
    "diversity",
    (
        Column("stratum", "text", meaning="set of axes, or 'mean' over the strata"),
        Column("question", "text", meaning="question id, or 'mean' over the block's questions"),
        Column("block", "text", meaning="thematic block, or 'all'"),
        Column("measure", "text", values=("mds", "wasserstein"), meaning="conflict score"),
        *CORRECTED,
        *_NULL,
    ),
)

AGREEMENT = Contract(
    "agreement",
    (
        Column("stratum", "text", meaning="set of axes, or 'mean' over the strata"),
        Column("coefficient", "text", values=RANKS, meaning="Spearman's rho or Kendall's tau-b"),
        *INTERVAL,
    ),
)

NOISE_CEILING = Contract(
    "noise_ceiling",
    (
        *_PAIR,
        share("accuracy", meaning="chance that a sample has the known mode"),
        Column(
            "nmae",
            "float",
            optional=True,
            low=0,
            meaning="mean distance of a sample's mode to it, ordinal only",
        ),
        share("wasserstein", meaning="mean W1 of a sample to the known shares"),
    ),
)

CEILINGS = Contract(
    "ceilings",
    (
        Column(
            "ceiling",
            "text",
            values=CEILING_NAMES,
            meaning="half of a subgroup, or all its people known",
        ),
        Column("split", "text", meaning="split of the study, or 'all' of them"),
        Column("level", "text", meaning="'all', 'subgroups', or an axis"),
        Column("group", "text", meaning="'all', a subgroup, or the axis' group"),
        Column(
            "metric", "text", values=("accuracy", "nmae", "wasserstein"), meaning="what is shared"
        ),
        *INTERVAL,
    ),
)

PAIRS = Contract(
    "pairs",
    (
        *_PAIR,
        Column("block", "text", meaning="thematic block of the question"),
        _LEVEL,
        Column("scale_min", "int", meaning="lowest code of the scale"),
        Column("scale_max", "int", meaning="highest code of the scale"),
        Column(
            "mode", "int", meaning="modal answer, as the study weights it, ties to the lowest code"
        ),
        Column("tied", "bool", meaning="whether another code is as frequent as the mode"),
        Column("codes", "ints", meaning="answer codes, ascending"),
        Column("labels", "texts", meaning="label of each code, '' where it has none"),
        Column(
            "distribution",
            "floats",
            meaning="share of each code as the study weights it, sums to 1",
        ),
        Column("n", "int", low=0, meaning="valid answers"),
        Column("respondents", "int", low=0, meaning="size of the subgroup"),
        Column(
            "persona", "text", meaning="first message; the question where a wording puts it first"
        ),
        Column("closed_prompt", "text", meaning="user message that asks for a code"),
    ),
)

# the pairs once more, with both readings of their labels
LABELS = Contract(
    "labels",
    (
        *_PAIR,
        Column("codes", "ints", meaning="answer codes, ascending"),
        Column(
            "mode_unweighted", "int", meaning="code of most respondents, ties to the lowest code"
        ),
        Column(
            "mode_weighted", "int", meaning="code of most survey weight, ties to the lowest code"
        ),
        Column("tied_unweighted", "bool", meaning="whether another code has as many respondents"),
        Column("tied_weighted", "bool", meaning="whether another code has as much weight"),
        Column("distribution_unweighted", "floats", meaning="share of each code, sums to 1"),
        Column("distribution_weighted", "floats", meaning="weighted share of each code, sums to 1"),
        share("reachable_accuracy", meaning="chance that a sample has its population's mode"),
        number("reachable_nmae", "mean distance of a sample's mode to it, ordinal only", low=0),
        Column("n", "int", low=0, meaning="valid answers"),
        Column("respondents", "int", low=0, meaning="size of the subgroup"),
    ),
)

TIES = Contract(
    "ties",
    (
        *_PAIR,
        Column("mode", "int", meaning="the tied code that counts: the lowest"),
        Column("codes", "ints", meaning="the tied codes, ascending"),
        Column(
            "each",
            "float",
            meaning="answers of each of them, or their weight as modes are weighted",
        ),
        Column("n", "int", low=0, meaning="valid answers"),
        Column("respondents", "int", low=0, meaning="size of the subgroup"),
    ),
)

PREDICTIONS = Contract(
    "predictions",
    (
        *_PAIR,
        Column("text", "text", optional=True, meaning="what the model wrote, new tokens only"),
        *_WRITTEN,
        Column("outcome", "text", values=OUTCOMES, meaning="what the text was"),
        _ANSWER,
        Column("codes", "ints", meaning="answer codes that were scored, ascending"),
        Column(
            "logprobs", "floats", optional=True, meaning="log p of each code's whole reply, in nats"
        ),
        Column(
            "distribution",
            "floats",
            optional=True,
            meaning="probability of each code given any of them",
        ),
        share("non_option_mass", meaning="probability mass on no option"),
        share(
            "unread_mass",
            meaning="part of it that a service's likeliest tokens leave open: it may be on options",
        ),
        Column("passes", "text", optional=True, values=PASSES, meaning="how options were read"),
        _PROMPT_TOKENS,
        *_ANSWERED_BY,
    ),
)

TEXTS = Contract(
    "texts",
    (
        *_PAIR,
        Column("wording", "text", meaning="name of the open question's wording"),
        Column("prompt", "text", meaning="user message that was answered"),
        Column("text", "text", optional=True, meaning="the open-ended answer, new tokens only"),
        *_WRITTEN,
        Column("outcome", "text", values=OUTCOMES, meaning="what the text was"),
        Column("declines", "bool", meaning="whether it declines anywhere, in an answer too"),
        _PROMPT_TOKENS,
        Column(
            "completion_tokens", "int", optional=True, low=0, meaning="tokens written, thought too"
        ),
        *_ANSWERED_BY,
    ),
)

VERDICTS = Contract(
    "verdicts",
    (
        *_PAIR,
        Column("dimension", "text", meaning="what was compared"),
        Column(
            "outcome", "text", values=VERDICT_OUTCOMES, meaning="whether both orders gave a verdict"
        ),
        share("as_first", meaning="score of the response shown first: 1, 0.5 or 0"),
        share("as_second", meaning="its score when shown second"),
        share("score", meaning="mean of both orders"),
        Column("flipped", "bool", optional=True, meaning="whether the order changed who won"),
        Column("length_difference", "int", meaning="characters more than the reference"),
        Column(
            "judge_version",
            "text",
            meaning="model and revision, or hash of the weights, that judged",
        ),
        Column("judge_notes", "text", meaning="what was doubtful when the judge was loaded"),
    ),
)

SCORES = Contract(
    "scores",
    (
        *_PAIR,
        Column("block", "text", meaning="thematic block of the question"),
        _LEVEL,
        Column("outcome", "text", values=OUTCOMES, meaning="what the model's text was"),
        _ANSWER,
        share("accuracy", meaning="1 where the answer is the mode, 0 where not"),
        Column(
            "nmae",
            "float",
            optional=True,
            low=0,
            meaning="|answer - mode| / (highest - lowest), ordinal only",
        ),
        share("wasserstein", meaning="W1 to the subgroup's distribution, 0 to 1"),
        share("jensen_shannon", meaning="divergence in bits"),
        share("total_variation", meaning="half the summed |difference|"),
        share("argmax_accuracy", meaning="1 where the likeliest code is the mode"),
        share("confidence", meaning="probability of the likeliest code"),
        share("non_option_mass", meaning="probability mass on no option"),
    ),
)

FAIRNESS = Contract(
    "fairness",
    (
        *RUN,
        Column("level", "text", meaning="'subgroups', or the axis whose groups are compared"),
        Column("metric", "text", values=("accuracy", "nmae"), meaning="what is unequal"),
        Column("statistic", "text", values=INEQUALITIES, meaning="how unequal"),
        *CORRECTED,
        Column("n_groups", "int", low=0, meaning="groups compared"),
        *_NULL,
        number("reachable", "the statistic of a model that knows all populations' modal answers"),
        Column(
            "best_group",
            "text",
            meaning="groups with the best score, by '; ' where they tie",
        ),
        Column(
            "worst_group",
            "text",
            meaning="groups with the worst score, by '; ' where they tie",
        ),
    ),
)

GROUPS = Contract(
    "groups",
    (
        *RUN,
        Column("level", "text", meaning="'subgroups', or an axis"),
        Column("group", "text", meaning="subgroup, or the axis' group"),
        Column("metric", "text", values=("accuracy", "nmae"), meaning="what was measured"),
        *INTERVAL,
        number("shrunk", "drawn towards the mean by its noise"),
        number("shrunk_low", "lower end of its interval"),
        number("shrunk_high", "upper end of its interval"),
        number("reachable", "score of a model that knows all populations' modal answers"),
    ),
)

RUNS = Contract(
    "runs",
    (
        *RUN,
        *METRIC_COLUMNS,
        Column("baseline", "text", meaning="where a normalized gain starts, else ''"),
        *INTERVAL,
    ),
)

DIFFERENCES = Contract(
    "differences",
    (
        Column("split", "text", meaning="split of the study"),
        *METRIC_COLUMNS,
        Column("model", "text", meaning="model of the first run"),
        Column("variant", "text", meaning="its variant"),
        Column("other_model", "text", meaning="model of the second run"),
        Column("other_variant", "text", meaning="its variant"),
        *INTERVAL,
        share("p_value", meaning="paired sign-flip test over questions"),
        P_ERROR,
        *TESTED,
    ),
)
