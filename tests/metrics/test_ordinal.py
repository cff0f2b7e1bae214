"""Scores of one answer."""

import numpy as np

from valuestrata.metrics import ordinal

NAN = float("nan")


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_accuracy_by_hand() -> None:
    accuracy = ordinal.accuracy(floats(1, 2, NAN, 4), floats(1, 3, 2, 4))
    np.testing.assert_array_equal(accuracy, [1, 0, NAN, 1])


def test_nmae_by_hand() -> None:
    cases = [  # answer, mode, ends of the scale, NMAE
        (1, 1, 1, 4, 0.0),
        (1, 4, 1, 4, 1.0),
        (4, 1, 1, 4, 1.0),
        (2, 4, 1, 4, 2 / 3),
        (7, 4, 1, 10, 3 / 9),
        (0, 2, 0, 2, 1.0),
        (3, 1, 1, 2, 2.0),
        (NAN, 1, 1, 4, NAN),
    ]
    *columns, expected = (floats(*column) for column in zip(*cases, strict=True))
    nmae = ordinal.nmae(*columns, np.full(len(cases), True))
    np.testing.assert_allclose(nmae, expected)


def test_a_nominal_question_has_accuracy_and_no_nmae() -> None:
    answer, mode = floats(2, 2), floats(2, 2)
    nmae = ordinal.nmae(answer, mode, floats(1, 1), floats(3, 3), np.array([False, True]))
    np.testing.assert_array_equal(nmae, [NAN, 0])
    np.testing.assert_array_equal(ordinal.accuracy(answer, mode), [1, 1])
