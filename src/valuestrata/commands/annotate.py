"""Write a page on which people annotate a blind sample of judged text pairs, and its key."""

import argparse
from pathlib import Path

import pandas as pd

from valuestrata import io, paths
from valuestrata.annotation import cost, sample
from valuestrata.errors import InputError
from valuestrata.prompting import judging
from valuestrata.records import Record
from valuestrata.stages.annotation import Drawn, draw_sample, page_and_key, survey_answers
from valuestrata.stages.job import at
from valuestrata.stages.text_pairs import TextPairs
from valuestrata.study.load import load_files
from valuestrata.study.study import Study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which study, how many text pairs, and what they cost."""
    parser.add_argument(
        "files", nargs="*", default=["config.yaml"], help="study file and overlays (config.yaml)"
    )
    parser.add_argument("--judge", help="whose text pairs; needed where a study has several")
    parser.add_argument("--n", type=int, default=100, help="text pairs in the sample (100)")
    parser.add_argument("--seed", type=int, default=1, help="of the draw, and of what is A (1)")
    parser.add_argument("--annotators", type=int, default=2, help="how many people (2)")
    parser.add_argument(
        "--minutes", type=float, default=2.0, help="that one text pair takes a person (2)"
    )
    parser.add_argument("--wage", type=float, help="of a person's hour, for the cost")
    parser.add_argument(
        "--prices",
        type=float,
        nargs=2,
        metavar=("IN", "OUT"),
        help="of a million tokens that the judge reads and writes, for the cost",
    )
    parser.add_argument(
        "--kappa", type=float, default=0.55, help="expected, to plan the sample by (0.55)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write page and key beside each other; say what the sample costs and what it can show."""
    _check_numbers(arguments)
    study = load_files(arguments.files, Path(), files=False)
    judge = chosen_judge(study, arguments.judge)
    pairs = TextPairs.of_study(study, survey_answers(study, judge))
    drawn = draw_sample(pairs, judge, arguments.n, arguments.seed)
    html, key = page_and_key(pairs, drawn, judge, study.rubric(judge), arguments.minutes)
    page_path = at(study, paths.ANNOTATION_PAGE, sample=drawn.name)
    key_path = at(study, paths.ANNOTATION_KEY, sample=drawn.name)
    about = {"n": arguments.n, "seed": arguments.seed, "caveat": study.caveat}
    # the name is a digest of the content, so no other sample is overwritten
    io.write_json(key, key_path, Record("annotate", {"judge": judge}, about))
    io.write_text(html, page_path)
    print(_sizes(drawn))
    for line in _planning(study, judge, drawn, pairs.verdicts(judge), arguments):
        print(line)
    print(f"page for annotators: {page_path}")
    print(f"key, not for annotators: {key_path}")


def chosen_judge(study: Study, name: str | None) -> str:
    """The judge of a name, or a study's only one.

    Raises:
        InputError: there is none, or more than one and no name.
    """
    names = list(study.judges)
    if not names:
        raise InputError(f"{study.name}: has no judges, so there are no judged text pairs")
    if name is None and len(names) > 1:
        raise InputError(f"{study.name}: has the judges {', '.join(names)}; choose one by --judge")
    if name is not None and name not in names:
        raise InputError(f"--judge {name}: the judges of {study.name} are {', '.join(names)}")
    return name or names[0]


def _check_numbers(arguments: argparse.Namespace) -> None:
    for name in ("n", "annotators", "minutes"):
        if not getattr(arguments, name) > 0:
            raise InputError(f"--{name}: {getattr(arguments, name)} is not above 0")
    if arguments.seed < 0:
        raise InputError(f"--seed: {arguments.seed} is below 0")
    if not 0 <= arguments.kappa < 1:
        raise InputError(f"--kappa: {arguments.kappa} is not from 0 to below 1")
    amounts = [arguments.wage or 0, *(arguments.prices or ())]
    if not all(amount >= 0 for amount in amounts):
        raise InputError("--wage, --prices: amounts are not below 0")


def _sizes(drawn: Drawn) -> str:
    runs = len(drawn.items[sample.RUN].drop_duplicates())
    same = f" ({drawn.identical} with twice the same text left out)" if drawn.identical else ""
    return (
        f"{len(drawn.items)} of {drawn.available} text pairs{same}: {runs} runs, "
        f"{drawn.items['question'].nunique()} questions"
    )


def _planning(
    study: Study,
    judge: str,
    drawn: Drawn,
    verdicts: pd.DataFrame,
    arguments: argparse.Namespace,
) -> list[str]:
    """What the sample can show, and what people and judge cost."""
    n, level = len(drawn.items), study.evaluation.confidence_level
    plan = cost.plan(verdicts, n, arguments.kappa, level)
    rubric = judging.rubric(study.rubric(judge))
    tokens = study.judges[judge].max_new_tokens
    prices = tuple(arguments.prices) if arguments.prices else None
    around = judging.rubric_text(rubric)

    def people(pairs: int) -> str:
        return cost.people_line(pairs, arguments.annotators, arguments.minutes, arguments.wage)

    return [
        f"precision: a weighted kappa of {arguments.kappa:g} within +-{plan.half_width:.2f} "
        f"({100 * level:g}%)",
        "people: " + people(n),
        f"{judge}: " + cost.judge_line(drawn.items, around, tokens, prices),
        f"for +-{cost.HALF_WIDTH:g}: {plan.needed} text pairs, more where many are on one question"
        f" (this study has {drawn.available}), "
        f"{plan.needed * arguments.annotators * len(rubric.dimensions):,} choices; "
        + people(plan.needed),
    ]
