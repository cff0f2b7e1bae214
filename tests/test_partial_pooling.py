"""Partial pooling with interactions: the fit, the choice of the penalty, what it is good for."""

from itertools import product

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from valuestrata.baselines import multilevel, multinomial, rules
from valuestrata.errors import InputError
from valuestrata.survey.crosstab import CrossTab
from valuestrata.survey.encoded import Floats, Ints, Scale

AGES, FAITHS, TONGUES = 4, 4, 3
QUESTIONS, CODES = 10, 3
SUBGROUPS = [f"age={a} & tongue={t}" for a, t in product(range(AGES), range(TONGUES))]


def scale() -> Scale:
    codes = np.tile(np.arange(1, CODES + 1), (QUESTIONS, 1))
    ends = np.ones(QUESTIONS, dtype=np.int64)
    return Scale(
        questions=tuple(f"Q{q}" for q in range(QUESTIONS)),
        codes=codes,
        real=codes > 0,
        scale_min=ends,
        scale_max=ends * CODES,
        ordinal=ends > 0,
    )


def population(interaction: float, respondents: int = 20_000) -> tuple[CrossTab, Floats]:
    """Cells of age x faith x tongue, most of a faith of one tongue; and the true shares, [K, Q, C].

    Logits are sums of effects of age, faith and tongue, and of age x faith, of this SD.
    """
    rng = np.random.default_rng(1)
    groups = np.array(list(product(range(AGES), range(FAITHS), range(TONGUES))))
    age, faith, tongue = groups.T
    share = rng.dirichlet(np.full(AGES * FAITHS, 20.0)).reshape(AGES, FAITHS)[age, faith]
    share = share * np.where(faith % TONGUES == tongue, 0.8, 0.1)
    people = np.maximum(rng.multinomial(respondents, share / share.sum()), 1)
    logits = rng.normal(size=(QUESTIONS, CODES))
    for axis, n in ((age, AGES), (faith, FAITHS), (tongue, TONGUES)):
        logits = logits + rng.normal(0, 0.4, (n, QUESTIONS, CODES))[axis]
    logits = logits + rng.normal(0, interaction, (AGES, FAITHS, QUESTIONS, CODES))[age, faith]
    truth = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    counts = np.stack([rng.multinomial(n, p) for n, p in zip(people, truth, strict=True)])
    labels = [tuple(map(str, range(n))) for n in (AGES, FAITHS, TONGUES)]
    axes = ("age", "faith", "tongue")
    return CrossTab(axes, tuple(labels), groups, people, counts.astype(np.float64)), truth


def distance(shares: Floats, truth: Floats, cells: CrossTab) -> float:
    """Mean total variation distance to the true shares of the subgroups."""
    mean = [
        np.average(truth[inside], axis=0, weights=cells.respondents[inside])
        for inside in rules.members_of(cells, SUBGROUPS)
    ]
    return float(np.abs(shares - np.stack(mean)).sum(axis=2).mean() / 2)


def scikit_learn_shares(design: Floats, ridge: Floats, counts: Floats) -> Floats:
    """[K, Q, C] predictions of one LogisticRegression a question."""
    # a column times r under penalty L is the column under L / r^2
    scaled = (design * np.sqrt(rules.PENALTY / ridge))[:, 1:]
    shares = np.full(counts.shape, np.nan)
    for q in range(counts.shape[1]):
        k, c = np.nonzero(counts[:, q])
        codes = np.unique(c)
        if len(codes):
            shares[:, q] = 0.0
        if len(codes) == 1:
            shares[:, q, codes] = 1.0
        elif len(codes):
            # of two codes it fits the difference of two effects, whose penalty is half of theirs
            inverse = (2 if len(codes) == 2 else 1) / rules.PENALTY
            model = LogisticRegression(C=inverse, tol=1e-8, max_iter=10_000)
            model.fit(scaled[k], c, sample_weight=counts[k, q, c])
            shares[:, q, codes] = model.predict_proba(scaled)
    return shares


