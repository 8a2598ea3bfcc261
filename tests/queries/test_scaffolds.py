"""A first plan for a live table: it passes the checks as written, and runs forward and back."""

from datetime import date
from itertools import pairwise

import pytest

from rollout.checks.plans import check_plan
from rollout.engine.introspections import TableNotFound, introspect
from rollout.engine.target import Connection, Target
from rollout.engine.value_decisions import decide_values
from rollout.plan import Convert, Derived, Lookup, Plan
from rollout.queries.scaffold_parts import CannotScaffold, Scaffold
from rollout.queries.scaffolds import scaffold
from tests.engine.actions import do_phase, undo_phase
from tests.engine.samples import BIGINT, COMPOSITE, DIRTY, LISTED, ODD, REQUIRED, Sample
from tests.engine.test_every_phase import fill_with_dirt, schema_of
from tests.plan.partitioned_shops import TICKETS

pytestmark = pytest.mark.usefixtures("own_plans")

TODAY = date(2024, 5, 6)


def scaffolded(connection: Connection, table: str, *columns: str) -> Scaffold:
    return scaffold(introspect(connection, table, columns), columns, today=TODAY)


def plan_of(written: Scaffold) -> Plan:
    names: dict[str, object] = {}
    exec(compile(written.source, "rollout.py", "exec"), names)  # noqa: S102
    plan = names["PLAN"]
    assert isinstance(plan, Plan)
    assert plan.name == written.plan
    assert check_plan(plan) == []
    return plan


def there_and_back(target: Target, connection: Connection, plan: Plan) -> None:
    """Each phase and its rollback; the schema is what it was."""
    schema = schema_of(target)
    for number in range(5):
        do_phase(target, connection, plan, number)
    for number in reversed(range(5)):
        undo_phase(target, connection, plan, number)
    assert schema_of(target) == schema


@pytest.mark.slow
@pytest.mark.parametrize("sample", [BIGINT, COMPOSITE, ODD, LISTED, REQUIRED], ids=str)
def test_a_plan_for_any_table_passes_the_checks_and_goes_forward_and_back(
    sample: Sample, target: Target, connection: Connection
) -> None:
    sample.create(connection)
    if sample is REQUIRED:
        for number, kind in enumerate(DIRTY):
            sample.insert(connection, number, kind=(kind or "")[:24], state=(kind or "")[:24])
    else:
        fill_with_dirt(sample, connection)
    texts = sample.texts(connection)
    name = sample.table_name if sample.schema == "public" else sample.table.label
    written = scaffolded(connection, name, sample.column("kind"), sample.column("state"))
    plan = plan_of(written)
    assert [type(t) for t in plan.translations] == [Lookup, Lookup]
    assert plan.tables[0] == sample.table or set(plan.tables[0].columns) < set(sample.table.columns)
    there_and_back(target, connection, plan)
    assert sample.texts(connection) == texts


def test_contents_of_a_column_decide_its_translation(
    target: Target, connection: Connection
) -> None:
    connection.execute(
        "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " state varchar(10) NOT NULL DEFAULT 'new', paid text, note text, amount real NOT NULL,"
        " state_id integer, orders_states integer)"
    )
    connection.execute("CREATE TABLE orders_states (id integer)")
    connection.execute(
        "INSERT INTO orders (state, paid, note, amount) SELECT (ARRAY['new', 'NEW ', 'sent', ''])"
        "[1 + n % 4], (ARRAY['yes', 'no', 'Y', NULL])[1 + n % 4], 'note ' || n, n / 3.0"
        " FROM generate_series(1, 400) AS n"
    )
    written = scaffolded(connection, "orders", "state", "paid", "note", "amount")
    plan = plan_of(written)
    state, paid, note, amount = plan.translations
    assert isinstance(state, Lookup)
    # Names that are taken are left alone, and blanks have a row that varchar(10) can hold.
    assert (state.column, state.lookup_table) == ("state_id_2", "orders_states_2")
    assert state.blank == "Unknown"
    assert "# 4 spellings of 3 values in 400 rows, 100 of them blank: a lookup." in written.source
    assert '# Most common: "new", "sent".' in written.source
    assert isinstance(paid, Convert)
    assert (paid.name, paid.added["is_paid"].type, paid.required) == ("is_paid", "boolean", False)
    assert isinstance(note, Derived)
    assert (note.column, note.required) == ("note_tidy", False)
    assert isinstance(amount, Derived)
    assert (amount.type, amount.required) == ("real", True)
    many, no_text = written.notes
    assert many.startswith("note has 400 distinct values, too many for a lookup")
    assert no_text.startswith("amount is real, not text.")
    before = connection.execute("SELECT * FROM orders ORDER BY id").fetchall()
    for number in range(4):
        do_phase(target, connection, plan, number)
    pairs = connection.execute("SELECT paid, is_paid FROM orders GROUP BY 1, 2").fetchall()
    assert dict(pairs) == {"yes": True, "no": False, "Y": True, None: None}
    for number in reversed(range(4)):
        undo_phase(target, connection, plan, number)
    assert connection.execute("SELECT * FROM orders ORDER BY id").fetchall() == before


