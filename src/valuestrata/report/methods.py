"""The page's Methods, made from the study's settings: what it does, and nothing else. Pure."""

from collections.abc import Iterator

from valuestrata.metrics.length_control import MIN_COMPARISONS as LENGTH_MIN
from valuestrata.metrics.resample import FEW_CLUSTERS, FEW_EXCEPTIONS
from valuestrata.report.perturbation_tables import perturbation_methods
from valuestrata.report.phrases import listed, plural, sentence
from valuestrata.report.prompt_sensitivity import rule_text
from valuestrata.report.results import stratum_label
from valuestrata.report.runs import all_runs, llm_runs, prompt_variant_runs, tuned_runs
from valuestrata.report.settings import ReportSettings
from valuestrata.report.win_rate_tables import MIN_COMPARISONS, MIN_QUESTIONS
from valuestrata.study.judges import Generation
from valuestrata.study.splits import Fold, Selection, Split

Method = tuple[str, str]
"""A term and what it means in this study."""

RULES = {
    "uniform": "the middle code of the scale, every code as likely",
    "national_mode": "the modal answer of everyone outside the subgroup",
    "first_axis": "the answers of the subgroup's group on the first axis of its stratum",
    "second_axis": "the answers of the subgroup's group on the second axis of its stratum",
    "axis_mode": "the mode of the mean of the distributions of the subgroup's groups, one an axis",
    "best_axis": "the axis that predicts the stratum's other subgroups best on the question",
    "additive": "a logistic model with an effect for each group of each axis, no interactions",
    "partial_pooling": "a logistic model with effects of groups and of pairs of groups of two "
    "axes, the latter under a penalty chosen by cross-validation (multilevel regression and "
    "poststratification)",
    "nearest": "the five nearest other subgroups of the stratum",
}
PERSONAS = {
    "second": "in the second person (You are a person ...)",
    "third": "in the third person (Think of a person ...)",
    "list": "as a list of attributes",
}
OPTIONS = {
    "asked": "in the survey's order",
    "reversed": "in reversed order",
    "shuffled": "in an order drawn for each question",
}


def methods(settings: ReportSettings) -> list[Method]:
    """Terms and texts of the Methods section."""
    has_llms = bool(llm_runs(settings))
    return [
        *_data(settings),
        *(_prompts(settings) if has_llms else ()),
        *perturbation_methods(settings),
        *_metrics(settings),
        *_inequality(settings),
        *(_open_ended(settings.generation) if settings.generation and has_llms else ()),
        *(_judging() if settings.judges else ()),
        *_baselines(settings),
        *_statistics(settings),
    ]


def _data(settings: ReportSettings) -> Iterator[Method]:
    mode, distribution = settings.labels.mode, settings.labels.distribution
    weights = "" if settings.has_weights else " All respondents weigh the same."
    yield (
        "Labels",
        f"A pair is a subgroup and a question; its label is the subgroup's modal answer, {mode}. A "
        f"tie goes to the lowest code. Distributions are {distribution}.{weights}",
    )
    yield (
        "Minimum sizes",
        f"A subgroup has at least {plural(settings.min_subgroup_n, 'respondent')}, a pair at least "
        f"{plural(settings.min_pair_n, 'valid answer')}, both unweighted.",
    )
    splits = "; ".join(
        split_text(name, split, settings.strata[name])
        for name, split in settings.split_rules.items()
    )
    tuned = " No variant is tested on a pair that it was tuned on." if tuned_runs(settings) else ""
    yield "Splits", f"{splits}.{tuned}"


def split_text(name: str, split: Split, strata: tuple[str, ...]) -> str:
    """A split in words: its role, its strata, and what of them it keeps."""
    parts = [f"{name} ({split.role}): {', '.join(map(stratum_label, strata))}"]
    if split.questions:
        parts.append(f"questions {_selection(split.questions)}")
    parts += [f"{axis} {_selection(kept)}" for axis, kept in split.groups.items()]
    if isinstance(split.fold, Fold):
        parts.append(f"{len(split.fold.parts())} of {split.fold.of} parts by {split.fold.unit}")
    if split.folds:
        parts.append(f"{split.folds.of}-fold cross-validation by {split.folds.unit}")
    return ", ".join(parts)


