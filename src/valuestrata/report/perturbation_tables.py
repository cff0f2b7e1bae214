"""How far answers hang on the prompt, and probes for contamination: tables and sentences. Pure."""

from collections.abc import Iterator, Sequence

from valuestrata.prompting.perturbations import OTHER_ORDER
from valuestrata.report.comparison import Metric
from valuestrata.report.contamination import (
    AGAINST_FLAT,
    AGAINST_UNIFORM,
    CONTROLS,
    FLAT,
    ITEM_BITS,
    ITEM_NATS,
    MAIN,
    NATIONAL,
    UNIFORM,
)
from valuestrata.report.display import Cell, Table, cell, difference_cell
from valuestrata.report.perturbed_answers import (
    AGREEMENT,
    ARGMAX_AGREEMENT,
    CHANGED_ALIKE,
    CHANGED_DIFFER,
    CHANGES,
    DISTANCES,
    FOLLOWS,
)
from valuestrata.report.phrases import (
    METRICS,
    NONE,
    listed,
    plural,
    sentence,
    value_range,
    with_interval,
)
from valuestrata.report.results import Estimate, Results
from valuestrata.report.runs import ModelVariant, all_runs, label, llm_runs
from valuestrata.report.settings import ReportSettings
from valuestrata.study.sensitivity import COMPARED, Perturbation, Sensitivity

NAMES: dict[str, str] = {
    "option_order": "option order",
    "paraphrase": "paraphrase",
    "prompt_order": "prompt order",
    "persona_dropped": "persona dropped",
    "persona_swapped": "persona swapped",
    "first_token": "option probability against text",
    "item_text": "item text",
    "national_distribution": "national distribution",
}
"""What tables call a perturbation."""
HINT = (
    "A hint, no proof: a text or a distribution may be probable for other reasons than that a "
    "model has read the survey, and a model that has read it may not show it here."
)
OWN_WORDS = (
    "Texts are those of the study's codebook. Where these are not the questionnaire's own words, "
    "a model that knows the questionnaire need not know them, and the probe of item texts cannot "
    "show that it does."
)


def sensitivity_of(results: Results) -> Sensitivity | None:
    """What the study perturbs; None where it perturbs nothing, or nothing is there to show."""
    settings = results.settings
    is_shown = isinstance(settings, ReportSettings) and results.sensitivity is not None
    return settings.sensitivity if is_shown and isinstance(settings, ReportSettings) else None


def perturbation_tables(results: Results, split: str) -> list[Table]:
    """Tables of one split: perturbed answers, swapped personas, probes; those that there are."""
    config = sensitivity_of(results)
    if config is None:
        return []
    runs = [run for run in all_runs(results.settings) if _has(results, run, split, config)]
    names = config.perturbations
    made = [answers_table(results, split, runs, [n for n in COMPARED if n in names])]
    if "persona_swapped" in names:
        made.append(swapped_table(results, split, runs))
    if "item_text" in names:
        made.append(items_table(results, split, runs))
    if "national_distribution" in names:
        made.append(national_table(results, split, runs))
    return [table for table in made if table.rows]


def _has(results: Results, run: ModelVariant, split: str, config: Sensitivity) -> bool:
    shown = (
        results.perturbed(run, split, name, MAIN.get(name, AGREEMENT))
        for name in config.perturbations
    )
    return any(one is not None for one in shown)