def test_a_plan_without_a_lookup_leaves_the_columns_that_it_reads(
    target: Target, connection: Connection
) -> None:
    connection.execute("CREATE TABLE flags (id uuid PRIMARY KEY, done text)")
    connection.execute("INSERT INTO flags VALUES (gen_random_uuid(), 'y')")
    plan = plan_of(scaffolded(connection, "flags", "done"))
    there_and_back(target, connection, plan)


def test_indexes_are_dropped_and_rebuilt_and_what_has_no_step_is_reported(
    target: Target, connection: Connection
) -> None:
    connection.execute(
        "CREATE TABLE parts (a integer, b text, kind text, PRIMARY KEY (a, b), UNIQUE (a, kind));"
        "CREATE UNIQUE INDEX parts_kind ON parts (kind, a);"
        "CREATE INDEX parts_open ON parts (a) WHERE kind = 'open';"
        "CREATE INDEX parts_lower ON parts (lower(kind));"
        "CREATE INDEX parts_other ON parts (b)"
    )
    written = scaffolded(connection, "parts", "kind")
    assert [note.split(" is dropped")[0] for note in written.notes] == [
        "The constraint parts_a_kind_key",
        "The index parts_lower",
        "The index parts_open",
    ]
    assert "# Dropped with its column: CREATE INDEX parts_open" in written.source
    assert "parts_other" not in written.source
    plan = plan_of(written)
    for number in range(5):
        do_phase(target, connection, plan, number)
    unique = connection.execute(
        "SELECT indexdef FROM pg_indexes WHERE indexname = 'parts_kind_id_a_idx'"
    ).fetchone()
    assert unique == (
        "CREATE UNIQUE INDEX parts_kind_id_a_idx ON public.parts USING btree (kind_id, a)",
    )
    for number in reversed(range(5)):
        undo_phase(target, connection, plan, number)
    back = connection.execute(
        "SELECT indexdef FROM pg_indexes WHERE indexname = 'parts_kind'"
    ).fetchone()
    assert back == ("CREATE UNIQUE INDEX parts_kind ON public.parts USING btree (kind, a)",)


def test_a_unique_index_beside_a_plain_one_of_the_same_columns_is_rebuilt(
    target: Target, connection: Connection
) -> None:
    connection.execute(
        "CREATE TABLE parts (id integer PRIMARY KEY, kind text);"
        "CREATE INDEX parts_a ON parts (kind);"
        "CREATE UNIQUE INDEX parts_b ON parts (kind);"
        "CREATE UNIQUE INDEX parts_c ON parts (kind)"
    )
    plan = plan_of(scaffolded(connection, "parts", "kind"))
    for number in range(5):
        do_phase(target, connection, plan, number)
    rebuilt = connection.execute(
        "SELECT indexdef LIKE '%UNIQUE%' FROM pg_indexes"
        " WHERE indexdef LIKE '%public.parts USING btree (kind_id)' ORDER BY 1"
    ).fetchall()
    assert rebuilt == [(False,), (True,)]


@pytest.mark.parametrize(
    ("table", "column", "reason"),
    [
        ("nowhere", "a", "Table 'nowhere' not found."),
        ("mixed", "a", "Table 'mixed' not found. Did you mean 'Mixed'?"),
        ("Mixed", "kind", "Mixed has no column 'kind'. Its columns: 'Id', 'Kind', 'Loud', 'Code'."),
        ("Mixed", "Id", "Mixed.Id is part of the primary key"),
        ("Mixed", "Loud", "Mixed.Loud is generated."),
        ("Mixed", "Code", "Mixed.Code is character(4), which ignores trailing spaces"),
        ("keyless", "a", "keyless has no primary key"),
    ],
)
def test_column_without_a_possible_plan_is_refused_with_advice(
    connection: Connection, table: str, column: str, reason: str
) -> None:
    connection.execute(
        'CREATE TABLE "Mixed" ("Id" bigint PRIMARY KEY, "Kind" text,'
        ' "Loud" text GENERATED ALWAYS AS (upper("Kind")) STORED, "Code" char(4));'
        "CREATE TABLE keyless (a text)"
    )
    with pytest.raises((TableNotFound, CannotScaffold)) as refused:
        scaffolded(connection, table, column)
    assert str(refused.value).startswith(reason)