def _selection(selection: Selection) -> str:
    if selection.only is not None:
        return f"only {listed(selection.only)}"
    return f"without {listed(selection.without)}"


def _prompts(settings: ReportSettings) -> Iterator[Method]:
    prompt = settings.prompt
    yield (
        "Prompt",
        f"Template {prompt.template}, the persona {PERSONAS[prompt.persona]}, options "
        f"{OPTIONS[prompt.options]}.",
    )
    if prompt_variant_runs(settings):
        variants = (f"{name} ({rule_text(rule)})" for name, rule in settings.prompt_rules.items())
        tuned = " Models are tuned in the study's prompt." if tuned_runs(settings) else ""
        yield "Prompt variants", f"{sentence(', '.join(variants))}{tuned}"
        yield (
            "Disagreement rate (share of pairs)",
            "Pairs with another answer than in the study's prompt, of those answered in both.",
        )


def _metrics(settings: ReportSettings) -> Iterator[Method]:
    mode, distribution = settings.labels.mode, settings.labels.distribution
    has_llms = bool(llm_runs(settings))
    refusals = " A refusal does not leave a pair out, as probabilities are enough."
    yield (
        "Accuracy (share of pairs, 0 to 1)",
        f"Pairs whose answer is the subgroup's modal answer ({mode}). Pairs without a valid answer "
        "are left out.",
    )
    yield (
        "NMAE, normalised mean absolute error (share of the scale)",
        "Mean of |answer − mode| / (highest − lowest code), over questions with an ordered scale.",
    )
    yield (
        "Wasserstein distance (share of the scale, 0 to 1)",
        "Between the run's probabilities over the answers and the subgroup's distribution "
        f"({distribution}), over questions with an ordered scale.{refusals if has_llms else ''}",
    )
    yield (
        "Total variation (0 to 1), Jensen-Shannon divergence (bits, 0 to 1)",
        "Between the same two distributions, without the order of the answers.",
    )
    if has_llms:
        yield (
            "Argmax accuracy, confidence, non-option mass (0 to 1)",
            "Accuracy of the likeliest option; its probability; and the probability of replies "
            "that are no option.",
        )
    else:
        yield (
            "Argmax accuracy, confidence (0 to 1)",
            "Accuracy of the likeliest option, and its probability.",
        )
    yield (
        "Calibration error (0 to 1)",
        "Expected calibration error of the likeliest option in ten bins of equal width. Its "
        "interval is corrected for bias, as noise raises it.",
    )
    if has_llms:
        yield (
            "Refusals, invalid, ran out of tokens, failed (share of pairs)",
            "The text declined to answer; held no valid answer; ended at its limit before there "
            "was one, or within a thought; or never came. Texts of up to "
            f"{plural(settings.prediction.max_new_tokens, 'token')} are read, and of them what "
            "follows the last end of a thought.",
        )
    if has_llms and settings.prediction.constrained:
        yield (
            "Constrained answers",
            "Texts are limited to the options: at each token the likeliest one that still leads to "
            "an option, or a service's structured output. A local model cannot refuse, and no "
            "answer is invalid, so these rates say nothing about the models.",
        )
    yield (
        "Missing",
        "Pairs that were asked but have no value. They are left out, not counted as wrong. Paired "
        "differences use only the pairs for which both runs have a value.",
    )


