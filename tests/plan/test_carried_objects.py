"""A new column of the same values takes its legacy column's name with all that is bound to it."""

import re
from typing import Any

import pytest
from psycopg import errors

from rollout import plan as r
from rollout.engine.catalog import compare, labels_of, read
from rollout.engine.target import Target
from tests.engine.test_every_phase import schema_of
from tests.plan.test_wide_keys import CATALOG
from tests.schemas import MakeScenario, Scenario, plan_of

PARTS = """
CREATE TABLE kind (name varchar(10) PRIMARY KEY);
INSERT INTO kind VALUES ('a'), ('b');
CREATE TABLE part (
  id bigint PRIMARY KEY, code varchar(10) NOT NULL CONSTRAINT coded UNIQUE,
  kind varchar(10) DEFAULT 'a' REFERENCES kind ON UPDATE CASCADE, number serial, note text,
  CONSTRAINT known CHECK (code <> 'code' AND kind <> 'c'),
  CONSTRAINT counted CHECK (number > 0));
CREATE INDEX likes ON part (code varchar_pattern_ops DESC, number) WHERE note IS NULL;
CREATE INDEX lower_notes ON part (lower(note), kind);
CREATE TABLE used (part varchar(10) REFERENCES part (code) ON DELETE CASCADE);
COMMENT ON COLUMN part.code IS 'on the label';
COMMENT ON CONSTRAINT known ON part IS 'by the catalogue';
COMMENT ON INDEX likes IS 'for searches';
ALTER TABLE part ALTER code SET STATISTICS 300;
GRANT SELECT (code), UPDATE (kind) ON part TO pg_monitor;
GRANT USAGE ON SEQUENCE part_number_seq TO pg_monitor;
INSERT INTO part (id, code, kind) SELECT g, 'c' || g, 'b' FROM generate_series(1, 40) g;
INSERT INTO used SELECT 'c' || g FROM generate_series(1, 40) g;
"""
PART = r.Table(
    name="part",
    key=("id",),
    columns={
        "id": r.Column("bigint", null=False),
        "code": r.Column("character varying(10)", null=False),
        "kind": r.Column("character varying(10)"),
        "number": r.Column("integer", null=False),
    },
)


def of_the_same_name(column: str, type_: str) -> r.Convert:
    return r.Convert(
        table=PART,
        legacy=(column,),
        columns={f"{column}_new": r.Column(type_)},
        forward={f"{column}_new": "{" + column + "}"},
        backward={column: "{" + column + "_new}"},
        required=not PART.columns[column].null,
        unconvertible="refuse",
        keeps_name=True,
    )


NEW_TYPES = {"code": "text", "kind": "text", "number": "bigint"}
PLAN = plan_of(*(of_the_same_name(column, type_) for column, type_ in NEW_TYPES.items()))
RIGHTS = """
SELECT coalesce(a.attname, c.relname), x.privilege_type FROM pg_class AS c
  LEFT JOIN pg_attribute AS a
    ON a.attrelid = c.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped,
  aclexplode(coalesce(a.attacl, c.relacl)) AS x
 WHERE c.relname IN ('part', 'part_number_seq') AND x.grantee = 'pg_monitor'::regrole
   AND a.attname !~ '_(new|legacy)$' IS NOT false ORDER BY 1, 2"""


def every_rule_is_in_force(parts: Scenario) -> None:
    """Whoever knows one name writes, in whatever phase, and is refused what was refused before."""
    write = parts.application
    ((number, kind),) = write("INSERT INTO part (id, code) VALUES (99, 'x') RETURNING number, kind")
    assert (number > 40, kind) == (True, "a")
    write("INSERT INTO used VALUES ('x')", "UPDATE kind SET name = 'a' WHERE name = 'a'")
    for refused, error in (
        ("UPDATE part SET code = 'code' WHERE id = 99", errors.CheckViolation),
        ("UPDATE part SET number = 0 WHERE id = 99", errors.CheckViolation),
        ("UPDATE part SET code = NULL WHERE id = 99", errors.NotNullViolation),
        ("UPDATE part SET code = 'c7' WHERE id = 99", errors.UniqueViolation),
        ("UPDATE part SET kind = 'c' WHERE id = 99", errors.IntegrityError),
        ("INSERT INTO used VALUES ('nowhere')", errors.ForeignKeyViolation),
    ):
        with pytest.raises(error):
            write(refused)
    write("DELETE FROM part WHERE id = 99")
    assert write("SELECT FROM used WHERE part = 'x'") == []