def test_the_text_reads_as_if_somebody_had_written_it(connection: Connection) -> None:
    for sample in (ODD, LISTED):
        sample.create(connection)
        written = scaffolded(connection, sample.table.label, sample.column("kind"))
        lines = written.source.split("\n")
        assert lines[0].endswith(f'on {TODAY}."""')
        assert lines[-1] == ""
        assert not any(line != line.rstrip() for line in lines)
        assert not any((a, b, c) == ("", "", "") for (a, b), (_, c) in pairwise(pairwise(lines)))


@pytest.mark.parametrize("type_", ["citext", "mood"])
def test_a_column_of_a_type_of_the_databases_own_becomes_a_lookup(
    connection: Connection, type_: str
) -> None:
    connection.execute(
        "CREATE EXTENSION IF NOT EXISTS citext; DROP TYPE IF EXISTS mood CASCADE;"
        " CREATE TYPE mood AS ENUM ('glad', 'sad');"
    )
    connection.execute(
        f"CREATE TABLE guests (id bigint PRIMARY KEY, mood {type_});".encode()
        + b"INSERT INTO guests SELECT n, (ARRAY['glad', 'sad']::text[])[1 + n % 2]::"
        + f"{type_} FROM generate_series(1, 20) AS n".encode()
    )
    made = scaffold(introspect(connection, "guests", ["mood"]), ("mood",), today=date(2026, 1, 1))
    assert "MOOD = r.Lookup(" in made.source


@pytest.mark.parametrize(("rest", "blank"), [(" NOT NULL", None), ("", "None")])
def test_a_lookup_has_a_row_for_blanks_where_there_can_be_any(
    target: Target, connection: Connection, rest: str, blank: str | None
) -> None:
    connection.execute(
        f"CREATE TABLE checked (id bigint PRIMARY KEY, status varchar(6){rest});"
        "INSERT INTO checked SELECT n, (ARRAY['up', 'down'])[1 + n % 2]"
        " FROM generate_series(1, 20) AS n".encode()
    )
    plan = plan_of(scaffolded(connection, "checked", "status"))
    (status,) = plan.translations
    assert isinstance(status, Lookup)
    assert status.blank == blank
    assert status.required
    there_and_back(target, connection, plan)


def test_numbers_dates_and_answers_in_text_become_conversions_that_name_what_stays_behind(
    target: Target, connection: Connection
) -> None:
    connection.execute(
        "CREATE TABLE visits (id smallint PRIMARY KEY, price text, seats varchar(9) NOT NULL,"
        " day text, born text, seen text, logged text, paid text);"
        "INSERT INTO visits SELECT 14000 + n, (n / 4.0)::text, n::text, date '2024-01-31' + n,"
        " to_char(date '2000-01-31' + n, 'DD.MM.YYYY'),"
        " to_char(timestamp '2024-01-31 10:00' + n * '1 h'::interval, 'YYYY-MM-DD HH24:MI:SS'),"
        " to_char(timestamp '2024-01-31 10:00' + n * '1 h'::interval, 'YYYY-MM-DD HH24:MI:SS')"
        "  || '+00', (ARRAY['Y', 'n'])[1 + n % 2] FROM generate_series(1, 60) AS n;"
        "UPDATE visits SET price = 'on \"request\"' WHERE id IN (14001, 14002);"
        "UPDATE visits SET paid = NULL, day = '' WHERE id = 14003"
    )
    columns = ("price", "seats", "day", "born", "seen", "logged", "paid")
    written = scaffolded(connection, "visits", *columns)
    plan = plan_of(written)
    assert {type(t) for t in plan.translations} == {Convert}
    added = [(n, c.type) for t in plan.translations for n, c in t.added.items()]
    assert added == [
        ("price_number", "numeric"),
        ("seats_number", "bigint"),
        ("day_date", "date"),
        ("born_date", "date"),
        ("seen_at", "timestamp without time zone"),
        ("logged_at", "timestamp with time zone"),
        ("is_paid", "boolean"),
    ]
    required = [t.required for t in plan.translations if isinstance(t, Convert)]
    assert required == [False, True, *[False] * 5]
    assert 'price is numeric in text: 2 rows will not convert, for example "on \\"request\\"".' in (
        written.notes
    )
    used = "visits.id has used 14,060 of 32,767 (42 %)."
    (key,) = (note for note in written.notes if note.startswith(used))
    assert key.endswith("name this column alone, and the scaffold writes it.")
    assert f"# {used}" in written.source
    before = connection.execute("SELECT * FROM visits ORDER BY id").fetchall()
    (price, *_) = plan.translations
    decision = {'["on \\"request\\""]': {"price_number": "0"}}
    assert isinstance(price, Convert)
    decide_values(connection, plan, price, decision, reviewer="lena")
    there_and_back(target, connection, plan)
    restored = f"SELECT id, {', '.join(columns)} FROM visits ORDER BY id"
    assert connection.execute(restored).fetchall() == before


