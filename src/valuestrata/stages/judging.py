"""What the stages that ask a judge share: its settings, what it is shown, and its verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.inference.backends import BACKENDS, LanguageModel
from valuestrata.inference.fill import Requests
from valuestrata.inference.protocol import Completion, Sampling
from valuestrata.prompting import judging
from valuestrata.prompting.judging import PairwiseComparison
from valuestrata.prompting.settings import rubric_id
from valuestrata.prompting.thinking import split_thought
from valuestrata.prompting.verdict_text import Shown
from valuestrata.prompting.verdicts import SCORES, Parser, Verdicts
from valuestrata.records import Record
from valuestrata.stages.job import Files, Job, at, several
from valuestrata.stages.models import (
    ask,
    loaded_model,
    note_failures,
    reply_cache,
)
from valuestrata.study.base import Part
from valuestrata.study.rubrics import CHOICES, Rubric, read_rubric, rubric_path
from valuestrata.study.study import Study
from valuestrata.tables import PAIR
from valuestrata.training.methods import load

PARSERS = {
    "lines": "valuestrata.prompting.verdicts:lines",
    "json": "valuestrata.prompting.verdicts:json_object",
    "brackets": "valuestrata.prompting.verdicts:brackets",
}
"""What reads verdicts, by its name in a study."""


class JudgeSettings(Part):
    """What a judge's verdicts depend on."""

    model: LanguageModel
    rubric: str
    max_new_tokens: int
    parser: Literal["lines", "json", "brackets"] = "lines"
    reason: bool = False
    constrained: bool = False
    temperature: float = 0.0
    seed: int = 1
    caveat: str


@dataclass(frozen=True)
class Judged:
    """A judge's reply to each comparison.

    Attributes:
        verdicts: score of the answer shown first on each dimension, None for no verdict.
        replies: what it wrote.
        version: of its model.
        notes: what was doubtful when it was loaded, and whether calls failed.
        record: of the job, with the calls that failed.
    """

    verdicts: list[Verdicts]
    replies: list[Completion]
    version: str
    notes: str
    record: Record


def judge_settings(study: Study, judge: str, models: Sequence[str]) -> dict[str, Any]:
    """Values of JudgeSettings; `models` are those that took part beside the judge."""
    config = study.judges[judge]
    names = ("max_new_tokens", "parser", "reason", "constrained", "temperature", "seed")
    return {
        "model": loaded_model(study, judge),
        "rubric": rubric_id(config.rubric),
        **{name: getattr(config, name) for name in names},
        "caveat": caveat(study, {judge, *models}),
    }


def caveat(study: Study, models: set[str]) -> str:
    """What verdicts say about the survey, and toys among judge, judged and reference."""
    toys = sum(map(study.is_toy, models))
    parts = [study.survey_caveat, "toy models" if toys > 1 else "toy model" if toys else ""]
    return ", ".join(filter(None, parts))


def judge_entries(settings: JudgeSettings) -> tuple[str, ...]:
    """The backend and the parser."""
    return (BACKENDS[settings.model.backend], PARSERS[settings.parser])


def shown_files(study: Study, rubric: str, splits: Sequence[str]) -> Files:
    """What is shown beside texts: the pairs, and survey answers if the rubric tells them."""
    files: dict[str, str | tuple[str, ...]] = {
        "pairs": tuple(at(study, paths.PAIRS, split=split) for split in splits)
    }
    if read_rubric(rubric_path(rubric)).shows_distribution:
        files["labels"] = tuple(at(study, paths.LABELS, split=split) for split in splits)
        files["questions"] = at(study, paths.QUESTIONS)
    return files


def read_shown(files: Files, rubric: Rubric) -> list[pd.DataFrame]:
    """Of each split the columns PAIR, persona and distribution ('' where nobody is told).

    Args:
        files: `shown_files`.
        rubric: whose words the distribution is put in.
    """
    frames = []
    asked: dict[str, str] = {}
    if "questions" in files:
        (path,) = several(files["questions"])
        questions = io.read_table(path, tables.QUESTIONS)
        asked = dict(zip(questions["question"], questions["text"], strict=True))
    pairs_of = several(files["pairs"])
    labels = several(files.get("labels", ())) or [""] * len(pairs_of)
    for path, answers in zip(pairs_of, labels, strict=True):
        pairs = io.read_table(path, tables.PAIRS)
        frame = pairs[[*PAIR, "persona"]].assign(distribution="")
        if answers:
            columns = [*PAIR, "distribution_unweighted"]
            counted = io.read_table(answers, tables.LABELS, columns)
            both = pairs.merge(counted, on=PAIR, how="left", validate="one_to_one")
            rows = io.records(both)
            frame["distribution"] = [_answers(rubric, row, asked) for row in rows]
        frames.append(frame)
    return frames


