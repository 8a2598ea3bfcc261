"""Lookups as a Django team needs them: keys, names, fixed rows, blanks, types that are no text."""

from dataclasses import replace

import pytest
from psycopg import errors

from rollout.plan import AddForeignKey
from tests.schemas import PARCEL, STATUS, MakeScenario, plan_of


def test_a_foreign_key_is_checked_when_the_applications_transaction_ends(
    server: object, scenario: MakeScenario
) -> None:
    made = scenario(PARCEL)
    made.carry_out(0, 1, 2, 3)
    assert made.application(
        "SELECT conname, condeferrable, condeferred, convalidated FROM pg_constraint"
        " WHERE contype = 'f' AND conrelid = 'parcel'::regclass"
    ) == [("parcel_status_id_199e111f_fk_parcel_statuses_id", True, True, True)]
    made.application(
        "BEGIN",
        "DELETE FROM parcel_statuses WHERE name = 'lost'",
        "DELETE FROM parcel WHERE status = 'lost'",
        "COMMIT",
    )
    with pytest.raises(errors.ForeignKeyViolation):
        made.application("BEGIN", "DELETE FROM parcel_statuses WHERE name = 'open'", "COMMIT")
    made.carry_out(4)
    made.take_back(4, 3, 2, 1, 0)


def test_a_foreign_key_has_the_name_that_the_plan_gives_it(
    newest: object, scenario: MakeScenario
) -> None:
    plan = plan_of(STATUS)
    key = AddForeignKey(id="key", description="Key", lookup=STATUS, constraint="status exists")
    phase = replace(plan.phases[3], steps=(key, *plan.phases[3].steps[1:]))
    made = scenario(PARCEL, replace(plan, phases=(*plan.phases[:3], phase, plan.phases[4])))
    made.carry_out(0, 1, 2, 3)
    assert made.application("SELECT conname FROM pg_constraint WHERE contype = 'f'") == [
        ("status exists",)
    ]
    made.take_back(3)
    assert made.application("SELECT FROM pg_constraint WHERE contype = 'f'") == []
