"""How numbers are said: three decimals, percentages with one, thousands with commas."""

from collections.abc import Sequence

from valuestrata.report.results import Estimate

RATES = ("refusal", "invalid", "failed", "flip_rate", "changed")
METRICS = {
    "accuracy": "Accuracy",
    "nmae": "NMAE",
    "wasserstein": "Wasserstein",
    "total_variation": "Total variation",
    "jensen_shannon": "Jensen-Shannon",
    "argmax_accuracy": "Accuracy of the likeliest option",
    "confidence": "Its probability",
    "calibration_error": "Calibration error",
    "non_option_mass": "Off options",
    "refusal": "Refusals",
    "invalid": "Invalid",
    "failed": "Failed",
    "changed": "Answers changed",
}
CEILINGS = {"noise_ceiling": "perfect knowledge", "split_half": "half of the subgroup"}
MEASURES = {"mds": "Modal Diversity Score", "wasserstein": "Wasserstein distance"}
RANKS = {"spearman": "Spearman's ρ", "kendall": "Kendall's τ-b"}
METRIC_NAMES = {"accuracy": "accuracy", "nmae": "NMAE"}
STATISTICS = {"norm_range": "Norm.Range", "cv": "CV"}
NONE = "–"


def is_rate(metric: str) -> bool:
    """Whether a metric is said in percent."""
    return metric.split(":")[0] in RATES


def metric_name(metric: str) -> str:
    """`win_rate:judge:Overall` -> `Win rate, Overall (judge)`."""
    kind, _, rest = metric.partition(":")
    if not rest:
        return METRICS.get(kind, kind)
    judge, _, dimension = rest.partition(":")
    return f"{kind.replace('_', ' ').capitalize()}, {dimension} ({judge})"


def decimal(value: float, signed: bool = False) -> str:
    """0.6329 -> 0.633; a true minus sign, and never a minus zero."""
    if value != value:
        return NONE
    text = f"{abs(value):.3f}"
    zero = float(text) == 0
    sign = "−" if value < 0 and not zero else "+" if signed and not zero else ""
    return sign + text


def percent(value: float, signed: bool = False) -> str:
    """0.1234 -> 12.3%."""
    if value != value:
        return NONE
    text = f"{abs(value):.1%}"
    zero = text == "0.0%"
    sign = "−" if value < 0 and not zero else "+" if signed and not zero else ""
    return sign + text


def estimate(number: Estimate | None, rate: bool = False, signed: bool = False) -> str:
    """`0.633 [0.552, 0.709]`, or percentages `10.0% [2.5%, 20.1%]`."""
    if number is None or not number.known:
        return NONE
    say = percent if rate else decimal
    if number.ci_low != number.ci_low:
        return say(number.value, signed)
    ends = f"{say(number.ci_low, signed)}, {say(number.ci_high, signed)}"
    return f"{say(number.value, signed)} [{ends}]"


def count(n: int) -> str:
    """12345 -> 12,345."""
    return f"{n:,}"


def plural(n: int, one: str, many: str = "") -> str:
    """`1 question`, `7 questions`."""
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def p_value(p: float | None) -> str:
    """`p = 0.013`, `p < 0.001`."""
    if p is None or p != p:
        return "not tested"
    return "p < 0.001" if p < 0.0005 else f"p = {p:.3f}"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def caveat_sentence(caveat: str) -> str:
    """The caveat as a sentence that says what the numbers cannot show; '' for none."""
    if not caveat:
        return ""
    about = []
    if "simulated" in caveat:
        about.append("people")
    if "toy" in caveat:
        about.append("real models")
    start = caveat[0].upper() + caveat[1:]
    end = f": these numbers say nothing about {' or '.join(about)}." if about else "."
    return start + end
