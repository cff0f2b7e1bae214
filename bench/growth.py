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

from valuestrata.survey import diversity, modal, tally

STEP = 32
"""Questions counted at a time."""
ROWS = 50_000
"""Respondents read at a time."""


def read(path: str, scale: tally.Scale, axes: list[str]) -> tuple[pd.DataFrame, tally.Ints]:
    """Weight and axes of everyone, and their encoded answers, [N, Q], a byte each."""
    source = pq.ParquetFile(path)
    encoded = np.empty((source.metadata.num_rows, len(scale.questions)), dtype=np.int8)
    about, top = [], 0
    for batch in source.iter_batches(ROWS, use_threads=False):
        part = batch.to_pandas(types_mapper={pa.int16(): pd.Int16Dtype()}.get, use_threads=False)
        encoded[top : top + len(part)] = tally.encode(part, scale)
        about.append(part[["weight", *axes]].copy())
        top += len(part)
    return pd.concat(about, ignore_index=True), encoded


def last_country(path: str | Path) -> pd.DataFrame:
    """The responses of the last country of the file, which is its last row group."""
    source = pq.ParquetFile(path)
    table = source.read_row_group(source.num_row_groups - 1)
    return table.to_pandas(types_mapper={pa.int16(): pd.Int16Dtype()}.get)


def scores(
    about: pd.DataFrame,
    encoded: tally.Ints,
    questions: pd.DataFrame,
    strata: list[list[str]],
    groups: dict[str, list[str]],
    minimum: int,
) -> Iterator[tuple[list[str], np.ndarray, np.ndarray]]:
    """Per stratum: names of the subgroups, [S, Q] modal codes, [country, Q] mean distance.

    A country is an axis: each stratum is crossed with it, and distances are within countries.
    """
    countries = groups["country"]
    found = tally.members_of(about, [["country", *axes] for axes in strata], groups, minimum)
    cells, sizes = [cell for _, cell in found], [len(names) for names, _ in found]
    weight = about["weight"].to_numpy(dtype=np.float64)
    modes = [np.empty((size, len(questions)), dtype=np.int16) for size in sizes]
    distance = [np.empty((len(countries), len(questions))) for _ in sizes]
    places = [_places(names, countries) for names, _ in found]
    for start in range(0, len(questions), STEP):
        own = slice(start, start + STEP)
        scale = tally.scale_of(questions.iloc[own])
        width = scale.codes.shape[1]
        part = np.ascontiguousarray(encoded[:, own])
        heads = tally.count_strata(part, cells, sizes, width)
        sums = tally.count_strata(part, cells, sizes, width, weight)
        for i, (country, rank) in enumerate(places):
            mode = modal.modes(heads[i])
            modes[i][:, own] = scale.codes[np.arange(len(scale.questions)), mode]
            enough = heads[i].sum(axis=-1) >= minimum
            # [country, S, Q, C]: a country with fewer subgroups has empty ones
            block = np.zeros((len(countries), rank.max(initial=0) + 1, *sums[i].shape[1:]))
            block[country, rank] = np.where(enough[..., None], sums[i], 0.0)
            all_here = np.ones(block.shape[1:3], dtype=bool)
            distance[i][:, own] = diversity.mean_wasserstein(block, all_here, scale)
    for i, (names, _) in enumerate(found):
        yield names, modes[i], distance[i]


def _places(names: list[str], countries: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Country of each subgroup and its rank within it; names are ordered by country."""
    place = {country: i for i, country in enumerate(countries)}
    of = np.array([place[tally.subgroup_groups(name)["country"]] for name in names], dtype=np.intp)
    return of, np.arange(len(of)) - np.searchsorted(of, of)


def main(path: str, about: str, output: str) -> None:
    """Run over a parquet file; `about` is a json file with questions, strata and groups."""
    with open(about, encoding="utf-8") as stream:
        said = json.load(stream)
    questions = pd.DataFrame(said["questions"])
    axes = list(said["groups"])
    people, encoded = read(path, tally.scale_of(questions), axes)
    found = list(
        scores(people, encoded, questions, said["strata"], said["groups"], said["minimum"])
    )
    used = resource.getrusage(resource.RUSAGE_SELF)
    result = {
        "cpu_s": time.process_time(),
        "peak_mb": used.ru_maxrss / 1024,  # Linux says kibibytes
        "respondents": len(people),
        "subgroups": sum(len(names) for names, _, _ in found),
    }
    np.savez(
        output,
        **{f"modes_{i}": modes for i, (_, modes, _) in enumerate(found)},
        **{f"distance_{i}": distance for i, (_, _, distance) in enumerate(found)},
        **{f"names_{i}": np.array(names) for i, (names, _, _) in enumerate(found)},
    )
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