def answers_table(
    results: Results, split: str, runs: Sequence[ModelVariant], names: Sequence[Perturbation]
) -> Table:
    """A row for each run and perturbation: agreement, changes in scores, moves of probabilities."""
    columns = (
        *("Run", "Perturbation", "Agreement", "Agreement of the likeliest options"),
        *(f"{METRICS[m]}, change" for m in CHANGES),
        *(METRICS[m] for m in DISTANCES),
    )
    metrics = (AGREEMENT, ARGMAX_AGREEMENT, *CHANGES, *DISTANCES)
    rows = []
    for run in runs:
        is_rule = run not in llm_runs(results.settings)
        for name in names[:1] if is_rule else names:
            shown = _cells(results, run, split, name, metrics)
            what = "all" if is_rule else NAMES[name]
            rows.append((Cell(label(run, results.settings)), Cell(what), *shown))
    note = (
        "Agreement: the same answer as to the study's own prompt, of the pairs answered in both; "
        "of the likeliest options, by their probabilities. Changes are perturbed minus "
        "unperturbed, with p and q. The last two are distances between both distributions over the "
        "options, 0 where they do not move. Option probability against text: the likeliest option "
        "beside what the model wrote to the same prompt; whole options are scored, not their first "
        "token alone."
    )
    return Table(f"Perturbed prompts, {split}", columns, tuple(rows), heads=2, note=note)


def _cells(
    results: Results, run: ModelVariant, split: str, name: Perturbation, metrics: Sequence[str]
) -> list[Cell]:
    """A cell a metric; where there is no number, the reason stands in the first."""
    cells = []
    for metric in metrics:
        shown = results.perturbed(run, split, name, metric)
        if shown is None or (not shown[0].exists and shown[1]):
            cells.append(Cell(NONE, small="" if shown is None else shown[1]))
        elif shown[0].p_value is not None:
            cells.append(difference_cell(shown[0], Metric(metric)))
        else:
            cells.append(cell(shown[0], rate=metric in RATES, extra=shown[1]))
    return cells


RATES = (
    *(AGREEMENT, ARGMAX_AGREEMENT, CHANGED_DIFFER, CHANGED_ALIKE),
    *(f"likelier_than_{name}" for name in CONTROLS),
)
"""Metrics that are written in percent."""


def swapped_table(results: Results, split: str, runs: Sequence[ModelVariant]) -> Table:
    """Whether answers follow the persona: a row a run."""
    metrics = (CHANGED_DIFFER, CHANGED_ALIKE, FOLLOWS)
    rows = [
        (
            Cell(label(run, results.settings)),
            *_cells(results, run, split, "persona_swapped", metrics),
        )
        for run in runs
        if run in llm_runs(results.settings)
    ]
    columns = (
        "Run",
        "Answers that change where the two subgroups' modal answers differ",
        "Where they are the same",
        "Difference",
    )
    note = (
        "Each pair beside the same question with the persona of another subgroup of its stratum, "
        "which is drawn by the seed. A model that follows personas as people differ changes more "
        "answers in the first column than in the second; one that ignores personas changes none."
    )
    return Table(f"Personas swapped, {split}", columns, tuple(rows), note=note)


def items_table(results: Results, split: str, runs: Sequence[ModelVariant]) -> Table:
    """How probable the items' texts are, against controls: a row a run."""
    metrics = [ITEM_NATS, ITEM_BITS]
    columns = ["Run", "Nats per token of the item", "Bits per byte of the item"]
    for control, of in CONTROLS.items():
        what = {"paraphrase": "paraphrase", "shuffled": "shuffled words"}.get(
            control, "labels from last to first"
        )
        metrics += [f"{control}_minus_item", f"likelier_than_{control}"]
        columns += [f"{what.capitalize()}, minus {of}", f"Questions likelier than {what}"]
    rows = [
        (Cell(label(run, results.settings)), *_cells(results, run, split, "item_text", metrics))
        for run in runs
        if run in llm_runs(results.settings)
    ]
    note = (
        "Without a persona and a topic. Lower is more probable; a difference (bits per byte) above "
        "0 means that the item is more probable than its control. n counts questions. Any model of "
        "a language prefers a sentence to its shuffled words: that control shows that the model "
        f"reads the language, and no more. {OWN_WORDS} {HINT}"
    )
    return Table(
        f"Contamination probe: item texts, {split}", tuple(columns), tuple(rows), note=note
    )


