"""A snapshot can be verified, whatever the tables need besides themselves."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from rollout import plan as r
from rollout import runner
from rollout.engine.preflight import Item, Preflight, Readiness
from rollout.engine.snapshot.archive import Archive
from rollout.engine.snapshot.dump import dump, exported, prerequisites
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.snapshot.programs import find_programs
from rollout.engine.snapshot.restore import Recorded, replace_tables, verify
from rollout.engine.target import Target
from rollout.models import Rollout
from rollout.plan import plans
from rollout.queries.preflights import preflight_of, readiness_of
from tests.engine.actions import NoControl
from tests.schemas import PARCEL, STATUS, MakeScenario, Scenario, plan_of, table
from tests.support import rollouts
from tests.support.rollouts import Cli
from tests.support.servers import Database

CONTROL = NoControl()
NEEDS = {
    "a domain": (
        "CREATE DOMAIN weight AS numeric CHECK (VALUE > 0);"
        " ALTER TABLE parcel ADD weight weight DEFAULT 1;"
    ),
    "a sequence that no column owns": (
        "CREATE SEQUENCE parcel_no; ALTER TABLE parcel ADD n bigint DEFAULT nextval('parcel_no');"
    ),
    "composite and range types": (
        "CREATE TYPE money_of AS (amount numeric, currency char(3));"
        " CREATE TYPE span AS RANGE (subtype = timestamptz);"
        " ALTER TABLE parcel ADD price money_of, ADD open_at span;"
    ),
    "an array of a domain over an enum": (
        "CREATE TYPE mood AS ENUM ('good'); CREATE DOMAIN moods AS mood[];"
        " ALTER TABLE parcel ADD moods moods DEFAULT '{good}';"
    ),
    "a policy that reads another table": (
        "CREATE TABLE staff (name text PRIMARY KEY); ALTER TABLE parcel ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY p ON parcel USING (EXISTS (SELECT FROM staff s WHERE s.name = 'a'));"
    ),
    "a rule that writes another table": (
        "CREATE TABLE gone (id bigint);"
        " CREATE RULE kept AS ON DELETE TO parcel DO ALSO INSERT INTO gone VALUES (OLD.id);"
    ),
    "a function that calls a function": (
        "CREATE FUNCTION inner_(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)';"
        " CREATE FUNCTION outer_(text) RETURNS text IMMUTABLE LANGUAGE sql"
        " AS 'SELECT public.inner_($1)';"
        " ALTER TABLE parcel ADD low text GENERATED ALWAYS AS (outer_(remark)) STORED;"
        " CREATE INDEX ON parcel (outer_(status));"
    ),
    "a trigger whose condition takes the row": (
        "CREATE FUNCTION big(parcel) RETURNS boolean LANGUAGE sql AS 'SELECT ($1).id > 5';"
        " CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        " CREATE TRIGGER t AFTER INSERT ON parcel FOR EACH ROW WHEN (big(NEW.*))"
        " EXECUTE FUNCTION noop();"
    ),
    "a serial column": "ALTER TABLE parcel ADD counted serial;",
    "a foreign key to another table": (
        "CREATE TABLE depot (id bigint PRIMARY KEY);"
        " ALTER TABLE parcel ADD depot_id bigint REFERENCES depot;"
    ),
}
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
UNRESTORABLE = """
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touch BEFORE UPDATE ON parcel FOR EACH ROW
  WHEN (OLD IS DISTINCT FROM NEW) EXECUTE FUNCTION touch();
ALTER TABLE parcel ADD loud text GENERATED ALWAYS AS (upper(remark)) STORED;
"""


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


@pytest.fixture
def parcels(committed_db: Database) -> Iterator[Rollout]:
    """A rollout of parcels, beside the sample's, whose phase 3 asks for a snapshot."""
    made = plan_of(STATUS)
    gated = replace(made.phases[3], gates=(r.SnapshotVerified(),))
    plan = replace(made, phases=(*made.phases[:3], gated, made.phases[4]))
    rollouts.execute(PARCEL)
    with known(plan) as rollout:
        yield rollout


@contextmanager
def known(plan: r.Plan) -> Iterator[Rollout]:
    """A plan of the project, for as long as this lasts."""
    plans._plans.append(plan)
    try:
        yield rollouts.the_rollout(plan.name)
    finally:
        plans._plans.remove(plan)


