"""What people of a subgroup would answer, all of them: shares drawn towards their stratum's.

A subgroup's shares of answers are those of a sample. They differ from the stratum's by more than
those of all its people do, as noise is added. How much is noise follows from the sizes of the
samples (method of moments); by the rest, shares are drawn towards the stratum's (partial pooling,
empirical Bayes). Draws from what is then known of the true shares show how far the modes and
distances of samples can be relied on. How close this comes in simulated populations:
docs/statistics.md.
Symbols: B draws, S subgroups of a stratum, Q questions, C codes.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from valuestrata.metrics.resample import ratio
from valuestrata.survey.encoded import Floats, Scale

ROUNDS = 3
"""Times that weights and variances are worked out in turn."""
LEAST = 1e-9


@dataclass(frozen=True, eq=False)
class PooledShares:
    """Partial pooling of the answers of one stratum's subgroups.

    n: [S, Q] effective sample sizes. shares: [S, Q, C]. centre: [Q, C] shares of the stratum, each
    subgroup weighted by how well it is known. weight: [S, Q] these weights. direction: [Q, C] of
    length 1, in which shares change where people move along an ordered scale; 0 where there is no
    order. spread: [2, Q] true variance between subgroups along the direction, and across it, each
    as a multiple of the sampling variance of a single answer. uncertainty: [2, Q] its standard
    deviation.
    """

    n: Floats
    shares: Floats
    centre: Floats
    weight: Floats
    direction: Floats
    spread: Floats
    uncertainty: Floats

    def with_least_spread(self, least: float) -> "PooledShares":
        """The same, with a little true variance in every question: none below a tenth of the mean.

        Args:
            least: the mean variance, as a multiple of the mean sampling variance.
        """
        mean = max(float(self.spread.mean()), least * float((1 / self.n).mean()))
        spread = np.maximum(self.spread, mean / 10)
        return replace(self, spread=spread * (mean / spread.mean()))

    def draw_spread(self, draws: int, rng: np.random.Generator) -> Floats:
        """[B, 2, Q] draws of `spread`, gamma distributed with its mean and standard deviation."""
        shape = np.clip(ratio(self.spread, self.uncertainty) ** 2, 0.05, 1e6)
        shape = np.where(np.isfinite(shape), shape, 1e6)
        return self.spread * rng.gamma(shape, size=(draws, *shape.shape)) / shape

    def draw_shares(self, spread: Floats, noise: Floats, centre_noise: Floats) -> Floats:
        """[B, S, Q, C] draws of the true shares; they sum to 1, and may lie a little below 0.

        Args:
            spread: [B, 2, Q] draws of the variance between subgroups.
            noise: [B, S, Q, C] sampling errors of shares, as bootstrap samples have them.
            centre_noise: the same, drawn independently.
        """
        kept = ratio(spread[:, :, None], spread[:, :, None] + 1 / self.n)[
            ..., None
        ]  # [B, 2, S, Q, 1]
        deviation = self._deviation
        error = self._parts(noise)
        inflation = self.weight * np.sqrt(1 + spread.mean(axis=1)[:, None] * self.n)
        of_centre = self._parts((inflation[..., None] * centre_noise).sum(axis=1)[:, None])
        drawn = np.broadcast_to(self.centre, noise.shape).copy()
        for part in (0, 1):
            share = kept[:, part]
            drawn += share * deviation[part] + np.sqrt(share) * error[part]
            drawn += (1 - share) * of_centre[part]
        return drawn

    @cached_property
    def _deviation(self) -> tuple[Floats, Floats]:
        """Of the shares from the centre, in two parts."""
        return self._parts(self.shares - self.centre)

    @cached_property
    def _root(self) -> Floats:
        """[Q, C, C] square root of the covariance of a single answer."""
        covariance = self.centre[:, :, None] * (
            np.eye(self.centre.shape[1]) - self.centre[:, None, :]
        )
        values, vectors = np.linalg.eigh(covariance)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0))[:, None])

    def _parts(self, deviations: Floats) -> tuple[Floats, Floats]:
        """Deviations [..., Q, C] of shares along the direction, and the rest of them."""
        along = (deviations * self.direction).sum(axis=-1, keepdims=True) * self.direction
        return along, deviations - along

    def gaussian_noise(self, draws: int, rng: np.random.Generator) -> Floats:
        """[B, S, Q, C] sampling errors of shares, normal, with a multinomial's covariance."""
        standard = rng.standard_normal((draws, *self.shares.shape))
        noise = np.einsum("qij,bsqj->bsqi", self._root, standard)
        return np.asarray(noise / np.sqrt(self.n)[..., None])


