"""A snapshot can be verified, whatever the tables need besides themselves."""

import io

import pytest

from rollout.engine.snapshot.archive import Archive
from rollout.engine.snapshot.dump import dump, exported, prerequisites
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.snapshot.programs import find_programs
from rollout.engine.snapshot.restore import Recorded, replace_tables, verify
from rollout.engine.target import Target
from tests.engine.actions import NoControl
from tests.engine.snapshot.needs import NEEDS, UNRESTORABLE
from tests.schemas import PARCEL, MakeScenario, Scenario

CONTROL = NoControl()
OLD_NEEDS = {
    "a function of an extension": (
        'CREATE EXTENSION "uuid-ossp";'
        " ALTER TABLE parcel ADD token uuid NOT NULL DEFAULT uuid_generate_v4();"
    ),
    "a collation": (
        "CREATE COLLATION german (provider = icu, locale = 'de-DE');"
        " ALTER TABLE parcel ADD name text COLLATE german;"
    ),
    "an extension's function in a function's text": (
        "CREATE EXTENSION unaccent; CREATE FUNCTION plain(text) RETURNS text IMMUTABLE LANGUAGE sql"
        " AS 'SELECT public.unaccent(''public.unaccent'', $1)';"
        " CREATE INDEX ON parcel (plain(remark));"
    ),
}


def take(parcels: Scenario) -> tuple[Archive, Recorded]:
    with (
        parcels.target.connect() as connection,
        exported(connection, parcels.plan, CONTROL) as export,
    ):
        programs = find_programs(connection.info.server_version // 10_000)
        whole = b"".join(dump(programs, parcels.target, export, CONTROL))
        needed = prerequisites(programs, parcels.target, export, CONTROL)
    recorded = Recorded(export.contents, needed, export.left_out)
    return Archive(programs, lambda: io.BytesIO(whole), CONTROL), recorded


def differences(parcels: Scenario) -> list[str]:
    archive, recorded = take(parcels)
    return verify(
        parcels.target, parcels.plan, archive, recorded, CONTROL, snapshot=1, token=1
    ).differences


@pytest.mark.parametrize("needs", NEEDS.values(), ids=list(NEEDS))
def test_a_snapshot_is_verified_with_what_its_tables_need(
    scenario: MakeScenario, server: Target, needs: str
) -> None:
    assert differences(scenario(PARCEL + needs)) == []


def test_tables_are_put_back_beside_what_they_need(scenario: MakeScenario, newest: Target) -> None:
    of_others = "a policy that reads another table", "a domain", "a serial column"
    parcels = scenario(PARCEL + "".join(NEEDS[name] for name in of_others))
    parcels.carry_out(0, 1, 2)
    archive, recorded = take(parcels)
    parcels.application("DELETE FROM parcel WHERE id < 5")
    replace_tables(parcels.connection, parcels.plan, archive, recorded, CONTROL)
    assert parcels.application("SELECT count(*) FROM parcel") == [(40,)]


@pytest.mark.parametrize("needs", OLD_NEEDS.values(), ids=list(OLD_NEEDS))
def test_a_snapshot_is_verified_with_what_only_the_systems_server_has(
    scenario: MakeScenario, old: Target, needs: str
) -> None:
    assert differences(scenario(PARCEL + needs)) == []


C_LOCALE = "LC_COLLATE 'C' LC_CTYPE 'C'"


def test_the_copy_has_the_encoding_of_the_database(scenario: MakeScenario, server: Target) -> None:
    parcels = scenario(
        PARCEL + "UPDATE parcel SET remark = 'caf\u00e9';",
        template=f"TEMPLATE template0 ENCODING 'LATIN1' LOCALE_PROVIDER libc {C_LOCALE}",
    )
    assert differences(parcels) == []


def test_the_copy_has_the_locale_of_the_database(scenario: MakeScenario, old: Target) -> None:
    icu = f"TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-DE' {C_LOCALE} ENCODING 'UTF8'"
    assert differences(scenario(PARCEL, template=icu)) == []


def test_a_trigger_that_postgresql_cannot_make_again_is_named(
    scenario: MakeScenario, server: Target
) -> None:
    parcels = scenario(PARCEL + UNRESTORABLE)
    with pytest.raises(SnapshotError, match=r"The trigger public.parcel touch cannot be"):
        differences(parcels)