def of_trial(findings: Preflight | Readiness) -> list[Item]:
    return [item for item in findings.items if item.name == "trial of a snapshot"]


def scratch_databases() -> int:
    """Of this database: others' tests have theirs at the same time."""
    return int(
        rollouts.ask(
            "SELECT count(*) FROM pg_database WHERE starts_with(datname, 'rollout_scratch_' ||"
            " left(encode(sha256(current_database()::text::bytea), 'hex'), 8))"
        )
    )


def test_schemas_that_no_snapshot_restores_stop_phase_0_and_the_rest_is_taken(
    parcels: Rollout,
) -> None:
    rollouts.execute("".join([UNRESTORABLE, *NEEDS.values()]))
    (finding,) = of_trial(readiness_of(parcels))
    assert (finding.level, finding.phase) == ("blocks", 3)
    assert "The trigger public.parcel touch cannot be recreated from the dump" in finding.evidence
    assert finding.advice == "Drop it or define it differently, then take another snapshot."
    with pytest.raises(runner.Refused, match="“trial of a snapshot”: No snapshot of parcel can"):
        rollouts.start(parcels, 0)

    rollouts.execute("DROP TRIGGER touch ON parcel")
    (finding,) = of_trial(preflight_of(parcels, 0))
    assert finding.level == "pass"
    assert of_trial(preflight_of(parcels, 1)) == []
    rollouts.snapshot_of(parcels)
    assert scratch_databases() == 0


def test_a_trial_that_cannot_be_made_here_keeps_nothing_from_starting(
    parcels: Rollout, settings: Any
) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "PG_BIN": "/nowhere"}
    (finding,) = of_trial(preflight_of(parcels, 0))
    assert finding.level == "unknown"
    assert "pg_dump/pg_restore not found in /nowhere" in finding.evidence


def test_a_trial_beside_another_one_leaves_its_database_alone(parcels: Rollout) -> None:
    lock = "SELECT pg_advisory_lock(hashtext('rollout trial of a snapshot'))"
    with rollouts.locked(lock):
        (finding,) = of_trial(preflight_of(parcels, 0))
    assert (finding.level, finding.evidence) == (
        "unknown",
        "Could not be tested: Another test of a snapshot is running.",
    )


OF_TYPES = """
CREATE SCHEMA tools;
CREATE DOMAIN tools.number AS bigint CHECK (VALUE > 0);
CREATE TYPE tools.state AS ENUM ('open', 'sent', 'lost');
CREATE FUNCTION tools.lowered(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)';
CREATE FUNCTION tools.plain(text) RETURNS text IMMUTABLE LANGUAGE sql
  AS 'SELECT tools.lowered($1) || left(md5($1), 4)';
CREATE TABLE letter (
  id tools.number PRIMARY KEY,
  state tools.state NOT NULL,
  town text COLLATE "C");
INSERT INTO letter (id, state, town)
  SELECT g, (ARRAY['open', 'sent', 'lost'])[1 + g % 3]::tools.state, 'Town' || g % 7
    FROM generate_series(1, 200) g;
"""
LETTER = table(
    "letter",
    id=r.Column("tools.number", null=False),
    state=r.Column("tools.state", null=False),
    town="text",
)
LETTERS = plan_of(
    r.Lookup(table=LETTER, legacy="state", column="state_id", lookup_table="letter_states"),
    r.Derived(
        table=LETTER,
        column="town_key",
        type="text",
        expression="tools.plain(coalesce({town}, ''))",
        writable=False,
    ),
    name="letters",
)


def test_a_selftest_makes_types_and_functions_in_its_copy(
    committed_db: Database, cli: Cli, settings: Any
) -> None:
    rollouts.execute(OF_TYPES)
    with known(LETTERS) as letters:
        rollouts.carry_out(letters, 0, 1, 2)
        code, out, err = cli("audit-selftest", LETTERS.name)
        assert (code, err) == (0, ""), out
        settings.ROLLOUT = {**settings.ROLLOUT, "PG_BIN": "/nowhere"}
        code, out, err = cli("audit-selftest", LETTERS.name)
    assert code == 2
    assert "Cannot create the copy: " in out + err
    assert "Install the server's pg_dump here" in out + err
