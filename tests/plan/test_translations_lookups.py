"""Lookups as a Django team needs them: keys, names, fixed rows, blanks, types that are no text."""

from dataclasses import replace
from typing import Any

import pytest
from psycopg import errors

from rollout.plan import AddForeignKey, Column
from tests.schemas import PARCEL, STATUS, MakeScenario, RefusedByPreflight, Scenario, plan_of, table


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


@pytest.mark.parametrize(
    ("auto_field", "key", "type_"),
    [
        ("django.db.models.BigAutoField", "", "bigint"),
        ("django.db.models.AutoField", "", "integer"),
        ("django.db.models.SmallAutoField", "", "smallint"),
        ("shop.fields.SnowflakeField", "", "bigint"),
        ("django.db.models.BigAutoField", "smallint", "smallint"),
    ],
)
def test_ids_have_the_type_of_the_projects_keys_unless_the_plan_names_one(
    newest: object, scenario: MakeScenario, settings: Any, auto_field: str, key: Any, type_: str
) -> None:
    settings.DEFAULT_AUTO_FIELD = auto_field
    made = scenario(PARCEL, plan_of(replace(STATUS, key=key)))
    made.carry_out(0, 1, 2, 3)
    assert made.application(
        "SELECT attrelid::regclass::text, attname::text, format_type(atttypid, atttypmod)"
        " FROM pg_attribute WHERE attname IN ('status_id', 'id')"
        " AND attrelid IN ('parcel'::regclass, 'parcel_statuses'::regclass) ORDER BY 1, 2"
    ) == [
        ("parcel", "id", "bigint"),
        ("parcel", "status_id", type_),
        ("parcel_statuses", "id", type_),
    ]
    made.application("INSERT INTO parcel (status) VALUES ('Returned')")
    assert made.audit().mismatched == 0
    made.carry_out(4)
    made.take_back(4, 3, 2, 1, 0)


NOT_NULL = PARCEL.replace("status varchar(20)", "status varchar(20) NOT NULL")
REQUIRED = replace(
    STATUS, table=table("parcel", status=Column("character varying(20)", null=False), remark="text")
)


def names(of: Scenario) -> set[str]:
    return {name for (name,) in of.application("SELECT name FROM parcel_statuses")}


def test_a_column_that_is_not_null_has_a_row_for_blanks_once_there_is_one(
    server: object, scenario: MakeScenario
) -> None:
    made = scenario(NOT_NULL, plan_of(REQUIRED))
    made.carry_out(0, 1, 2)
    assert "Unspecified" not in names(made)
    made.application("INSERT INTO parcel (status) VALUES (' ')")
    assert "Unspecified" in names(made)
    made.carry_out(3)
    made.application("INSERT INTO parcel (status) VALUES ('')")
    assert made.audit().mismatched == 0
    made.carry_out(4)
    made.take_back(4, 3, 2, 1, 0)
    assert made.application("SELECT status FROM parcel WHERE btrim(status) = '' ORDER BY id") == [
        (" ",),
        ("",),
    ]


def test_a_column_that_is_not_null_needs_no_row_for_blanks(
    server: object, scenario: MakeScenario
) -> None:
    made = scenario(NOT_NULL, plan_of(replace(REQUIRED, blank=None)))
    assert made.check() == []
    made.there_and_back()
    made.application("INSERT INTO parcel (status) VALUES ('')")
    made.carry_out(0, 1, 2)
    with pytest.raises(RefusedByPreflight, match="1 row of parcel has NULL in status_id"):
        made.carry_out(3)
    made.application("DELETE FROM parcel WHERE status = ''")
    made.carry_out(3)
    with pytest.raises(errors.NotNullViolation):
        made.application("INSERT INTO parcel (status) VALUES ('')")


FIXED = replace(
    STATUS,
    rows={
        10: "Open",
        20: {"name": "Sent", "colour": "#00ff00", "rank": 2},
        30: {"name": "Returned", "colour": "red; '", "rank": None},
    },
    columns={"colour": Column("text"), "rank": Column("smallint")},
)
FIXED_ROWS = [
    (10, "Open", True, None, None),
    (20, "Sent", True, "#00ff00", 2),
    (30, "Returned", True, "red; '", None),
]


def test_rows_that_the_plan_names_have_their_ids_and_further_values(
    server: object, scenario: MakeScenario
) -> None:
    made = scenario(PARCEL, plan_of(FIXED))
    assert made.check() == []
    made.carry_out(0, 1, 2)
    rows = "SELECT id, name, active, colour, rank FROM parcel_statuses WHERE id <= 30 ORDER BY id"
    assert made.application(rows) == FIXED_ROWS
    made.application("INSERT INTO parcel (status) VALUES ('Refused')")
    assert made.application(
        "SELECT s.id, s.name, count(p.id) FROM parcel_statuses s"
        " LEFT JOIN parcel p ON p.status_id = s.id GROUP BY s.id ORDER BY s.id"
    ) == [
        (10, "Open", 10),
        (20, "Sent", 20),
        (30, "Returned", 0),
        (31, "lost", 10),
        (32, "Unspecified", 0),
        (33, "Refused", 1),
    ]
    # Carried out again, or back and forth, they are the same.
    made.carry_out(2)
    made.take_back(2)
    assert made.application("SELECT count(*) FROM parcel_statuses") == [(0,)]
    made.carry_out(2, 3, 4)
    assert made.application(rows) == FIXED_ROWS
    made.take_back(4, 3, 2, 1, 0)
