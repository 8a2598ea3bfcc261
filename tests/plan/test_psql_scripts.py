"""The scripts of each phase, run by psql as they are, twice each way, on two servers."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from inspect import isabstract
from pathlib import Path
from uuid import UUID

import pytest
from psycopg import sql

from config import embedded
from properties.rollout import PLAN as SHIPPED
from rollout import plan as language
from rollout.engine.target import Connection, Target, install
from rollout.plan import Plan, SqlFiles, Step, Table
from rollout.plan.psql_scripts import forward_script, rollback_script
from tests.engine.sample_plans import before_drop, with_step
from tests.engine.samples import BIGINT, DIRTY, ODD, PARTITIONED, REQUIRED, Sample
from tests.engine.test_every_phase import schema_of, whole_schema_of
from tests.plan.example_files import FILES
from tests.plan.partitioned_shops import OF_TICKETS
from tests.plan.partitioned_shops import TICKETS as PARTED
from tests.plan.test_conversions import DOC, NAMES, NOTE, OFFERS, PRICE, SEEN
from tests.plan.test_extractions import AGENT, CONFLICTS, HOMES
from tests.plan.test_vocabularies import CHECK, ENUM, ORDERS
from tests.plan.test_vocabularies import plan_of as plan_of_words
from tests.plan.test_wide_keys import TICKETS, create_shop, widening
from tests.schemas import plan_of
from tests.support.bare_databases import clear, database_on
from tests.support.processes import completed
from tests.support.servers import template_url

pytestmark = pytest.mark.slow

# The scripts leave it to the console.
TASK = language.RunTask(
    id="task",
    description="Mark what was seen",
    table=BIGINT.table,
    function="tests.engine.test_task_batches.mark",
    where="{state} = 'unseen'",
    undo="",
)


CSV_TASK = language.RunCsvTask(
    id="csv", description="Import", columns=("a",), function="tests.engine.test_csv_files.note"
)


def with_files(plan: Plan, directory: Path) -> Plan:
    for name, (up, down) in FILES.items():
        (directory / f"{name}.up.sql").write_text(up)
        (directory / f"{name}.down.sql").write_text(down)
    for step in SqlFiles(directory).steps:
        assert step.problems == ()
        plan = with_step(plan, step.phase, step)
    rename = language.RenameTable(id="rename", description="Rename", name="par%t", to="Par ts")
    old_name = language.DropOldName(id="drop-name", description="Drop the name", of=rename)
    table = language.DropTable(id="drop-old", description="Drop the table", name="old things")
    plan = with_step(with_step(with_step(plan, 3, rename), 4, old_name), 4, table)
    plan = with_step(with_step(plan, 2, TASK), 3, CSV_TASK)
    return with_step(plan, 4, view_of(BIGINT.table))


def view_of(table: Table) -> language.LegacyView:
    return language.LegacyView(
        id="view", description="Show it as it was", table=table, name=f"{table.name} of old"
    )


# One of them takes its legacy column's name.
CONVERSIONS = plan_of(PRICE, NAMES, replace(DOC, keeps_name=True, required=True), SEEN, NOTE)


def create_offers(connection: Connection) -> None:
    """Rows of which two do not convert, and many come back in another spelling."""
    connection.execute(OFFERS.encode())
    connection.execute("UPDATE offer SET price = 'on request' WHERE id IN (7, 8)")


def create_homes(connection: Connection) -> None:
    """Groups with conflicts, without a key, and without any value."""
    connection.execute((HOMES + CONFLICTS).encode())


def create_partitions(connection: Connection) -> None:
    """Tickets in partitions of two levels, and lines that refer to them."""
    connection.execute(PARTED.encode())


def create_orders(connection: Connection) -> None:
    """Texts in several spellings, and blanks."""
    connection.execute(ORDERS.encode())


@dataclass(frozen=True)
class Case:
    """A plan and the tables that it is about, with rows in them."""

    name: str
    plan: Callable[[Path], Plan]
    create: Callable[[Connection], None]

    def __str__(self) -> str:
        return self.name


def over(sample: Sample, *, files: bool = False, view: bool = False) -> Case:
    def create(connection: Connection) -> None:
        sample.create(connection)
        if files:
            connection.execute('CREATE TABLE "old things" AS SELECT 1 AS id')
            connection.execute(b'CREATE TABLE "par%t" AS SELECT 1 AS id')
        for number, kind in enumerate(DIRTY):
            texts = (kind, DIRTY[-1 - number])
            if not sample.text_null:
                texts = ((texts[0] or "")[:24], (texts[1] or "")[:24])
            sample.insert(connection, number, kind=texts[0], state=texts[1])

    plan = before_drop(sample.plan, view_of(sample.table)) if view else sample.plan
    return Case(
        f"{sample}{' and files' if files else ''}",
        lambda directory: with_files(plan, directory) if files else plan,
        create,
    )


def create_listings(connection: Connection) -> None:
    dump = completed(
        [
            *(embedded.program("pg_dump"), "--schema-only", "--no-owner", template_url()),
            *("--table=properties", "--table=property_images"),
        ],
        check=True,
    ).stdout
    # What psql alone understands, and settings, some of which servers before 17 do not.
    settings = ("\\", "SET ", "SELECT pg_catalog.set_config")
    lines = (line for line in dump.splitlines() if not line.startswith(settings))
    # A dump of single tables leaves out the extension of their indexes.
    connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public")
    connection.execute("\n".join(lines).encode())
    for number, text in enumerate(DIRTY):
        connection.execute(
            "INSERT INTO properties (id, title, description, address, city, postal_code,"
            " type, status, created_at, updated_at)"
            " VALUES (%s, 'T', '', '', 'Köln', '', %s, %s, now(), now())",
            [UUID(int=number), text, DIRTY[-1 - number]],
        )
    connection.execute(
        "INSERT INTO property_images (id, property_id, url, position, created_at)"
        " SELECT id, id, '/media/none.png', 0, now() FROM properties LIMIT 3"
    )


CASES = (
    Case("shipped", lambda _: SHIPPED, create_listings),
    over(BIGINT, files=True),
    over(ODD),
    over(REQUIRED, view=True),
    over(PARTITIONED),
    Case(
        "conversions",
        lambda _: before_drop(CONVERSIONS, view_of(CONVERSIONS.tables[0])),
        create_offers,
    ),
    Case(
        "an extraction",
        lambda _: plan_of(replace(AGENT, conflicts="newest", newest="made_at")),
        create_homes,
    ),
    Case("wide keys", lambda _: widening(TICKETS), create_shop),
    Case("an enum", lambda _: plan_of_words(ENUM), create_orders),
    Case("a check", lambda _: plan_of_words(CHECK), create_orders),
    Case("wide keys of partitions", lambda _: widening(OF_TICKETS), create_partitions),
)
ON_OLDEST = CASES[0], CASES[3], CASES[6], CASES[7], CASES[-1]


@pytest.fixture(scope="module")
def oldest(old: Target) -> Iterator[Target]:
    with database_on(old) as target:
        yield target


@pytest.fixture
def script_server(request: pytest.FixtureRequest) -> Target:
    """The embedded server, or the oldest one that is installed."""
    target: Target = request.getfixturevalue(request.param)
    return target


every_case = pytest.mark.parametrize(
    ("script_server", "case"),
    [
        *(pytest.param("target", case, id=str(case)) for case in CASES),
        *(pytest.param("oldest", case, id=f"{case} on the oldest server") for case in ON_OLDEST),
    ],
    indirect=["script_server"],
)


@dataclass(frozen=True)
class Site:
    """A database that a plan is run in by hand, and what psql said there last."""

    target: Target
    connection: Connection
    plan: Plan
    directory: Path

    def run(self, script: str) -> tuple[int, str]:
        file = self.directory / "script.sql"
        file.write_text(script)
        done = completed(
            [embedded.program("psql"), "-X", "-f", file],
            env={**os.environ, **self.target.environment, "LC_ALL": "C.UTF-8"},
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr

    def forward(self, number: int) -> tuple[int, str]:
        return self.run(forward_script(self.plan, number))

    def back(self, number: int) -> tuple[int, str]:
        return self.run(rollback_script(self.plan, number))

    def must(self, answer: tuple[int, str]) -> str:
        code, output = answer
        assert code == 0, output
        return output

    def legacy(self) -> object:
        """What the application had before: its schema, and its rows."""
        return schema_of(self.target), self.rows("rollout")

    def everything(self) -> object:
        return whole_schema_of(self.target), self.rows("")

    def rows(self, besides: str) -> dict[str, object]:
        tables = self.connection.execute(
            "SELECT n.nspname, c.relname FROM pg_class AS c"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm')"
            " AND n.nspname NOT IN ('pg_catalog', 'information_schema', %s)"
            " AND n.nspname !~ '^pg_'",
            [besides],
        ).fetchall()
        rows: dict[str, object] = {}
        for table in tables:
            query = sql.SQL(
                "SELECT jsonb_agg(to_jsonb(t) ORDER BY to_jsonb(t)::text) FROM {} AS t"
            ).format(sql.Identifier(*table))
            row = self.connection.execute(query).fetchone()
            rows[".".join(table)] = row and row[0]
        return rows


@pytest.fixture
def script_site(script_server: Target, case: Case, template: str, tmp_path: Path) -> Iterator[Site]:
    # Its own worker's name would keep the scripts from their work.
    with script_server.connect() as connection:
        connection.execute("SET application_name = 'a test'")
        clear(connection)
        connection.execute("SET search_path = public")
        case.create(connection)
        yield Site(script_server, connection, case.plan(tmp_path), tmp_path)


def changed(output: str) -> list[str]:
    """The lines of psql that tell of something done that was not so already."""
    return [line for line in output.splitlines() if line.endswith("  done")]


@every_case
def test_a_second_run_of_each_script_changes_nothing_and_the_wrong_order_is_refused(
    script_site: Site, case: Case
) -> None:
    for number in range(1, 5):
        before = script_site.legacy()
        if number < 4:
            code, output = script_site.forward(number + 1)
            assert (code, f"Phase {number} is not done" in output) == (3, True), output
        assert script_site.legacy() == before
        assert changed(script_site.must(script_site.forward(number)))
        after = script_site.everything()
        assert changed(script_site.must(script_site.forward(number))) == []
        assert script_site.everything() == after
        if number > 1:
            for run_script in (script_site.forward, script_site.back):
                code, output = run_script(number - 1)
                assert (code, f"Phase {number} has begun" in output) == (3, True), output
            assert script_site.everything() == after
        assert changed(script_site.must(script_site.back(number)))
        assert script_site.legacy() == before
        assert changed(script_site.must(script_site.back(number))) == []
        assert script_site.legacy() == before
        if number < 4:
            output = script_site.must(script_site.back(number + 1))
            assert f"phase {number} is not in place" in output
            assert script_site.legacy() == before
        script_site.must(script_site.forward(number))


@pytest.mark.parametrize(
    ("script_server", "case"), [("target", CASES[1])], indirect=["script_server"]
)
def test_a_script_refuses_a_database_in_which_the_console_has_never_been(
    script_site: Site, case: Case
) -> None:
    script_site.connection.execute("DROP SCHEMA rollout CASCADE")
    before = script_site.everything()
    code, output = script_site.forward(1)
    assert (code, "Phase 0 has not run here" in output) == (3, True), output
    assert script_site.everything() == before
    install(script_site.connection)
    assert changed(script_site.must(script_site.forward(1)))


@pytest.mark.parametrize(
    ("script_server", "case"), [("target", CASES[1])], indirect=["script_server"]
)
def test_a_phase_whose_rows_are_not_all_filled_in_is_not_followed_by_the_next(
    script_site: Site, case: Case
) -> None:
    for number in (1, 2):
        script_site.must(script_site.forward(number))
    script_site.connection.execute("SET session_replication_role = replica")
    script_site.connection.execute("UPDATE things SET kind_id = NULL WHERE id < 3")
    before = script_site.everything()
    code, output = script_site.forward(3)
    assert (code, "3 rows of things are not backfilled yet" in output) == (3, True), output
    assert script_site.everything() == before
    assert changed(script_site.must(script_site.forward(2))) == []
    script_site.must(script_site.forward(3))


@pytest.mark.parametrize(
    ("script_server", "case"), [("target", CASES[1])], indirect=["script_server"]
)
def test_a_rollback_that_stopped_before_its_texts_were_restored_is_not_followed_by_the_next(
    script_site: Site, case: Case
) -> None:
    for number in range(1, 5):
        script_site.must(script_site.forward(number))
    whole = rollback_script(script_site.plan, 4)
    dies = whole.replace("CALL pg_temp.in_batches(", "CALL pg_temp.refuse('killed');\n--", 1)
    assert script_site.run(dies)[0] == 3
    half = script_site.everything()
    code, output = script_site.back(3)
    assert (code, "Phase 4 has begun" in output) == (3, True), output
    assert script_site.everything() == half
    script_site.must(script_site.back(4))
    script_site.must(script_site.back(3))


def test_every_kind_of_step_is_among_the_plans_that_are_run(tmp_path: Path) -> None:
    kinds = {
        kind
        for name in language.__all__
        if isinstance(kind := getattr(language, name), type)
        and issubclass(kind, Step)
        and not isabstract(kind)
    }
    tried = {
        type(step)
        for case in (*CASES[:2], CASES[4], CASES[6], CASES[8])
        for phase in case.plan(tmp_path).phases
        for step in phase.steps
    }
    assert tried == kinds
