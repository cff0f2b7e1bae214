"""Title and caption of each figure, and the text that stands in for it."""

FIGURES: dict[str, tuple[str, str]] = {
    "accuracy": (
        "Accuracy",
        "Accuracy of each run by split: the share of pairs whose answer is the subgroup's modal "
        "answer. Ochre: noise ceiling. Pairs without a valid answer are left out; their share is "
        "beside the number.",
    ),
    "nmae": (
        "NMAE",
        "Normalised mean absolute error of each run by split, as a share of the scale: 0 is always "
        "the mode, lower is better. Ochre: noise ceiling.",
    ),
    "wasserstein": (
        "Wasserstein distance",
        "Wasserstein distance between a run's probabilities and the subgroup's answers, as a share "
        "of the scale, by split; lower is better. Ochre: noise ceiling.",
    ),
    "win_rates": (
        "Win rates of open-ended answers",
        "Win rate of each run against the judge's reference run: 0.5 is as good as the reference. "
        "Cross: the win rate at equal lengths. Flip rate: how often the verdict changed when the "
        "two answers swapped places. Grey marks are doubtful, by what annotators chose.",
    ),
    "diversity": (
        "Conflict between subgroups",
        "Modal Diversity Score and normalised Wasserstein distance between subgroups, by block of "
        "questions, most divided first. Grey bar: null of random subgroups, from its mean to its "
        "95th percentile. Filled marks are above it.",
    ),
    "fairness": (
        "Inequality against its null",
        "Norm.Range and CV of accuracy and NMAE over the subgroups. Grey bar: null of equal "
        "groups, from its mean to its 95th percentile. Filled marks are above it (by q); "
        "hollow ones are not shown to be, and the findings say how large a gap would have been.",
    ),
    "groups": (
        "Accuracy by group",
        "Accuracy for the groups of each axis on the test splits. Ochre: noise ceiling of the "
        "group.",
    ),
    "training": (
        "Training",
        "Each fine-tune by optimiser step: loss (faint: as logged; bold: rolling mean; dashed: "
        "running loss of the worst subgroup, where a recipe weighs subgroups by it) or reward of "
        "sampled replies, validation accuracy, gradient norm before clipping, and speed, as far as "
        "logged. Losses of different methods cannot be compared.",
    ),
}


OF_LANGUAGE_MODELS = {
    "accuracy": "Base and tuned variants of a model are joined. Dotted lines: baselines.",
    "groups": "Base against tuned.",
}
"""What a caption adds in a study that has language models."""


def caption_of(name: str, has_llms: bool) -> str:
    """The caption of a figure."""
    more = OF_LANGUAGE_MODELS.get(name) if has_llms else None
    return " ".join(filter(None, [FIGURES[name][1], more]))


def alternative(name: str, has_llms: bool) -> str:
    """Text that stands in for a figure."""
    title, caption = FIGURES[name][0], caption_of(name, has_llms)
    numbers = {
        "diversity": "the table of conflict scores by block",
        "fairness": "the table of inequality",
        "groups": "the table of scores by group",
        "training": "the training log in each adapter's folder",
        "win_rates": "the tables of verdicts",
    }.get(name, "the table of main results")
    return f"Figure: {title}. {caption} The numbers are in {numbers}."
