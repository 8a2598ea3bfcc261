"""Writers that know only the new column, while the legacy text is the truth."""

from rollout.engine.target import Target
from tests.schemas import PARCEL, MakeScenario, Scenario

NAMES = (
    "SELECT p.id, p.status, s.name FROM parcel p JOIN parcel_statuses s ON s.id = p.status_id"
    " WHERE p.id IN (8, 9001) ORDER BY 1"
)


def writes_the_new_column_alone(parcels: Scenario) -> None:
    """An update and an insert lead: the text follows, and the audit finds nothing."""
    parcels.application(
        "UPDATE parcel SET status_id = (SELECT id FROM parcel_statuses WHERE name = 'lost')"
        " WHERE id = 8",
        "INSERT INTO parcel (id, status_id) SELECT 9001, id FROM parcel_statuses"
        " WHERE name = 'open'",
    )
    assert parcels.application(NAMES) == [(8, "lost", "lost"), (9001, "open", "open")]
    assert parcels.audit().mismatched == 0
    parcels.application(
        "DELETE FROM parcel WHERE id = 9001", "UPDATE parcel SET status = 'sent' WHERE id = 8"
    )


def test_a_write_of_the_new_column_alone_leads_before_the_cutover_and_after_its_rollback(
    scenario: MakeScenario, server: Target
) -> None:
    parcels = scenario(PARCEL)
    parcels.carry_out(0, 1, 2)
    writes_the_new_column_alone(parcels)
    parcels.carry_out(3)
    parcels.take_back(3)
    writes_the_new_column_alone(parcels)
    parcels.carry_out(3)
    parcels.take_back(3, 2, 1, 0)
