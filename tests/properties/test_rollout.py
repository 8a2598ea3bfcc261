from properties.rollout import CONTRACT, ENFORCE
from rollout import plan as r


def test_the_indexes_of_new_columns_are_built_before_the_first_search_reads_them() -> None:
    """Without them a search for what few listings have reads the whole table."""
    kinds = [type(step) for step in ENFORCE.steps]
    assert kinds.count(r.CreateIndex) == 2
    assert r.CreateIndex not in kinds[kinds.index(r.CutOver) :]
    assert not any(isinstance(step, r.CreateIndex) for step in CONTRACT.steps)
