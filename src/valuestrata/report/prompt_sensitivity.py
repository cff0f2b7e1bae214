"""What another wording of the prompts changes: a table and a finding. Pure."""

from valuestrata.report.display import Cell, Table, cell
from valuestrata.report.phrases import estimate, listed, p_value, percent, plural
from valuestrata.report.results import BASE, Estimate, Results, System, label, worded
from valuestrata.specs import Report, reworded, variant_parts

COLUMNS = (
    "Run",
    "Wording",
    "Accuracy",
    "Less the study's wording",
    "Answers changed",
    "Refusals, less the study's wording",
    "Gain of tuning in this wording",
)


def rewording_table(results: Results, split: str) -> Table:
    """A row a run in another wording: its accuracy, and what changed on the same pairs."""
    spec = results.spec
    rows = []
    for system in worded(spec):
        plain, wording = variant_parts(system[1])
        own = (system[0], plain)
        tuning = None
        if plain != BASE:
            base = (system[0], reworded(BASE, wording))
            tuning = results.gap(system, base, split, "accuracy")
        rows.append(
            (
                Cell(label(own, spec)),
                Cell(wording),
                cell(results.of(system, split, "accuracy")),
                _gap(results.gap(system, own, split, "accuracy")),
                cell(results.gap(system, own, split, "changed"), rate=True),
                _gap(results.gap(system, own, split, "refusal"), rate=True),
                _gap(tuning),
            )
        )
    note = f"{_wordings(spec)} Fine-tunes were tuned in the study's own wording."
    return Table(f"Other wordings, {split}", COLUMNS, tuple(rows), heads=2, note=note)


def _gap(gap: Estimate | None, rate: bool = False) -> Cell:
    said = "" if gap is None else p_value(gap.p)
    return cell(gap, rate, signed=True, more=said)


def _wordings(spec: Report) -> str:
    """What each wording says otherwise: `mandarin: template mandarin.`"""
    said = (
        f"{name}: {', '.join(f'{key} {value}' for key, value in own.items())}."
        for name, own in spec.wordings.items()
    )
    return " ".join(said)


def rewording(results: Results, split: str) -> tuple[str, list[str]]:
    """How many answers change with the wording, and whether accuracy does."""
    spec = results.spec
    level = spec.compare.evaluation.level
    found = [(s, results.gap(s, _own(s), split, "changed")) for s in worded(spec)]
    changed = [(s, one) for s, one in found if one is not None and one.known]
    if not changed:
        return f"No pair of {split} was answered in two wordings.", []
    shares = sorted(one.value for _, one in changed)
    ends = list(dict.fromkeys(percent(share) for share in (shares[0], shares[-1])))
    gaps = [results.gap(s, _own(s), split, "accuracy") for s, _ in changed]
    ways = [gap.direction(level) for gap in gaps if gap is not None]
    moves = [f"falls clearly in {ways.count(-1)}"] * (-1 in ways)
    moves += [f"rises clearly in {ways.count(1)}"] * (1 in ways)
    answer = (
        f"Another wording changes {' to '.join(ends)} of the answers on {split}; accuracy "
        f"{listed(moves) or 'changes clearly in none'} of {plural(len(changed), 'reworded run')}."
    )
    return answer, [_line(results, split, system, one) for system, one in changed]


def _own(system: System) -> System:
    """The same variant in the study's own wording."""
    return system[0], variant_parts(system[1])[0]


def _line(results: Results, split: str, system: System, changed: Estimate) -> str:
    line = (
        f"{label(system, results.spec)}: {estimate(changed, rate=True)} of "
        f"{plural(changed.n, 'pair')} answered in both wordings changed "
        f"({changed.missing:,} left out)"
    )
    gap = results.gap(system, _own(system), split, "accuracy")
    if gap is None or not gap.known:
        return f"{line}."
    return f"{line}; accuracy {estimate(gap, signed=True)}, {p_value(gap.p)}, n {gap.n:,}."
