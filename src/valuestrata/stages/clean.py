"""Read a survey into responses and questions."""

import argparse
import dataclasses
import logging

import pandas as pd

from valuestrata import io
from valuestrata.specs import Clean, from_json
from valuestrata.survey import codebook, readers

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--survey", required=True)
    parser.add_argument("--codebook", required=True)
    parser.add_argument("--responses", required=True)
    parser.add_argument("--questions", required=True)
    parser.add_argument("--groups", required=True)


def run(arguments: argparse.Namespace) -> None:
    """Read, clean, and write both tables and the axes' groups.

    Respondents' rows are readable by their owner alone.
    """
    spec = from_json(Clean, arguments.spec)
    asked = codebook.select(codebook.load(arguments.codebook), spec.questions, spec.exclude)
    chosen = [codebook.recoded(q, _codes(spec.recode.get(q.question, {}))) for q in asked]
    labels = codebook.columns(arguments.codebook)
    responses, found = readers.read_survey(arguments.survey, spec, chosen, labels)
    readers.check(responses, spec, arguments.survey)
    questions = pd.DataFrame([_row(responses, question) for question in chosen])
    log.info("%d respondents, %d questions", len(responses), len(questions))
    for question in questions[questions["n"] == 0]["question"]:
        log.warning("question %s has no valid answer", question)
    io.write_table(responses, arguments.responses, "responses", spec.caveat, io.PRIVATE)
    for axis in (name for name, axis in spec.axes.items() if axis.found):
        shown = ", ".join(f"{group.label} {group.n}" for group in found.axes[axis])
        log.info("axis %s: found %s", axis, shown)
    io.write_table(questions, arguments.questions, "questions", spec.caveat)
    io.write_json(dataclasses.asdict(found), arguments.groups)


def _codes(recode: dict[str, int | None]) -> dict[int, int | None]:
    return {int(code): new for code, new in recode.items()}


def _row(responses: pd.DataFrame, question: codebook.Question) -> dict[str, object]:
    codes, labels = readers.observed(responses, question)
    off = [c for c in codes if not question.scale_min <= c <= question.scale_max]
    undeclared = sorted(set(off) - set(question.extra))
    if undeclared:
        log.warning("question %s: codes %s are off its scale; kept", question.question, undeclared)
    answered = int(responses[question.question].notna().sum())
    return {
        "question": question.question,
        "topic": question.topic,
        "text": question.text,
        "block": question.block,
        "measurement_level": question.measurement_level,
        "scale_min": question.scale_min,
        "scale_max": question.scale_max,
        "codes": codes,
        "labels": labels,
        "n": answered,
        "missing": len(responses) - answered,
    }
