"""What a sample proves, against the definition of the bound."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.queries.sample_bounds import at_most, confidence_of_sample, upper_bound

samples = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n)))
confidences = st.sampled_from([0.9, 0.95, 0.99, 0.9999])


@pytest.mark.slow
@given(samples, confidences)
def test_mismatches_at_the_bound_are_as_unlikely_as_the_confidence_says(
    sample: tuple[int, int], confidence: float
) -> None:
    mismatched, examined = sample
    bound = upper_bound(mismatched, examined, confidence)
    by_definition = math.fsum(
        math.comb(examined, k) * bound**k * (1 - bound) ** (examined - k)
        for k in range(mismatched + 1)
    )
    assert by_definition == pytest.approx(1 - confidence, rel=1e-6)
    assert mismatched / examined < bound <= 1


@given(st.integers(1, 10**7), confidences)
def test_none_in_n_has_the_well_known_bound(examined: int, confidence: float) -> None:
    known = -math.expm1(math.log1p(-confidence) / examined)
    assert upper_bound(0, examined, confidence) == pytest.approx(known, rel=1e-6)


@pytest.mark.slow
@given(samples)
def test_more_mismatches_and_more_confidence_never_lower_the_bound(sample: tuple[int, int]) -> None:
    mismatched, examined = sample
    bound = upper_bound(mismatched, examined)
    # Where the answers lie closer together than the logarithms of the sum are exact.
    lowest, highest = bound * (1 - 1e-9), bound * (1 + 1e-9)
    assert upper_bound(mismatched + 1, examined) >= lowest
    assert upper_bound(mismatched, examined, 0.99) >= lowest
    assert upper_bound(mismatched, examined + 1) <= highest


def test_all_of_them_leave_nothing_below_one() -> None:
    assert upper_bound(3, 3) == 1.0


@pytest.mark.parametrize(("mismatched", "examined"), [(-1, 3), (4, 3)])
def test_impossible_samples_are_refused(mismatched: int, examined: int) -> None:
    with pytest.raises(ValueError, match="cannot mismatch"):
        upper_bound(mismatched, examined)


def test_the_edges_of_the_distribution() -> None:
    assert at_most(0, 10, 0.0) == 1.0
    assert at_most(9, 10, 1.0) == 0.0
    assert at_most(10, 10, 1.0) == 1.0


def test_the_risks_of_all_scheduled_looks_add_up_to_no_more_than_that_of_one() -> None:
    risks = [1 - confidence_of_sample(number) for number in range(1, 10_001)]
    assert sum(risks) < 0.05
    assert sum(risks) == pytest.approx(0.05, rel=1e-3)
    assert risks == sorted(risks, reverse=True)
