"""How numbers are written: three decimals, percentages with one, thousands with commas."""

from collections.abc import Sequence

from valuestrata.report.comparison import Metric
from valuestrata.report.results import Estimate

RATES = ("answered", "refusal", "invalid", "truncated", "failed", "flip_rate", "disagreement_rate")
METRICS = {
    "accuracy": "Accuracy",
    "answered": "Answered",
    "accuracy_all_pairs": "Accuracy, all pairs",
    "accuracy_upper_bound": "Accuracy, upper bound",
    "accuracy_gap_lower": "Accuracy, lower bound of the difference",
    "accuracy_gap_upper": "Accuracy, upper bound of the difference",
    "nmae": "NMAE",
    "wasserstein": "Wasserstein",
    "total_variation": "Total variation",
    "jensen_shannon": "Jensen-Shannon",
    "argmax_accuracy": "Argmax accuracy",
    "confidence": "Confidence",
    "calibration_error": "Calibration error",
    "non_option_mass": "Non-option mass",
    "refusal": "Refusals",
    "invalid": "Invalid",
    "truncated": "Ran out of tokens",
    "failed": "Failed",
    "disagreement_rate": "Disagreement rate",
}
CEILINGS = {"noise_ceiling": "noise ceiling", "split_half": "split-half"}
MEASURES = {"mds": "Modal Diversity Score", "wasserstein": "Wasserstein distance"}
RANKS = {"spearman": "Spearman's ρ", "kendall": "Kendall's τ-b"}
METRIC_NAMES = {"accuracy": "accuracy", "nmae": "NMAE"}
STATISTICS = {"norm_range": "Norm.Range", "cv": "CV"}
NONE = "–"


def is_rate(metric: str) -> bool:
    """Whether a metric is written in percent."""
    return metric in RATES


def metric_name(metric: Metric) -> str:
    """`Accuracy`, or `Win rate, Overall (judge)`."""
    if not metric.judge:
        return METRICS.get(metric.metric, metric.metric)
    name = metric.metric.replace("_", " ").capitalize()
    return f"{name}, {metric.dimension} ({metric.judge})"


def decimal(value: float, signed: bool = False) -> str:
    """0.6329 -> 0.633; a true minus sign, and never a minus zero."""
    if value != value:
        return NONE
    text = f"{abs(value):.3f}"
    return _sign(value, float(text) == 0, signed) + text


def percent(value: float, signed: bool = False) -> str:
    """0.1234 -> 12.3%."""
    if value != value:
        return NONE
    text = f"{abs(value):.1%}"
    return _sign(value, text == "0.0%", signed) + text


def _sign(value: float, is_zero: bool, signed: bool) -> str:
    return "" if is_zero else "−" if value < 0 else "+" if signed else ""


def with_interval(estimate: Estimate | None, rate: bool = False, signed: bool = False) -> str:
    """`0.633 [0.552, 0.709]`, or percentages `10.0% [2.5%, 20.1%]`."""
    if estimate is None or not estimate.exists:
        return NONE
    write = percent if rate else decimal
    value = write(estimate.value, signed)
    if not estimate.has_interval:
        return value
    return f"{value} [{write(estimate.ci_low, signed)}, {write(estimate.ci_high, signed)}]"


def value_range(values: Sequence[float], rate: bool = False) -> str:
    """`0.493 to 0.512`, or one number where both ends are written alike."""
    write = percent if rate else decimal
    low, high = write(min(values)), write(max(values))
    return low if low == high else f"{low} to {high}"


def count_range(counts: Sequence[int]) -> str:
    """`1,425 to 1,709`, or one count."""
    low, high = count(min(counts)), count(max(counts))
    return low if low == high else f"{low} to {high}"


def count(n: int) -> str:
    """12345 -> 12,345."""
    return f"{n:,}"


def plural(n: int, singular: str) -> str:
    """`1 question`, `7 questions`."""
    return f"{count(n)} {singular}{'' if n == 1 else 's'}"


def p_value(p: float | None) -> str:
    """`p = 0.013`, `p < 0.001`."""
    if p is None or p != p:
        return "not tested"
    return "p < 0.001" if p < 0.0005 else f"p = {p:.3f}"


def tested(estimate: Estimate) -> str:
    """`p = 0.013`, with `, q = 0.026` where it belongs to a family of tests; `not tested`."""
    p = p_value(estimate.p_value)
    if estimate.q_value is None or estimate.p_value is None:
        return p
    return f"{p}, {p_value(estimate.q_value).replace('p', 'q', 1)}"


def points(value: float) -> str:
    """0.0218 -> `2.2 points`: hundredths, without a sign."""
    return f"{100 * abs(value):.1f} points"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def listed_some(names: Sequence[str], most: int = 3) -> str:
    """`a and b`; `a, b and 7 more` where there are more names than a sentence holds."""
    if len(names) <= most:
        return listed(names)
    return listed([*names[: most - 1], f"{len(names) - most + 1} more"])


def sentence(text: str) -> str:
    """The text with a capital letter at its start and a full stop at its end."""
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def caveat_sentence(caveat: str) -> str:
    """The caveat as a sentence that says what the numbers cannot show; '' for none."""
    if not caveat:
        return ""
    parts = {"simulated": "people", "toy": "real models"}
    subjects = [subject for word, subject in parts.items() if word in caveat]
    end = f": these numbers say nothing about {' or '.join(subjects)}" if subjects else ""
    return sentence(caveat + end)