def national_table(results: Results, split: str, runs: Sequence[ModelVariant]) -> Table:
    """Option probabilities without a persona, against the country's answers: a row a run."""
    kinds = {
        NATIONAL: "to the country's answers",
        UNIFORM: "to every option alike",
        FLAT: "of every option alike to the country's",
        AGAINST_UNIFORM: "country's minus every option alike",
        AGAINST_FLAT: "minus that of every option alike",
    }
    metrics = [f"{name}_{kind}" for name in DISTANCES for kind in kinds]
    columns = [f"{METRICS[name]} {text}" for name in DISTANCES for text in kinds.values()]
    rows = [
        (
            Cell(label(run, results.settings)),
            *_cells(results, run, split, "national_distribution", metrics),
        )
        for run in runs
        if run in llm_runs(results.settings)
    ]
    note = (
        "Distances of the options' probabilities, asked once a question and without a persona. A "
        "last difference below 0: nearer to the country's answers than one who knows nothing. n "
        f"counts questions. {HINT}"
    )
    caption = f"Contamination probe: national distribution, {split}"
    return Table(caption, ("Run", *columns), tuple(rows), note=note)


def perturbation_finding(results: Results, split: str) -> tuple[str, list[str]]:
    """The lowest agreement under any perturbation, and what each does to accuracy."""
    level = results.settings.evaluation.confidence_level
    config = sensitivity_of(results)
    seen: list[tuple[float, str]] = []
    lowest: tuple[Estimate, str] | None = None
    for name in COMPARED if config else ():
        shown = {
            run: results.perturbed(run, split, name, AGREEMENT)
            for run in llm_runs(results.settings)
        }
        agreements = {run: one[0] for run, one in shown.items() if one and one[0].exists}
        if not agreements:
            continue
        changes = [results.perturbed(run, split, name, "accuracy") for run in agreements]
        directions = [0 if change is None else change[0].direction(level) for change in changes]
        falls, rises = directions.count(-1), directions.count(1)
        clear = [f"falls clearly in {falls}"] if falls else []
        clear += [f"rises clearly in {rises}"] if rises else []
        rates = [estimate.value for estimate in agreements.values()]
        text = (
            f"{NAMES[name].capitalize()}: {value_range(rates, rate=True)} of answers stay; "
            f"accuracy {listed(clear) or 'changes clearly in none'} of "
            f"{plural(len(directions), 'run')}."
        )
        seen.append((min(rates), text))
        for run, estimate in agreements.items():
            if lowest is None or estimate.value < lowest[0].value:
                lowest = (estimate, f"{label(run, results.settings)} under {NAMES[name]}")
    if lowest is None:
        return f"No pair of {split} was answered in two prompts, so nothing is compared.", []
    answer = (
        f"The lowest agreement with a run's own answers on {split} is that of {lowest[1]}: "
        f"{with_interval(lowest[0], rate=True)} of {plural(lowest[0].n, 'pair')}."
    )
    return answer, [text for _, text in sorted(seen)]


def perturbation_methods(settings: ReportSettings) -> Iterator[tuple[str, str]]:
    """Terms and texts of what the study perturbs, for the page's Methods."""
    config = settings.sensitivity
    if config is None:
        return
    texts = {
        "option_order": f"the options {OTHER_ORDER[settings.prompt.options]}",
        "paraphrase": "the sentence about the persona in other words"
        + (", and questions in those of the study's file" if config.wordings else ""),
        "prompt_order": "the question before the persona",
        "persona_dropped": "no persona, in whose place stands the form of the reply",
        "persona_swapped": "the persona of another subgroup of the stratum, drawn by a seed",
        "first_token": "the likeliest option in the place of the text",
    }
    named = [f"{NAMES[n]}: {texts[n]}" for n in COMPARED if n in config.perturbations]
    if named:
        yield (
            "Perturbed prompts",
            f"{sentence('; '.join(named))} At most {plural(config.max_pairs, 'pair')} of a split "
            "are asked again, one of each question before a second of any; swapped personas and "
            "option probabilities need no new prompt and use all pairs. Intervals and tests go by "
            "question; q within all changes of a metric on a split.",
        )
    if {*MAIN} & {*config.perturbations}:
        yield "Contamination probes", f"{HINT} {OWN_WORDS}"