def _inequality(settings: ReportSettings) -> Iterator[Method]:
    n = f"{settings.evaluation.n_resamples:,}"
    yield (
        "MDS, Modal Diversity Score (0 to 1)",
        "Entropy of the subgroups' modes in a stratum, −Σ p log₂ p, over log₂ of the smaller of "
        "the number of subgroups and of answers; averaged over strata, then over a block's "
        "questions. 0: all subgroups share a mode.",
    )
    yield (
        "Null of random subgroups",
        f"Respondents are permuted among the subgroups of all strata, {n} times, with their "
        "answers, gaps and weights. p is the share of permutations, the observed one included, "
        "with a score at least as high.",
    )
    yield (
        "Conflict without sampling noise",
        "Modes and shares of small samples differ more than those of all their people. True shares "
        "are drawn by partial pooling within a stratum, and samples from them with the errors of "
        "bootstrapped respondents; the size of the true differences is the one at which samples "
        "show what was observed.",
    )
    yield (
        "Rank agreement (−1 to 1)",
        "Spearman's ρ and Kendall's τ-b between Modal Diversity Score and Wasserstein distance "
        "over questions; questions are resampled.",
    )
    yield (
        "Norm.Range and CV",
        "Over the groups' means: (highest − lowest) / highest, and standard deviation / mean. Both "
        "depend on the mean: the same gap counts for more where the mean is low.",
    )
    yield (
        "Null of equal groups",
        f"Whole questions change the sign of the groups' deviations from each other, {n} times "
        "(all patterns where there are fewer), so groups that share respondents move together. p "
        "is the share of patterns, the observed one included, that reach the observed value; ± is "
        "its Monte Carlo error, given where another seed might decide otherwise.",
    )
    yield (
        "Inequality without sampling noise",
        "Standard deviation and CV: the observed variance less the sampling variance over "
        "questions (Lum, Zhang and Bower 2022), the interval by inverting its test. Norm.Range: "
        "median of draws of the groups' true scores; its interval holds for any pattern of groups "
        "and is wide.",
    )
    yield (
        "Net SD",
        "Labels of small groups are noisier, so a model that knows every population's modal answer "
        "scores unequally, too (of perfect knowledge). Each score less what such a model would "
        "reach is compared between groups: p is that of groups served equally given what is "
        "reachable.",
    )


def _open_ended(generation: Generation) -> Iterator[Method]:
    sampling = "greedily"
    if generation.temperature:
        sampling = f"at temperature {generation.temperature:g}"
    wordings = f"the wording {listed(generation.wordings)}"
    if len(generation.wordings) > 1:
        wordings = f"one of the wordings {listed(generation.wordings)}, drawn for each question"
    yield (
        "Open-ended answers",
        f"Written {sampling} on {listed(generation.splits)}, {_drawn(generation)}, the same for "
        f"every run, in {wordings}, up to {generation.max_new_tokens} tokens. Thoughts are left "
        "out of the texts. A text that declines to answer is a refusal; one that declines and "
        "then answers in the persona's voice is an answer that declines in part.",
    )


def _drawn(generation: Generation) -> str:
    """Which pairs are asked, in words."""
    n, most = generation.per_subgroup, generation.per_block
    if n == "all" and most is None:
        return "on all pairs"
    drawn = "all questions" if n == "all" else plural(n, "question")
    limit = f" with at most {most} of a block" if most is not None else ""
    thirds = ", drawn in turn from the third of highest, of lowest and of middle MDS"
    return f"{drawn} a subgroup{limit}{thirds if generation.stratify_by == 'mds' else ''}"


def _judging() -> Iterator[Method]:
    yield (
        "Win rate (0 to 1)",
        "Each pair of answers is judged twice, in both orders; a comparison's score is the mean of "
        "both, 1 for better than the reference, 0.5 for as good, 0 for worse, and a win rate the "
        "mean score. Comparisons without a verdict in either order are left out and counted.",
    )
    yield (
        "Position bias, flips and ties",
        "Position bias: mean score of a run's answers shown first, minus that of the same answers "
        "shown second, paired; 0 for a judge whom the order does not move, 1 for one who always "
        "prefers the first. Flips: share of comparisons in which the order changed the verdict. "
        "Ties: share of single verdicts that are a tie.",
    )
    yield (
        "Length-controlled win rate (0 to 1)",
        "The estimator of AlpacaEval 2: a logistic regression of scores on tanh of the difference "
        "in characters over its standard deviation, on the difficulty of the prompt and on a "
        "constant, predicted at equal lengths. Difficulty is estimated from the study's other runs "
        f"on the same prompt. No value below {LENGTH_MIN} comparisons; its interval is about "
        "±1/√n wide.",
    )
    yield (
        "Intervals and tests of verdicts",
        "Questions are clusters: standard errors of the jackknife over questions (of the clustered "
        "sandwich for length control), Student's t on the logit scale. They hold for three "
        "questions and more; with fewer there is none. Findings speak of runs with at least "
        f"{MIN_COMPARISONS} comparisons on {MIN_QUESTIONS} questions.",
    )


