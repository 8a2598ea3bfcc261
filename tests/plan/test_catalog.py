"""The parts of a catalog."""

from rollout.plan.catalog import Catalog, Part


def test_taking_what_was_never_there_makes_it_known() -> None:
    catalog = Catalog()
    catalog.take("t", Part("index", "i"))
    assert ("t", Part("index", "i")) in catalog.known
    assert catalog.tables == {}