def test_an_integer_key_named_alone_becomes_wide_with_all_that_refers_to_it(
    target: Target, connection: Connection
) -> None:
    connection.execute(
        "CREATE TABLE places (id serial PRIMARY KEY, parent_id integer REFERENCES places);"
        'CREATE TABLE "Their photos" (place integer REFERENCES places, "no" integer,'
        '  cover_of integer REFERENCES places, PRIMARY KEY (place, "no"));'
        "CREATE TABLE wide_notes (id bigint PRIMARY KEY, place bigint REFERENCES places);"
        "INSERT INTO places SELECT 1200000000 + n FROM generate_series(1, 20) AS n;"
        'INSERT INTO "Their photos" SELECT 1200000000 + n, 1 FROM generate_series(1, 20) AS n'
    )
    written = scaffolded(connection, "places", "id")
    assert written.notes == (
        "places.id has used 1,200,000,020 of 2,147,483,647 (55 %). When it runs out is unknown: no "
        "column of the table tells, over a day or more, when rows were made. 3 columns refer to it "
        "by a foreign key.",
    )
    plan = plan_of(written)
    assert [(t.table.name, *t.reads) for t in plan.translations if isinstance(t, Convert)] == [
        ("Their photos", "cover_of"),
        ("Their photos", "place"),
        ("places", "parent_id"),
        ("places", "id"),
    ]
    there_and_back(target, connection, plan)


def test_a_column_of_a_composite_key_becomes_wide_with_what_refers_to_it_or_to_a_partition(
    target: Target, connection: Connection
) -> None:
    connection.execute(TICKETS.encode())
    plan = plan_of(scaffolded(connection, "ticket", "id"))
    assert [(t.table.name, *t.reads) for t in plan.translations if isinstance(t, Convert)] == [
        ("first_line", "ticket"),
        ("line", "ticket"),
        ("ticket", "id"),
    ]
    there_and_back(target, connection, plan)


def test_a_column_that_a_sequence_numbers_becomes_wide_without_being_a_key(
    target: Target, connection: Connection
) -> None:
    connection.execute(
        "CREATE TABLE bills (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), number serial UNIQUE);"
        "CREATE TABLE entries (bill integer REFERENCES bills (number), entry integer,"
        "  PRIMARY KEY (bill, entry));"
        "INSERT INTO bills SELECT FROM generate_series(1, 20);"
        "INSERT INTO entries SELECT n, 1 FROM generate_series(1, 20) AS n"
    )
    plan = plan_of(scaffolded(connection, "bills", "number"))
    assert [(t.table.name, *t.reads) for t in plan.translations if isinstance(t, Convert)] == [
        ("entries", "bill"),
        ("bills", "number"),
    ]
    there_and_back(target, connection, plan)
    # A part of a key that refers to another table's is one of its own.
    plan = plan_of(scaffolded(connection, "entries", "entry"))
    assert [(t.table.name, *t.reads) for t in plan.translations if isinstance(t, Convert)] == [
        ("entries", "entry")
    ]


def test_a_wide_key_that_cannot_be_handed_on_is_refused_with_its_table(
    connection: Connection,
) -> None:
    connection.execute(
        "CREATE TABLE places (id integer PRIMARY KEY);"
        "CREATE TABLE notes (place integer REFERENCES places);"
        "CREATE TABLE parted (id integer PRIMARY KEY) PARTITION BY RANGE (id);"
        "CREATE TABLE twice (id integer, day date, PRIMARY KEY (day, id)) PARTITION BY LIST (day);"
        "CREATE TABLE twice_1 PARTITION OF twice DEFAULT PARTITION BY HASH (id)"
    )
    for table, reason in (
        ("places", "notes has no primary key, which identifies rows"),
        ("parted", "parted is partitioned by id"),
        ("twice", "twice is partitioned by id"),
    ):
        with pytest.raises(CannotScaffold, match=reason):
            scaffolded(connection, table, "id")