def _baselines(settings: ReportSettings) -> Iterator[Method]:
    if settings.baselines:
        rules = "; ".join(f"{name}: {RULES[rule]}" for name, rule in settings.rules.items())
        yield (
            "Baselines",
            f"Rules without a language model. {rules}. All are cross-fitted: a subgroup's own "
            "respondents are left out of its prediction.",
        )
    yield (
        "Noise ceiling",
        "The score of a model that knows the distribution of every subgroup's population. Labels "
        "come from a sample, so it is not a perfect score. Estimated by the parametric bootstrap: "
        "the observed unweighted shares are taken for the population's, samples of the subgroup's "
        "size are drawn, and the observed mode and shares are scored against each; a little high "
        "for the smallest subgroups.",
    )
    yield (
        "Split-half",
        "How well a random half of a subgroup's respondents predicts the other half. Halves are "
        "smaller than subgroups, so a run that pools many people can exceed it.",
    )
    if settings.persona_agnostic:
        names = listed(settings.persona_agnostic)
        best = "the best of " if len(settings.persona_agnostic) > 1 else ""
        yield (
            "Normalized gain (0% to 100%)",
            "(run − baseline) / (noise ceiling − baseline), over the pairs for which all three "
            f"have a value. The baseline is {best}the persona-agnostic {names}. No value is given "
            "where baseline and noise ceiling are not clearly apart.",
        )


def _groups(settings: ReportSettings) -> Iterator[Method]:
    """How groups are compared with each other, and what a study can find."""
    yield (
        "Group against group",
        "A group minus the rest of its axis, within each question that both have, by Student's t "
        "over questions. Net: less what perfect knowledge of each subgroup would score. A "
        "subgroup's rest is the rest of its stratum.",
    )
    yield (
        "Smallest gap",
        "The true difference that 80% of studies like this would find: (t of the test + t of the "
        "power) standard errors, the test's level divided by the tests of its family. What is not "
        "shown may be anything below it.",
    )
    if tuned_runs(settings):
        yield (
            "Change of inequality",
            "On the pairs that base and fine-tune both answered, with sampling noise taken off; "
            "tested by a jackknife over questions. The paradox needs both changes at once: the "
            "larger of the two one-sided p (intersection-union test).",
        )


def _statistics(settings: ReportSettings) -> Iterator[Method]:
    evaluation = settings.evaluation
    n = f"{evaluation.n_resamples:,}"
    yield (
        "Intervals",
        f"{100 * evaluation.confidence_level:g}%, bootstrap with {n} resamples (seed "
        f"{evaluation.seed}) of whole questions, as answers of different subgroups to one question "
        f"share respondents. Over fewer than {FEW_CLUSTERS} questions: t intervals with the "
        "questions' standard error. Rates over so few, or with hits or misses in fewer than "
        f"{FEW_EXCEPTIONS} questions ({2 * FEW_EXCEPTIONS} for rates near 0 or 1): the binomial "
        "interval for as many trials as the questions are worth (Korn and Graubard 1998).",
    )
    if tuned_runs(settings) or (settings.baselines and len(all_runs(settings)) > 1):
        yield (
            "Paired test",
            "Sign-flip test over whole questions, exact where scores are counts or errors in steps "
            f"of a scale, else {n} permutations: the smallest p is then "
            f"{1 / (1 + evaluation.n_resamples):.2g}. Calibration errors are tested by swapping "
            "the runs within questions.",
        )
        yield (
            "q-values",
            "p-values after Benjamini and Hochberg, within families of tests that answer one "
            f"question for one metric on one split: {'tuning, ' if tuned_runs(settings) else ''}"
            "baselines, inequality over subgroups, inequality by axis, the questions. Sentences "
            "and filled marks go by q.",
        )
    yield from _groups(settings)
