"""A plain table goes through all phases and back: nothing is refused that need not be."""

from rollout.engine.target import Target
from tests.schemas import PARCEL, MakeScenario

EVERY_ROW = "SELECT id, status, remark FROM parcel ORDER BY id"


def test_a_plain_table_goes_forward_and_back_without_a_failing_item(
    scenario: MakeScenario, server: Target
) -> None:
    plain = scenario(PARCEL)
    before = plain.application(EVERY_ROW)
    assert plain.check() == []
    for phase in range(5):
        assert [item for item in plain.failing(phase) if item.level == "blocks"] == []
        plain.carry_out(phase)
    plain.take_back(4, 3, 2, 1, 0)
    assert plain.application(EVERY_ROW) == before
