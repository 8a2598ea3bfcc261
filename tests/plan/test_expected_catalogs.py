"""What a plan expects of the catalog, against what it changes."""

from hypothesis import given
from hypothesis import strategies as st

from rollout.engine.catalog import compare
from rollout.plan.expected_catalogs import changed_by, expected, known_parts
from tests.engine.samples import SAMPLES, Sample

phases_done = st.integers(0, 5)

samples = st.sampled_from(SAMPLES)


@given(samples, phases_done)
def test_the_expected_catalog_does_not_differ_from_itself(sample: Sample, done: int) -> None:
    assert compare(sample.plan, phases_done=done, live=expected(sample.plan, done)) == []


@given(samples, st.integers(0, 4))
def test_changes_of_a_phase_are_known_to_the_plan(sample: Sample, number: int) -> None:
    assert changed_by(sample.plan, number) <= known_parts(sample.plan)
