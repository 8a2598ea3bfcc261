"""The rights that docs/deploy lists are enough, for the console's role and the application's."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.core.management import call_command
from django.db import ProgrammingError, connection, transaction
from psycopg import errors

from config.home import ROOT
from properties import VERSION
from rollout import modes
from rollout.engine.target import Connection
from rollout.lookups import NotMapped, decided_meanings, known_lookup_id, lookup_id
from tests.support import rollouts
from tests.support.servers import Database

pytestmark = pytest.mark.xdist_group("roles")

ADD = """
INSERT INTO properties (id, title, description, address, city, postal_code, type, status, price,
                        bedrooms, bathrooms, created_at, updated_at)
VALUES (%s, 't', '', 'a', 'c', '1', %s, 'For sale', 1, 1, 1, now(), now())
"""


@dataclass(frozen=True)
class Roles:
    """The names of the three roles in this test."""

    console: str
    app_owner: str
    app: str


def run_file(name: str, roles: Roles, opened: psycopg.Connection[Any]) -> None:
    """Carry a file of docs/deploy out, its variables filled in as psql does."""
    database = opened.info.dbname
    text = (ROOT / "docs/deploy" / name).read_text()
    values = {**vars(roles), "database": database}
    opened.execute(re.sub(r"(?<!:):(\w+)", lambda m: f'"{values[m[1]]}"', text).encode())


@pytest.fixture
def roles(committed_db: Database) -> Iterator[Roles]:
    """A database as a team has it: tables of an owner's, used by an application's role."""
    mark = uuid4().hex[:8]
    roles = Roles(*(f"{name}_{mark}" for name in ("console", "app_owner", "app")))
    rollouts.load_listings(200)
    with psycopg.connect(committed_db.url, autocommit=True, application_name="psql") as superuser:

        def run(text: str) -> None:
            superuser.execute(text.encode())

        run("DROP SCHEMA rollout CASCADE")
        run(f"CREATE ROLE {roles.app_owner} NOLOGIN; CREATE ROLE {roles.app} LOGIN")
        run("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        for table in ("properties", "property_images"):
            run(f"ALTER TABLE {table} OWNER TO {roles.app_owner}")
            run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {roles.app}")
        run_file("roles.sql", roles, superuser)
        # What its own `migrate` would have made is the console's.
        for (table,) in superuser.execute(
            "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"
            " AND tablename NOT IN ('properties', 'property_images')"
        ).fetchall():
            run(f"ALTER TABLE {table} OWNER TO {roles.console}")
        with connected_as(roles.console):
            yield roles
        run(f"REASSIGN OWNED BY {roles.console}, {roles.app_owner} TO CURRENT_USER")
        for role in (roles.app, roles.console, roles.app_owner):
            run(f"DROP OWNED BY {role}")
        run(f"DROP ROLE {roles.console}, {roles.app_owner}, {roles.app}")


@contextmanager
def connected_as(role: str) -> Iterator[None]:
    """Django, and with it the engine, connects as a role."""
    usual = connection.settings_dict["USER"]
    connection.close()
    connection.settings_dict["USER"] = role
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["USER"] = usual


@contextmanager
def application(database: Database, roles: Roles) -> Iterator[Connection]:
    name = f"properties/{VERSION}"
    with psycopg.connect(
        database.url, user=roles.app, autocommit=True, application_name=name
    ) as opened:
        yield opened


def test_a_plan_goes_to_its_end_and_back_beside_an_application_without_rights_in_its_schema(
    roles: Roles, committed_db: Database
) -> None:
    call_command("migrate", verbosity=0)
    rollout = rollouts.the_rollout()

    def write(app: Connection, text: str) -> None:
        key = uuid4()
        app.execute(ADD, [key, text])
        app.execute("UPDATE properties SET type = %s WHERE id = %s", [f"{text} ", key])

    with application(committed_db, roles) as app:
        write(app, "House")
        for phase in (0, 1, 2, 3):
            rollouts.carry_out(rollout, phase)
            write(app, f"House of phase {phase}")
        lookups = "SELECT count(*) FROM property_types WHERE name LIKE 'House of phase%'"
        row = app.execute(lookups).fetchone()
        assert row == (4,)
        rollouts.carry_out(rollout, 4)
        rollouts.carry_back(rollout, 4)
        write(app, "House again")
        rollouts.carry_back(rollout, 3, 2, 1, 0)
        texts = app.execute("SELECT count(*) FROM properties WHERE type LIKE 'House of phase%'")
        assert texts.fetchone() == (4,)
        with pytest.raises(errors.InsufficientPrivilege):
            app.execute("SELECT * FROM rollout.modes")


def test_an_application_reads_its_mode_with_the_rights_of_the_second_file_and_no_more(
    roles: Roles, committed_db: Database
) -> None:
    call_command("migrate", verbosity=0)
    with psycopg.connect(committed_db.url, user=roles.console, autocommit=True) as console:
        run_file("modes.sql", roles, console)
    modes._last.clear()
    with connected_as(roles.app), modes.current_modes(rollouts.PLAN) as modes_now:
        assert (modes_now.read, modes_now.write) == ("legacy", "legacy")
        with pytest.raises(NotMapped, match="Write the text alone"), transaction.atomic():
            lookup_id(rollouts.PLAN, "properties.type", "House")
    rollout = rollouts.the_rollout()
    for phase in (0, 1, 2):
        rollouts.carry_out(rollout, phase)
    with connected_as(roles.app):
        house = lookup_id(rollouts.PLAN, "properties.type", "House")
        assert house == known_lookup_id(rollouts.PLAN, "properties.type", " HOUSE ")
        assert lookup_id(rollouts.PLAN, "properties.type", "Lighthouse") is not None
        with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
            decided_meanings(rollouts.PLAN, "properties.type")
    with application(committed_db, roles) as app:
        for forbidden in (
            "UPDATE rollout.modes SET read_mode = 'new'",
            "SELECT * FROM rollout.lanes",
            "SELECT * FROM rollout_logentry",
            "CREATE TABLE rollout.mine ()",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                app.execute(forbidden.encode())


def test_the_roles_of_the_document_are_neither_superusers_nor_may_they_make_roles(
    roles: Roles,
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolsuper, rolcreaterole, rolbypassrls, rolreplication FROM pg_roles"
            " WHERE rolname = current_user"
        )
        assert cursor.fetchone() == (False, False, False, False)
