"""Label the (subgroup, question) pairs of a split and word their prompts."""

import argparse
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valuestrata import io
from valuestrata.errors import InputError
from valuestrata.prompting import prompts
from valuestrata.specs import Pairs, Selection, from_dict, from_json
from valuestrata.survey import folds, modal, tally
from valuestrata.survey.groups import Groups

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--tallies", required=True, nargs="+")
    parser.add_argument("--questions", required=True)
    parser.add_argument("--groups", required=True)
    parser.add_argument("--output", required=True)


def run(arguments: argparse.Namespace) -> None:
    """Write one row for each subgroup and question with enough valid answers."""
    spec = from_json(Pairs, arguments.spec)
    questions = io.read_table(arguments.questions, "questions")
    scale = tally.scale_of(questions)
    counted = tally.from_frame(io.read_table(arguments.tallies, "tally"), scale)
    found = from_dict(Groups, io.read_json(arguments.groups))
    _check_names(spec, found)
    answers = counted.counts.sum(axis=-1)
    enough = (answers >= spec.minimum) & _kept(spec, counted.subgroups, scale.questions)
    s, q = np.nonzero(enough & _folded(spec, counted.subgroups, scale.questions))
    if enough.any() and not len(s):
        raise InputError(
            f"{arguments.output}: none of the split's {int(enough.sum())} pairs falls in the parts "
            "that its fold keeps; cut fewer parts, by another unit or by another seed"
        )
    if not len(s):
        raise InputError(
            f"{arguments.output}: no subgroup of the split has {spec.minimum} valid answers to any "
            "of its questions; lower minimum.answers and minimum.respondents, merge groups, or "
            "look at the split's questions and groups"
        )
    sums = {"unweighted": counted.counts, "weighted": modal.comparable(counted.weighted)}
    mode = modal.modes(sums[spec.labels.mode])
    tied = modal.tied(sums[spec.labels.mode])
    share = modal.shares(sums[spec.labels.distribution])
    about = questions.iloc[q].reset_index(drop=True)
    personas = [
        prompts.persona(*found.persona_phrase(spec.prompt, tally.subgroup_groups(name)))
        for name in counted.subgroups
    ]
    asked = [_asked(spec, row) for row in io.records(questions)]
    closed = [
        prompts.messages(spec.prompt, personas[i], asked[j]) for i, j in zip(s, q, strict=True)
    ]
    open_ended = [prompts.open_ended(spec.prompt, text) for text in questions["text"]]
    frame = pd.DataFrame(
        {
            "stratum": np.asarray(counted.strata, dtype=object)[s],
            "subgroup": np.asarray(counted.subgroups, dtype=object)[s],
            "question": about["question"],
            "block": about["block"],
            "measurement_level": about["measurement_level"],
            "scale_min": about["scale_min"],
            "scale_max": about["scale_max"],
            "mode": scale.codes[q, mode[s, q]],
            "tied": tied[s, q],
            "codes": list(about["codes"]),
            "distribution": [share[i, j, scale.real[j]] for i, j in zip(s, q, strict=True)],
            "n": answers[s, q].astype(np.int64),
            "respondents": counted.respondents[s],
            "persona": [first for first, _ in closed],
            "closed_prompt": [second for _, second in closed],
            "open_prompt": np.asarray(open_ended, dtype=object)[q],
        }
    )
    log.info("%d pairs of %d subgroups", len(frame), len(counted.subgroups))
    io.write_table(frame, arguments.output, "pairs", spec.caveat)


def _kept(spec: Pairs, subgroups: Sequence[str], questions: Sequence[str]) -> NDArray[np.bool_]:
    """[S, Q] whether the split's questions and groups keep a pair."""
    anyone = Selection()
    of_subgroup = [
        all(spec.groups.get(axis, anyone).keeps(group) for axis, group in groups.items())
        for groups in map(tally.subgroup_groups, subgroups)
    ]
    of_question = [spec.questions.keeps(question) for question in questions]
    return np.outer(of_subgroup, of_question)


def _folded(spec: Pairs, subgroups: Sequence[str], questions: Sequence[str]) -> NDArray[np.bool_]:
    """[S, Q] whether the split's fold keeps a pair."""
    if spec.fold is None:
        return np.ones((len(subgroups), len(questions)), dtype=bool)
    return folds.kept(spec.fold, subgroups, questions)


def _check_names(spec: Pairs, found: Groups) -> None:
    """Refuse a selection by a group that the survey does not have."""
    for axis, selection in spec.groups.items():
        known = found.labels()[axis]
        for name in (*(selection.only or ()), *selection.without):
            if name not in known:
                raise InputError(
                    f"config: splits: groups.{axis}: the survey has no group {name!r}; "
                    f"it has {', '.join(known)}"
                )


def _asked(spec: Pairs, row: dict[str, Any]) -> str:
    codes, labels = [int(c) for c in row["codes"]], list(row["labels"])
    ends = (int(row["scale_min"]), int(row["scale_max"]))
    return prompts.render_question(spec.prompt, row["text"], codes, labels, ends)