def test_the_fits_are_scikit_learn_s() -> None:
    cells, _ = population(0.5, respondents=900)
    design, is_main = multilevel.two_way_design(cells)
    counts = cells.counts.copy()
    counts[:, 0, 1] = 0  # a code that nobody gave
    counts[:, 1, 1:] = 0  # one code alone
    counts[:, 2] = 0  # no answer
    counts[5:9, 3] = 0  # cells without an answer
    out = np.arange(len(design)) % 5 == 0
    kept = np.where(out[:, None, None], 0.0, counts)
    for penalty in (30.0, np.inf):
        ridge = np.where(is_main, rules.PENALTY, penalty)
        expected = scikit_learn_shares(design, ridge, kept)
        shares = multilevel.cell_shares(design, is_main, counts, out, penalty)
        np.testing.assert_allclose(shares, expected, atol=0.01)
    ridge = np.where(is_main, rules.PENALTY, 30.0)
    ridge[0] = 0.0
    effects = multinomial.fit(design[~out], ridge, counts[~out], tolerance=1e-9)
    columns = multinomial.given_codes(counts[~out])
    exact, _ = multinomial.shares(design @ effects, columns)
    expected = scikit_learn_shares(design, np.where(is_main, rules.PENALTY, 30.0), kept)
    np.testing.assert_allclose(exact, expected[:, columns.question, columns.code], atol=1e-5)


def chosen(cells: CrossTab, counts: Floats, fold: Ints) -> dict[int, float]:
    return multilevel.chosen_penalties(*multilevel.two_way_design(cells), counts, fold)


def test_it_is_nearer_the_truth_than_additive_where_effects_do_not_add_up() -> None:
    cells, truth = population(0.6)
    fold = rules.folds_of(cells, ["age", "tongue"])
    assert chosen(cells, cells.counts, fold) == dict.fromkeys(range(4), 30.0)
    pooled = multilevel.partial_pooling(cells, scale(), SUBGROUPS)
    additive = rules.additive(cells, scale(), SUBGROUPS)
    true = np.stack(
        [
            np.average(truth[inside], axis=0, weights=cells.respondents[inside])
            for inside in rules.members_of(cells, SUBGROUPS)
        ]
    )
    off, additive_off = (np.abs(shares - true).sum(axis=2) / 2 for shares in (pooled, additive))
    assert off.mean() < additive_off.mean() / 2
    met, additive_met = (
        (shares.argmax(axis=2) == true.argmax(axis=2)).mean() for shares in (pooled, additive)
    )
    assert met > additive_met + 0.05


def test_it_is_the_additive_model_where_they_do() -> None:
    for respondents in (2_000, 20_000):
        cells, _ = population(0.0, respondents=respondents)
        fold = rules.folds_of(cells, ["age", "tongue"])
        assert chosen(cells, cells.counts, fold) == dict.fromkeys(range(4), np.inf)
        pooled = multilevel.partial_pooling(cells, scale(), SUBGROUPS)
        np.testing.assert_allclose(pooled, rules.additive(cells, scale(), SUBGROUPS), atol=0.02)


def test_a_penalty_is_chosen_without_the_answers_of_its_fold() -> None:
    cells, _ = population(0.0, respondents=2_000)
    fold = rules.folds_of(cells, ["age", "tongue"])
    before = chosen(cells, cells.counts, fold)
    rng = np.random.default_rng(2)
    for f in (0, 3):
        counts = cells.counts.copy()
        counts[fold == f] = rng.permuted(counts[fold == f], axis=0) * 10
        after = chosen(cells, counts, fold)
        assert after[f] == before[f]
        assert after != before
    assert set(chosen(cells, cells.counts * 0, fold).values()) == {np.inf}
    assert chosen(cells, cells.counts, fold * 0) == {0: np.inf}


def test_the_design_has_each_group_and_each_pair_of_groups_that_somebody_is_in() -> None:
    cells, _ = population(0.0)
    kept = cells.groups[:, 0] + cells.groups[:, 1] < AGES + FAITHS - 2  # none old of the last faith
    some = CrossTab(
        cells.axes, cells.labels, cells.groups[kept], cells.respondents[kept], cells.counts[kept]
    )
    design, is_main = multilevel.two_way_design(some)
    assert (design[:, 0] == 1).all()
    assert is_main.sum() == 1 + AGES + FAITHS + TONGUES
    pairs = AGES * FAITHS + AGES * TONGUES + FAITHS * TONGUES
    assert (~is_main).sum() == pairs - 1
    assert (design[:, ~is_main].sum(axis=1) == 3).all()


def test_a_fit_that_does_not_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multinomial, "MAX_STEPS", 1)
    cells, _ = population(0.6)
    with pytest.raises(InputError, match="partial_pooling: no fit after 1 steps"):
        multilevel.partial_pooling(cells, scale(), SUBGROUPS)
