"""Title and caption of each figure, and the text that stands in for it."""

FIGURES: dict[str, tuple[str, str]] = {
    "accuracy": (
        "Accuracy",
        "Accuracy of each run by split: the share of pairs whose answer is the subgroup's modal "
        "answer. Pairs without a valid answer are left out; their share is beside the number. "
        "Ochre: the noise ceiling, the score of perfect knowledge.",
    ),
    "nmae": (
        "NMAE",
        "Normalised mean absolute error of each run by split, as a share of the scale: 0 is always "
        "the mode, lower is better.",
    ),
    "wasserstein": (
        "Wasserstein distance",
        "Wasserstein distance between a run's probabilities and the subgroup's answers, as a share "
        "of the scale, by split; lower is better.",
    ),
    "refusals": (
        "Refusals by topic",
        "The share of a block's pairs to which a run gave no answer: it refused, wrote something "
        "that cannot be read, or ran out of tokens. The topics with the most are on the left.",
    ),
    "plane": (
        "The fairness plane",
        "Inequality over subgroups of accuracy (across) and of NMAE (upward): 0 is equal. As "
        "observed, without sampling noise, and against the null of groups served alike.",
    ),
    "subgroups": (
        "Every subgroup and every run",
        "Accuracy and NMAE of each run (across) in each subgroup (down), from the best to the "
        "worst served.",
    ),
    "contrasts": (
        "Groups against the rest",
        "Accuracy in each group of an axis minus that in the axis' other groups, on the questions "
        "that both have: right of 0 a run serves the group better.",
    ),
    "win_rates": (
        "Win rates of open-ended answers",
        "Win rate of each run against the judge's reference run, on the same prompts and in both "
        "orders.",
    ),
    "diversity": (
        "Conflict between subgroups",
        "Modal Diversity Score and normalised Wasserstein distance between subgroups, by block of "
        "questions, most divided first. Marks: as observed; lines: without sampling noise.",
    ),
    "map": (
        "Map of disagreement",
        "Modal Diversity Score of every question (down) in every stratum (across), a panel a block "
        "of questions: 0 where all subgroups have the same modal answer, 1 where they are as "
        "divided as they can be.",
    ),
    "agreement": (
        "Do both conflict scores agree?",
        "Rank agreement of Modal Diversity Score and Wasserstein distance over questions, by "
        "stratum.",
    ),
    "fairness": (
        "Inequality against its null",
        "Norm.Range and CV of accuracy and NMAE over the subgroups, beside what groups give that "
        "are served equally. Marks: as observed; lines: without sampling noise.",
    ),
    "groups": (
        "Accuracy by group",
        "Accuracy for the groups of each axis on the test splits.",
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
    "accuracy": "A bar goes from a model's base to its fine-tune.",
    "plane": "An arrow goes from a model's base to its fine-tune; one that points left and up "
    "makes accuracy fairer and error less fair.",
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
        "plane": "the table of inequality",
        "contrasts": "the tables of differences between groups",
        "win_rates": "the tables of verdicts",
        "subgroups": "tables/groups.csv",
        "map": "tables/diversity.csv",
        "agreement": "the table of rank agreement",
    }.get(name, "the table of main results")
    return f"Figure: {title}. {caption} The numbers are in {numbers}."