def _answers(rubric: Rubric, row: dict[str, Any], asked: dict[str, str]) -> str:
    """How a pair's subgroup answered, in the rubric's words."""
    codes, labels = row["codes"], row["labels"]
    names = [
        label if all(labels) else f"{code} ({label})" if label else str(code)
        for code, label in zip(codes, labels, strict=True)
    ]
    counts = [round(share * row["n"]) for share in row["distribution_unweighted"]]
    question = asked[row["question"]]
    return judging.distribution_lines(rubric, question, names, list(row["distribution"]), counts)


def ask_judge(
    job: Job[Any], rubric: Rubric, comparisons: Sequence[PairwiseComparison], stage: str
) -> Judged:
    """The judge's verdict on each comparison; only whole verdicts are cached."""
    settings, dimensions = job.settings, list(rubric.dimensions)
    parse = load(PARSERS[settings.parser])
    # a constrained verdict is asked for dimension by dimension
    each = dimensions if settings.constrained else [""]
    calls = [(comparison, name) for comparison in comparisons for name in each]

    def verdict(i: int, written: Completion) -> Verdicts:
        comparison, name = calls[i]
        if name:
            return {name: chosen_score(written)}
        return read_verdict(written, dimensions, parse, comparison, settings.seed)

    requests = Requests(
        messages=[
            judging.render_judge_prompt(rubric, comparison, settings.reason, settings.seed, name)
            for comparison, name in calls
        ],
        sampling=Sampling(settings.max_new_tokens, settings.temperature, settings.seed),
        should_cache=lambda i, written: None not in verdict(i, written).values(),
        options=[CHOICES] * len(calls) if settings.constrained else None,
        constrained=settings.constrained,
    )
    answers = ask(job, reply_cache(job, stage), requests)
    replies = [reply.written for reply in answers.replies]
    record, loaded = note_failures(job, answers.loaded, replies)
    verdicts = [verdict(i, written) for i, written in enumerate(replies)]
    n = len(each)
    parts = range(0, len(calls), n)
    return Judged(
        [{k: v for part in verdicts[i : i + n] for k, v in part.items()} for i in parts],
        [_joined(replies[i : i + n]) for i in parts],
        answers.version,
        str(loaded.columns["notes"]),
        record,
    )


def _joined(replies: Sequence[Completion]) -> Completion:
    """The replies to one comparison as one: without text where a call failed."""
    if len(replies) == 1:
        return replies[0]
    texts = [reply.text for reply in replies if reply.text is not None]
    reasons = [reply.finish_reason for reply in replies if reply.finish_reason != "stop"]
    text = "\n".join(texts) if len(texts) == len(replies) else None
    return Completion(text, next(iter(reasons), "stop"))


def chosen_score(written: Completion) -> float | None:
    """Score of the answer shown first, from a constrained reply; None for no verdict."""
    if written.text is None or written.is_refused or written.is_cut:
        return None
    return SCORES.get(split_thought(written.text).reply.strip())


def read_verdict(
    written: Completion,
    dimensions: Sequence[str],
    parse: Parser,
    comparison: PairwiseComparison,
    seed: int,
) -> Verdicts:
    """Score of the answer shown first on each dimension; None for no verdict.

    A thought holds none, nor does the last line of a reply that ended at its token limit, nor what
    a service withheld.
    """
    if written.text is None or written.is_refused:
        return dict.fromkeys(dimensions)
    reply = split_thought(written.text).reply
    whole = reply.rpartition("\n")[0] if written.is_cut else reply
    shown = Shown(comparison.marker(seed), (comparison.first, comparison.second))
    return parse(whole, dimensions, shown)