def without_casts(text: str) -> str:
    """An expression as a person writes it: a text needs no casts, and a varchar does."""
    return re.sub(r"::(text|character varying)(\[\])?|[()]", "", text)


def plain(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The catalog without casts in its expressions."""
    return [
        (
            *row[:7],
            row[7] and without_casts(row[7]),
            *row[8:10],
            [*map(without_casts, row[10])],
            row[11],
        )
        for row in rows
    ]


def with_new_types(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The catalog with the types of the new columns."""
    return [
        (
            *row[:2],
            NEW_TYPES.get(row[1], row[2]) if row[0] == "part" else row[2],
            *row[3:9],
            row[9] and "bigint 9223372036854775807",
            *row[10:],
        )
        for row in rows
    ]


def test_everything_bound_to_a_column_goes_along_with_its_name_and_comes_back(
    scenario: MakeScenario, server: Target
) -> None:
    parts = scenario(PARTS, PLAN)
    assert parts.check() == []
    before, catalog = schema_of(parts.target), parts.application(CATALOG)
    rights, rows = parts.application(RIGHTS), parts.application("TABLE part ORDER BY id")
    assert len(rights) == 3
    for phase in range(5):
        parts.carry_out(phase)
        every_rule_is_in_force(parts)
        live = read(parts.connection, labels_of(parts.plan))
        assert compare(parts.plan, phases_done=phase + 1, live=live) == []
        if phase in (2, 3):
            assert parts.audit().mismatched == 0
        assert parts.application(RIGHTS) == rights
    assert plain(parts.application(CATALOG)) == plain(with_new_types(catalog))
    for phase in (4, 3, 2, 1, 0):
        parts.take_back(phase)
        every_rule_is_in_force(parts)
        live = read(parts.connection, labels_of(parts.plan))
        assert compare(parts.plan, phases_done=phase, live=live) == []
    assert schema_of(parts.target) == before
    assert parts.application(CATALOG) == catalog
    assert parts.application(RIGHTS) == rights
    columns = "SELECT id, code, kind, number, note FROM part ORDER BY id"
    assert parts.application(columns) == rows


def test_an_index_that_the_plan_drops_is_built_again_over_the_column_of_its_name(
    scenario: MakeScenario, newest: Target
) -> None:
    likes = r.DropIndex(
        id="unlike", description="Drop an index", table=PART, name="numbers", columns=("number",)
    )
    plan = plan_of(of_the_same_name("number", "bigint"), extra={4: (likes,)})
    parts = scenario(PARTS + "CREATE INDEX numbers ON part (number);", plan)
    assert parts.check() == []
    before = schema_of(parts.target)
    parts.carry_out(0, 1, 2, 3, 4)
    assert parts.application("SELECT to_regclass('numbers')") == [(None,)]
    parts.take_back(4)
    live = read(parts.connection, labels_of(parts.plan))
    assert compare(parts.plan, phases_done=4, live=live) == []
    parts.take_back(3, 2, 1, 0)
    assert schema_of(parts.target) == before


def test_an_index_by_an_expression_of_the_column_is_refused_before_phase_0(
    scenario: MakeScenario, newest: Target
) -> None:
    parts = scenario(PARTS + "CREATE INDEX lowered ON part (lower(code));", PLAN)
    (refusal,) = [item for item in parts.failing(0) if item.level == "blocks"]
    assert "index lowered, by an expression" in refusal.evidence
