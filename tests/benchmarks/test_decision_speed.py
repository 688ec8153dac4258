"""The speed the decisions promise: 4,000 draws × 8 targets × 17 domains on two cores."""

import pytest

from bayesmix.decision.risk import CVaR, Mean
from tests.benchmarks.decisions import speed


@pytest.mark.slow
@pytest.mark.parametrize("risk", [Mean(), CVaR(0.9)], ids=str)
def test_an_optimum_takes_two_seconds_on_two_cores(risk):
    """CPU time of all threads, so that a busy machine does not fail it: two cores have four seconds in two."""
    assert speed(risk).cpu < 4.0
