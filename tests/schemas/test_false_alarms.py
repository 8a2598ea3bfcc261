"""What a preflight is not to warn of: people learn to read past it."""

from pathlib import Path

import pytest

from rollout import plan as r
from rollout.engine.target import Target
from tests.schemas import PARCEL, STATUS, MakeScenario, plan_of, table

GOES = "objects dropped with parcel (status)"
NEEDS = "dependents of parcel (status)"
HEAD = "-- rollout: repeatable\n-- rollout: locks: SHARE parcel\n"
REQUIRED = r.Lookup(
    table=table("parcel", status=r.Column("character varying(20)", null=False), remark="text"),
    legacy="status",
    column="status_id",
    lookup_table="parcel_statuses",
)


def test_not_null_comes_back_and_is_not_among_what_goes(
    scenario: MakeScenario, server: Target
) -> None:
    parcels = scenario(PARCEL + "ALTER TABLE parcel ALTER status SET NOT NULL;", plan_of(REQUIRED))
    parcels.carry_out(0, 1, 2, 3)
    assert parcels.item(4, GOES).level == "pass"
    parcels.carry_out(4)
    parcels.take_back(4)
    assert parcels.application(
        "SELECT attnotnull FROM pg_attribute"
        " WHERE attrelid = 'parcel'::regclass AND attname = 'status'"
    ) == [(True,)]


@pytest.mark.parametrize(
    "check", ["status <> ''", "status <> remark"], ids=["of the column alone", "of two columns"]
)
def test_a_check_that_comes_back_with_its_column_is_no_alarm(
    scenario: MakeScenario, server: Target, check: str
) -> None:
    parcels = scenario(PARCEL + f"ALTER TABLE parcel ADD CONSTRAINT said CHECK ({check});")
    parcels.carry_out(0, 1, 2, 3)
    assert parcels.item(4, NEEDS).level == "pass"
    assert parcels.item(4, GOES).level == "pass"
    parcels.carry_out(4)
    parcels.take_back(4)
    assert parcels.application(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'parcel'::regclass AND contype = 'c'"
    ) == [("said",)]


@pytest.mark.parametrize("name", ["of_status", "of_the_status"])
def test_an_index_that_a_down_file_or_the_drop_brings_back_is_not_lost(
    scenario: MakeScenario, newest: Target, tmp_path: Path, name: str
) -> None:
    (tmp_path / "010_index.up.sql").write_text(
        f"-- rollout: phase: 4\n-- rollout: destructive\n{HEAD}DROP INDEX IF EXISTS of_status;\n"
    )
    (tmp_path / "010_index.down.sql").write_text(
        f"{HEAD}CREATE INDEX IF NOT EXISTS of_status ON parcel (lower(status));\n"
    )
    parcels = scenario(
        PARCEL + f"CREATE INDEX {name} ON parcel (lower(status));",
        plan_of(STATUS, extra={4: r.SqlFiles(tmp_path).of_phase(4)}),
    )
    assert parcels.check() == []
    parcels.carry_out(0, 1, 2, 3)
    assert parcels.item(4, GOES).level == "pass"


def test_readiness_of_a_plain_table_has_nothing_to_say(
    scenario: MakeScenario, server: Target
) -> None:
    assert scenario(PARCEL).readiness().items == []
