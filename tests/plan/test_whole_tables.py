"""SQL that copies, rewrites, sorts or scans a whole table, apart from SQL that does not."""

import pytest

from properties.rollout import PLAN as SHIPPED
from rollout.plan import Plan
from rollout.plan.actions import Statement
from rollout.plan.whole_tables import Work, work_on_whole_tables
from tests.engine.samples import BIGINT, ODD, PARTITIONED, REQUIRED


@pytest.mark.parametrize(
    ("text", "work"),
    [
        ('CREATE TABLE a AS SELECT * FROM "My ""T"', Work("copies", '"My ""T"', "")),
        ("CREATE UNLOGGED TABLE a AS TABLE b; SELECT * INTO a FROM t", Work("copies", "t", "")),
        ("CREATE MATERIALIZED VIEW v AS SELECT * FROM s.t", Work("copies", "s.t", "")),
        ("INSERT INTO a SELECT * FROM t", Work("copies", "t", "")),
        ("INSERT INTO a SELECT * FROM t WHERE id < 5", Work("copies", "t", " id < 5")),
        ("UPDATE t SET a = 1", Work("writes rows of", "t", "")),
        (
            'UPDATE ONLY s."T" AS x SET a = 1 WHERE x.id < 3',
            Work("writes rows of", 's."T"', " x.id < 3"),
        ),
        ("WITH d AS (DELETE FROM t RETURNING id) SELECT 1", Work("writes rows of", "t", "")),
        ("DO $$ BEGIN UPDATE t SET a = 1; END $$", Work("writes rows of", "t", "")),
        ("MERGE INTO t USING s ON t.id = s.id WHEN MATCHED", Work("writes rows of", "t", "")),
        (
            "ALTER TABLE t ALTER COLUMN a TYPE bigint",
            Work("rewrites", "t", None, (("a", "bigint"),)),
        ),
        ("ALTER TABLE t ADD a uuid DEFAULT gen_random_uuid()", Work("rewrites", "t")),
        ("ALTER TABLE t ADD COLUMN id bigserial", Work("rewrites", "t")),
        ("ALTER TABLE t ADD a int GENERATED ALWAYS AS (b + 1) STORED", Work("rewrites", "t")),
        ("ALTER TABLE t SET TABLESPACE fast", Work("rewrites", "t")),
        ("VACUUM FULL t", Work("rewrites", "t")),
        ("VACUUM (FULL, VERBOSE) t", Work("rewrites", "t")),
        ("CLUSTER t USING i", Work("rewrites", "t")),
        ("CREATE UNIQUE INDEX ON t (a)", Work("sorts", "t")),
        ("REINDEX TABLE t", Work("sorts", "t")),
        ("ALTER TABLE t ADD CONSTRAINT c UNIQUE (a)", Work("sorts", "t")),
        ("ALTER TABLE t ADD PRIMARY KEY (id)", Work("sorts", "t")),
        ("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)", Work("scans, under a lock,", "t")),
        ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES b", Work("scans, under a lock,", "t")),
        ("REFRESH MATERIALIZED VIEW v", Work("recomputes", "v")),
    ],
)
def test_work_on_a_whole_table_is_named_with_its_table(text: str, work: Work) -> None:
    assert work_on_whole_tables(text) == [work]
    assert work_on_whole_tables(text.lower().replace("my", "My").replace('"t"', '"T"')) != []


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE a (x int GENERATED ALWAYS AS IDENTITY)",
        "CREATE TABLE a (LIKE t INCLUDING ALL)",
        "CREATE TABLE p PARTITION OF t FOR VALUES FROM (1) TO (2)",
        "CREATE TABLE a AS SELECT k, count(*) FROM t GROUP BY k",
        "CREATE TABLE a AS SELECT * FROM t WITH NO DATA",
        "INSERT INTO a VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 2",
        "INSERT INTO a SELECT DISTINCT k FROM t",
        "ALTER TABLE t ADD COLUMN a timestamptz DEFAULT now()",
        "ALTER TABLE t ADD COLUMN a int REFERENCES b",
        "ALTER TABLE t ALTER a SET STATISTICS 5, ALTER b SET DEFAULT 'ALTER c TYPE int'",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID",
        "ALTER TABLE t VALIDATE CONSTRAINT c",
        "ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX i",
        "CREATE INDEX CONCURRENTLY i ON t (a)",
        "CREATE INDEX i ON ONLY t (a)",
        "REINDEX TABLE CONCURRENTLY t",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
        "VACUUM (ANALYZE) t",
        "SELECT 'UPDATE t SET a = 1' -- DELETE FROM t",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM t; END $$",
    ],
)
def test_work_of_a_moment_or_on_few_rows_or_outside_a_transaction_is_not_counted(text: str) -> None:
    assert work_on_whole_tables(text) == []


@pytest.mark.parametrize(
    "plan", [SHIPPED, *(s.plan for s in (BIGINT, ODD, REQUIRED, PARTITIONED))], ids=lambda p: p.name
)
def test_no_statement_of_a_step_works_on_a_whole_table_of_the_application(plan: Plan) -> None:
    statements = [
        action
        for phase in plan.phases
        for step in phase.steps
        for action in (*plan.forward(step).actions, *plan.backward(step).actions)
        if isinstance(action, Statement)
    ]
    tables = {table.identifier.as_string() for table in plan.tables}
    work = [of for s in statements for of in work_on_whole_tables(s.text)]
    assert [of for of in work if of.table in tables] == []
    assert len(statements) > 20