def pool_shares(counts: Floats, scale: Scale, n: Floats | None = None) -> PooledShares:
    """Partial pooling of a stratum's answers.

    Args:
        counts: [S, Q, C] answers, or their weights.
        scale: of the questions.
        n: [S, Q] effective sample sizes, where weights make them smaller than the sum of counts.
    """
    total = counts.sum(axis=-1)
    size = np.maximum(total if n is None else n, LEAST)
    pooled = ratio(counts.sum(axis=0), total.sum(axis=0)[:, None])
    pooled = np.where(np.isfinite(pooled), pooled, 1 / counts.shape[-1])
    shares = np.where(total[..., None] > 0, ratio(counts, total[..., None]), pooled)
    spread = np.zeros((2, counts.shape[1]))
    for _ in range(ROUNDS):
        weight = 1 / (spread.mean(axis=0) + 1 / size)
        weight /= weight.sum(axis=0)
        centre = (weight[..., None] * shares).sum(axis=0)
        direction = _shift_direction(centre, scale)
        spread, uncertainty = _spreads(shares - centre, centre, direction, weight, 1 / size)
    return PooledShares(size, shares, centre, weight, direction, spread, uncertainty)


def _shift_direction(centre: Floats, scale: Scale) -> Floats:
    """[Q, C] how shares change where a latent normal attitude moves a little, of unit length."""
    from scipy.special import ndtri  # slow to import, and the graph imports every stage

    edges = np.clip(centre.cumsum(axis=1)[:, :-1], LEAST, 1 - LEAST)
    heights = np.where((edges > 1e-5) & (edges < 1 - 1e-5), np.exp(-(ndtri(edges) ** 2) / 2), 0.0)
    change = np.diff(heights, axis=1, prepend=0.0, append=0.0)
    length = np.sqrt((change**2).sum(axis=1, keepdims=True))
    return np.where(scale.ordinal[:, None] & (length > 0), change / np.maximum(length, LEAST), 0.0)


def _spreads(
    deviations: Floats, centre: Floats, direction: Floats, weight: Floats, variance: Floats
) -> tuple[Floats, Floats]:
    """[2, Q] true variance between subgroups and its standard deviation, see PooledShares.

    The weighted squared deviations less what sampling makes of them, question by question. Single
    questions say little, so they are drawn towards the mean over all questions.
    """
    groups = len(weight)
    of_direction = (direction**2 * centre).sum(axis=1) - (direction * centre).sum(axis=1) ** 2
    unit = np.stack([of_direction, 1 - (centre**2).sum(axis=1) - of_direction])
    along = (deviations * direction).sum(axis=-1) ** 2
    squares = np.stack([along, (deviations**2).sum(axis=-1) - along])  # [2, S, Q]
    both = (weight**2).sum(axis=0)
    of_truth = (weight * (1 - 2 * weight + both)).sum(axis=0)
    of_noise = (weight * variance * (1 - 2 * weight)).sum(axis=0) + (weight**2 * variance).sum(
        axis=0
    )
    exists = (unit > 1e-6) & (of_truth > LEAST)
    observed = ratio((weight * squares).sum(axis=1), np.where(exists, unit, 0.0))
    raw = ratio(observed - of_noise, np.broadcast_to(of_truth, exists.shape))
    freedom = (groups - 1) * np.array(
        [[1.0], [1.5]]
    )  # of the rest, a little more than one direction
    spread, uncertainty = np.zeros_like(unit), np.zeros_like(unit)
    for part in (0, 1):
        kept = exists[part]
        if kept.any():
            values = raw[part, kept]
            mean = max(float(values.mean()), 0.0)
            sampling = 2 / freedom[part] * (mean + (weight * variance).sum(axis=0)[kept]) ** 2
            true = max(float(values.var() - sampling.mean()), 0.0)
            share = true / (true + sampling)
            spread[part, kept] = np.maximum(mean + share * (values - mean), 0.0)
            uncertainty[part, kept] = np.sqrt(true * sampling / (true + sampling))
    return spread, uncertainty
