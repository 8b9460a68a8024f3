"""How many replicas fit on the nodes of a cluster."""

import pytest

from srlm_kedro.engines.generation.replicas.ray_workers import fits


@pytest.mark.parametrize(
    ("held", "need", "times"), [(8, 1, 8), (1, 0.2, 5), (1, 0.1, 10), (1, 0.3, 3), (0, 1, 0)]
)
def test_a_part_of_a_device_fits_as_often_as_people_count(held, need, times):
    """Floor division of floating-point numbers gives four fifths, not five."""
    assert fits(held, need) == times
