"""What the evaluator of the gap measures."""

import numpy as np

from aligngap.evaluation.gap import one_image_a_group


def test_the_gap_is_measured_on_one_image_of_each_group():
    group = np.array([0, 0, 0, 1, 2, 2])
    rows = one_image_a_group(group)
    assert group[rows].tolist() == [0, 1, 2]
    assert (rows == one_image_a_group(group)).all()
