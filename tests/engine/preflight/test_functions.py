"""Functions of the application's that take the shape of a table's rows for granted."""

import pytest

from rollout.engine.target import Target
from tests.schemas import PARCEL, MakeScenario, RefusedByPreflight

TRIGGER = """
CREATE FUNCTION keep_log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} RETURN NULL; END $$;
CREATE TRIGGER keep_log AFTER INSERT OR UPDATE ON parcel FOR EACH ROW EXECUTE FUNCTION keep_log();
"""
LOG = PARCEL + "CREATE TABLE parcel_log (LIKE parcel);"
WRITES = ("INSERT INTO parcel (status) VALUES ('open')", "UPDATE parcel SET remark = 'x'")
COPIES = {
    "a star": "INSERT INTO parcel_log SELECT NEW.*;",
    "a list of columns and a star": "INSERT INTO parcel_log (id, status, remark) VALUES (NEW.*);",
    "a row in parentheses": "INSERT INTO parcel_log SELECT (NEW).*;",
    "a parameter": "EXECUTE 'INSERT INTO parcel_log SELECT ($1).*' USING NEW;",
    "a row as a text": (
        "EXECUTE format('INSERT INTO parcel_log SELECT (%L::parcel_log).*', NEW::text);"
    ),
    "an update": ("UPDATE parcel_log SET (id, status, remark) = ROW(NEW.*) WHERE id = NEW.id;"),
}
HARMLESS = {
    "a row as json": "INSERT INTO parcel_log (id, remark) VALUES (NEW.id, to_jsonb(NEW.*)::text);",
    "a comparison": (
        "IF TG_OP = 'UPDATE' AND ROW(NEW.*) IS DISTINCT FROM ROW(OLD.*) THEN"
        " INSERT INTO parcel_log (id) VALUES (NEW.id); END IF;"
    ),
    "a list of columns": (
        "INSERT INTO parcel_log (id, remark) VALUES (NEW.id, NEW.remark); /* SELECT NEW.* */"
    ),
    "a variable of the other table's rows": (
        "DECLARE r parcel_log; BEGIN r.id := NEW.id; r.remark := NEW.remark;"
        " INSERT INTO parcel_log VALUES (r.*); END;"
    ),
    "the columns of the other table": (
        "INSERT INTO parcel_log SELECT (jsonb_populate_record(NULL::parcel_log, to_jsonb(NEW))).*;"
    ),
}


@pytest.mark.parametrize("body", COPIES.values(), ids=list(COPIES))
def test_a_trigger_that_copies_the_whole_row_is_refused_in_phase_0(
    scenario: MakeScenario, server: Target, body: str
) -> None:
    parcels = scenario(LOG + TRIGGER.format(body))
    parcels.application(*WRITES)
    with pytest.raises(RefusedByPreflight, match=r"keep_log\(\) of trigger keep_log copies whole"):
        parcels.carry_out(0)
    parcels.application(*WRITES)


@pytest.mark.parametrize("body", HARMLESS.values(), ids=list(HARMLESS))
def test_a_trigger_that_is_right_for_rows_of_any_shape_goes_forward_and_back(
    scenario: MakeScenario, newest: Target, body: str
) -> None:
    parcels = scenario(LOG + TRIGGER.format(body))
    parcels.carry_out(0, 1, 2, 3, 4)
    parcels.application(
        "INSERT INTO parcel (status_id) SELECT min(id) FROM parcel_statuses",
        "UPDATE parcel SET remark = 'x'",
    )
    parcels.take_back(4, 3, 2, 1, 0)


STATEMENT = """
CREATE FUNCTION keep_log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} RETURN NULL; END $$;
CREATE TRIGGER keep_log AFTER INSERT ON parcel REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION keep_log();
"""


