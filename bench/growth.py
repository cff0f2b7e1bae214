"""Modes and Wasserstein distances of a large cross-national file, in a process of its own.

Says what the whole process took, imports and reading among it: CPU seconds and peak memory.
"""

import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from valuestrata.survey import modal
from valuestrata.survey.conflict import mean_wasserstein
from valuestrata.survey.encoded import Ints, Scale, encode, scale_of
from valuestrata.survey.tally import Members, count_strata, strata_members, subgroup_groups

STEP = 32
"""Questions counted at a time."""
ROWS = 50_000
"""Respondents read at a time."""


def read(path: str, scale: Scale, axes: list[str]) -> tuple[pd.DataFrame, Ints]:
    """Weight and axes of everyone, and their encoded answers, [N, Q], a byte each."""
    source = pq.ParquetFile(path)
    answers = np.empty((source.metadata.num_rows, len(scale.questions)), dtype=np.int8)
    about, top = [], 0
    for batch in source.iter_batches(ROWS, use_threads=False):
        part = batch.to_pandas(types_mapper={pa.int16(): pd.Int16Dtype()}.get, use_threads=False)
        answers[top : top + len(part)] = encode(part, scale)
        about.append(part[["weight", *axes]].copy())
        top += len(part)
    return pd.concat(about, ignore_index=True), answers


def last_country(path: str | Path) -> pd.DataFrame:
    """The responses of the last country of the file, which is its last row group."""
    source = pq.ParquetFile(path)
    table = source.read_row_group(source.num_row_groups - 1)
    return table.to_pandas(types_mapper={pa.int16(): pd.Int16Dtype()}.get)


def scores(
    people: pd.DataFrame,
    answers: Ints,
    questions: pd.DataFrame,
    strata: list[list[str]],
    groups: dict[str, list[str]],
    min_n: int,
) -> Iterator[tuple[Members, np.ndarray, np.ndarray]]:
    """Per stratum: its subgroups, [S, Q] modal codes, [country, Q] mean distance.

    A country is an axis: each stratum is crossed with it, and distances are within countries.
    """
    countries = groups["country"]
    members = strata_members(people, [["country", *axes] for axes in strata], groups, min_n)
    weight = people["weight"].to_numpy(dtype=np.float64)
    modes = [np.empty((stratum.size, len(questions)), dtype=np.int16) for stratum in members]
    distance = [np.empty((len(countries), len(questions))) for _ in members]
    places = [_places(stratum.names, countries) for stratum in members]
    for start in range(0, len(questions), STEP):
        columns = slice(start, start + STEP)
        scale = scale_of(questions.iloc[columns])
        width = scale.codes.shape[1]
        part = np.ascontiguousarray(answers[:, columns])
        heads = count_strata(part, members, width)
        sums = count_strata(part, members, width, weight)
        for i, (country, rank) in enumerate(places):
            mode = modal.modes(heads[i])
            modes[i][:, columns] = scale.codes[np.arange(len(scale.questions)), mode]
            enough = heads[i].sum(axis=-1) >= min_n
            # [country, S, Q, C]: a country with fewer subgroups has empty ones
            block = np.zeros((len(countries), rank.max(initial=0) + 1, *sums[i].shape[1:]))
            block[country, rank] = np.where(enough[..., None], sums[i], 0.0)
            everyone = np.ones(block.shape[1:3], dtype=bool)
            distance[i][:, columns] = mean_wasserstein(block, everyone, scale)
    yield from zip(members, modes, distance, strict=True)


def _places(names: tuple[str, ...], countries: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Country of each subgroup and its rank within it; names are ordered by country."""
    place = {country: i for i, country in enumerate(countries)}
    of = np.array([place[subgroup_groups(name)["country"]] for name in names], dtype=np.intp)
    return of, np.arange(len(of)) - np.searchsorted(of, of)


def main(path: str, about: str, output: str) -> None:
    """Run over a parquet file; `about` is a json file with questions, strata and groups."""
    with open(about, encoding="utf-8") as stream:
        work = json.load(stream)
    questions = pd.DataFrame(work["questions"])
    people, answers = read(path, scale_of(questions), list(work["groups"]))
    scored = list(scores(people, answers, questions, work["strata"], work["groups"], work["min_n"]))
    used = resource.getrusage(resource.RUSAGE_SELF)
    result = {
        "cpu_s": time.process_time(),
        "peak_mb": used.ru_maxrss / 1024,  # Linux says kibibytes
        "respondents": len(people),
        "subgroups": sum(members.size for members, _, _ in scored),
    }
    np.savez(
        output,
        **{f"modes_{i}": modes for i, (_, modes, _) in enumerate(scored)},
        **{f"distance_{i}": distance for i, (_, _, distance) in enumerate(scored)},
        **{f"names_{i}": np.array(members.names) for i, (members, _, _) in enumerate(scored)},
    )
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
