"""Tallies of resampled respondents: the bootstrap, and permutations where subgroups mean nothing.

Symbols: B resamples, N respondents, S subgroups, Q questions, C codes.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from valuestrata.survey.encoded import EncodedSurvey, Floats, Ints
from valuestrata.survey.tally import Members, finest_cells


def respondent_draws(respondents: int, resamples: int, seed: int) -> NDArray[np.float32]:
    """[B, N] how often each respondent is drawn in each bootstrap resample; rows sum to N.

    All strata share the draws: the same people stand in several of them.
    """
    rng = np.random.default_rng(seed)
    share = np.full(respondents, 1 / respondents)
    return rng.multinomial(respondents, share, size=resamples).astype(np.float32)


def resampled_counts(
    survey: EncodedSurvey, subgroups: Members, draws: NDArray[np.float32], slab: int = 64
) -> Iterator[tuple[Floats, Floats]]:
    """Tallies of bootstrap resamples, a slab of resamples at a time.

    Each is a product of draws [B, n] with one-hot answers [n, Q*C]; no respondent is visited twice.

    Args:
        survey: what is resampled.
        subgroups: of one stratum.
        draws: [B, N] how often each respondent is drawn.
        slab: resamples at a time.

    Yields:
        counts and weighted counts, each [B, S, Q, C].
    """
    questions, width, size = survey.answers.shape[1], survey.width, subgroups.size
    hot = _one_hot(survey.answers, width)
    rows = [np.flatnonzero(subgroups.cell == s) for s in range(size)]
    answers = [hot[row] for row in rows]
    weights = survey.weight.astype(np.float32)
    for start in range(0, len(draws), slab):
        part = draws[start : start + slab]
        heads = np.empty((len(part), size, questions * width), dtype=np.float32)
        sums = np.empty_like(heads)
        for s, row in enumerate(rows):
            drawn = part[:, row]
            heads[:, s] = drawn @ answers[s]
            sums[:, s] = (drawn * weights[row]) @ answers[s]
        shape = (len(part), size, questions, width)
        yield heads.reshape(shape).astype(np.float64), sums.reshape(shape).astype(np.float64)


def permuted_counts(
    survey: EncodedSurvey,
    strata: Sequence[Members],
    permutations: int,
    seed: int,
    slab: int = 16,
    block: Ints | None = None,
) -> Iterator[list[tuple[Floats, Floats]]]:
    """Tallies of all strata if subgroups meant nothing, a slab of permutations at a time.

    Respondents change places: each is dealt another one's subgroups, of all strata at once, and
    brings along answers, gaps and weight. So subgroups keep their sizes and strata their overlap,
    and the answers of one respondent stay together: a mean over questions or strata varies as it
    should, which drawing each question's table from its margins (multivariate hypergeometric)
    would understate. Everyone takes part, those in no subgroup of a stratum too. As gaps move, a
    question that whole subgroups were not asked is compared on fewer answers than were given; noise
    makes subgroups differ, so the null then lies high and its p-values err on the cautious side.

    Args:
        survey: whose respondents change places.
        strata: subgroups of each.
        permutations: B.
        seed: of the permutations.
        slab: permutations at a time.
        block: [N] respondents change places within their block alone; None for one block.

    Yields:
        For each stratum counts and weighted counts, each [B, S, Q, C].
    """
    respondents, questions = survey.answers.shape
    width = survey.width
    hot = _one_hot(survey.answers, width)
    finest, merge = finest_cells(strata)
    rng = np.random.default_rng([seed, 1])  # not the bootstrap's
    ends = np.cumsum([members.size for members in strata])[:-1]
    everyone = np.zeros(respondents, dtype=np.int64) if block is None else block
    blocks = [np.flatnonzero(everyone == b) for b in np.unique(everyone)]
    for start in range(0, permutations, slab):
        size = min(slab, permutations - start)
        dealt = np.empty((size, respondents), dtype=np.int64)
        for people in blocks:
            dealt[:, people] = rng.permuted(np.tile(people, (size, 1)), axis=1)
        who = dealt.ravel()
        place = (np.arange(size)[:, None] * merge.shape[1] + finest).ravel()
        every = sparse.kron(sparse.eye_array(size), merge, format="csr").astype(np.float32)
        tallies = []
        for each in (np.ones(len(who)), survey.weight[who]):
            shape = (size * merge.shape[1], respondents)
            fine = sparse.csr_array((each.astype(np.float32), (place, who)), shape=shape) @ hot
            sums = (every @ fine).reshape(size, -1, questions, width)
            tallies.append(np.split(sums.astype(np.float64), ends, axis=1))
        yield list(zip(*tallies, strict=True))


def _one_hot(answers: Ints, width: int) -> NDArray[np.float32]:
    """[N, Q * C] 1 where a respondent gave a code; a row of a question without answer is 0."""
    hot = answers[:, :, None] == np.arange(width)
    return hot.reshape(len(answers), -1).astype(np.float32)