COPIES_ROWS = r"archive\(\) copies whole rows of parcel"
LISTS_COLUMNS = r"lost\(\) returns rows of parcel and lists"
REFUSED = {
    "a trigger that copies the rows of a statement": (
        LOG + STATEMENT.format("INSERT INTO parcel_log SELECT * FROM added;"),
        r"keep_log\(\) of trigger keep_log copies whole",
    ),
    "a job that copies rows by a variable": (
        LOG + "CREATE PROCEDURE archive() LANGUAGE plpgsql AS $$ DECLARE r parcel%ROWTYPE; BEGIN"
        " FOR r IN SELECT * FROM parcel LOOP INSERT INTO parcel_log VALUES (r.*); END LOOP; END $$;"
        " CALL archive()",
        COPIES_ROWS,
    ),
    "a job that archives rows with a star": (
        LOG + "CREATE PROCEDURE archive() LANGUAGE sql AS $$"
        " INSERT INTO parcel_log SELECT p.* FROM public.parcel p WHERE p.id < 10 $$;",
        COPIES_ROWS,
    ),
    "a function in SQL that lists the columns of the row it returns": (
        PARCEL + "CREATE FUNCTION lost() RETURNS SETOF parcel LANGUAGE sql AS"
        " $$ SELECT id, status, remark FROM parcel WHERE status = 'lost' $$",
        LISTS_COLUMNS,
    ),
    "the same in PL/pgSQL": (
        PARCEL + "CREATE FUNCTION lost() RETURNS SETOF parcel LANGUAGE plpgsql AS $$ BEGIN"
        " RETURN QUERY SELECT id, status, remark FROM parcel WHERE status = 'lost'; END $$",
        LISTS_COLUMNS,
    ),
    "the same in a body that PostgreSQL has parsed": (
        PARCEL + "CREATE FUNCTION lost() RETURNS SETOF parcel"
        " BEGIN ATOMIC SELECT * FROM parcel WHERE status = 'lost'; END",
        LISTS_COLUMNS,
    ),
}


@pytest.mark.parametrize(("tables", "message"), REFUSED.values(), ids=list(REFUSED))
def test_functions_that_fit_the_legacy_columns_alone_are_refused_in_phase_0(
    scenario: MakeScenario, server: Target, tables: str, message: str
) -> None:
    parcels = scenario(tables)
    with pytest.raises(RefusedByPreflight, match=message):
        parcels.carry_out(0)


def test_a_function_that_returns_the_whole_row_goes_through_every_phase(
    scenario: MakeScenario, newest: Target
) -> None:
    parcels = scenario(
        PARCEL + "CREATE FUNCTION all_of_them() RETURNS SETOF parcel LANGUAGE sql AS"
        " $$ SELECT * FROM parcel $$;"
        "CREATE FUNCTION the_rest() RETURNS SETOF parcel LANGUAGE plpgsql AS"
        " $$ BEGIN RETURN QUERY SELECT p.* FROM parcel p; END $$;"
        "CREATE FUNCTION remark_of(p parcel) RETURNS text LANGUAGE sql AS $$ SELECT p.remark $$;"
    )
    for phase in range(5):
        parcels.carry_out(phase)
        assert parcels.application(
            "SELECT (SELECT count(*) FROM all_of_them()), (SELECT count(*) FROM the_rest()),"
            " (SELECT count(remark_of(p)) FROM parcel p)"
        ) == [(40, 40, 40)]


NAMING = {
    "a trigger's function that never names the table": (
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.status = 'sent' THEN NEW.remark := 'stamped'; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER z_stamp AFTER INSERT ON parcel FOR EACH ROW EXECUTE FUNCTION stamp()",
        r"stamp\(\) of trigger z_stamp names parcel.status",
    ),
    "a trigger's function that reads it from json": (
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " PERFORM to_jsonb(NEW) ->> 'status'; RETURN NULL; END $$;"
        "CREATE TRIGGER z_stamp AFTER INSERT ON parcel FOR EACH ROW EXECUTE FUNCTION stamp()",
        r"stamp\(\) of trigger z_stamp names parcel.status",
    ),
    "a trigger of PostgreSQL's own that is given it": (
        "ALTER TABLE parcel ADD words tsvector;"
        "CREATE TRIGGER z_words BEFORE INSERT OR UPDATE ON parcel FOR EACH ROW EXECUTE FUNCTION"
        " tsvector_update_trigger(words, 'pg_catalog.simple', status, remark)",
        r"tsvector_update_trigger\(\) of trigger z_words names parcel.status",
    ),
    "a trigger's function that reads the rows of a statement": (
        STATEMENT.format("PERFORM count(status) FROM added;"),
        r"keep_log\(\) of trigger keep_log names parcel.status",
    ),
    "a function of a row": (
        "CREATE FUNCTION label(p parcel) RETURNS text LANGUAGE sql AS"
        " $$ SELECT p.status || p.remark $$",
        r"label\(parcel\) takes or returns rows of parcel and names status",
    ),
}


@pytest.mark.parametrize(("function", "message"), NAMING.values(), ids=list(NAMING))
def test_objects_that_name_the_legacy_column_are_refused_before_the_phase_that_drops_it(
    scenario: MakeScenario, server: Target, function: str, message: str
) -> None:
    parcels = scenario(PARCEL + function)
    parcels.carry_out(0, 1, 2, 3)
    with pytest.raises(RefusedByPreflight, match=message):
        parcels.carry_out(4)
    parcels.application("UPDATE parcel SET status_id = status_id + 0, remark = 'y' WHERE id < 3")
