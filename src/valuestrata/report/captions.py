"""What the figures are called, what they show, and the text that stands in for each."""

FIGURES: dict[str, tuple[str, str]] = {
    "accuracy": (
        "Share of modal answers hit",
        "Accuracy of each run by split: the share of pairs whose answer is the subgroup's modal "
        "answer. Base and tuned variants of a model are joined; dotted lines carry the baselines "
        "through, the ochre line what perfect knowledge of every subgroup's answers would score. "
        "Pairs without a readable answer are left out, and their share is written beside.",
    ),
    "nmae": (
        "Distance from the modal answer",
        "Normalised mean absolute error of each run by split, as a share of the scale: 0 is always "
        "the mode, lower is better. The ochre line is what perfect knowledge would leave: labels "
        "come from a sample.",
    ),
    "wasserstein": (
        "Distance from the whole distribution",
        "Wasserstein distance between the run's probabilities and the subgroup's answers, as a "
        "share of the scale, by split; lower is better. The ochre line is what perfect knowledge "
        "would leave, as a sample is not all people.",
    ),
    "win_rates": (
        "Open-ended answers against the reference",
        "Win rate of each run against the judge's reference run: 0.5 means as good as it. The flip "
        "rate says how often the verdict changed when the two answers swapped places.",
    ),
    "diversity": (
        "Where subgroups disagree",
        "Modal Diversity Score and normalised Wasserstein distance between subgroups, by block of "
        "questions, from most to least divided. The grey bar runs from the mean to the 95th "
        "percentile of what they would be if membership in a subgroup meant nothing; filled marks "
        "lie beyond it.",
    ),
    "fairness": (
        "Inequality against its null",
        "Norm.Range and CV of accuracy and NMAE over the subgroups. The grey bar runs from the "
        "mean to the 95th percentile of what identical groups show by chance: a gap means nothing "
        "without it. Filled marks lie beyond chance, hollow ones do not.",
    ),
    "groups": (
        "Accuracy by group",
        "Accuracy for the groups of each axis on the test split, base against tuned, and what "
        "perfect knowledge of the group's answers would score (ochre).",
    ),
    "training": (
        "Training",
        "Each fine-tune by optimiser step: its loss (faint as logged, bold as a rolling mean; "
        "dashed the running loss of the worst subgroup, where a recipe weighs subgroups by it), "
        "or the reward of its own replies where it learns from those, its accuracy on pairs held "
        "back from training, the norm of its gradient before clipping, and its speed. Methods "
        "have losses of their own: compare courses, not two methods' levels. How far the logits "
        "moved says whether an adapter does anything at all.",
    ),
}


def alternative(name: str) -> str:
    """Text that stands in for a figure."""
    title, shows = FIGURES[name]
    where = {
        "diversity": "The numbers stand in the table of conflict scores by block.",
        "fairness": "The numbers stand in the table of inequality.",
        "groups": "The numbers stand in the table of scores by group.",
        "training": "The numbers stand in the training log beside each adapter.",
    }.get(name, "The numbers stand in the table of main results.")
    return f"Figure: {title}. {shows} {where}".strip()
