"""What a file of SQL removes or forbids, by its text."""

import pytest

from rollout.plan.sql_effects import is_destructive, is_restrictive


@pytest.mark.parametrize(
    "text",
    [
        "DROP TABLE a",
        'alter table "A b" drop column c',
        "TRUNCATE a",
        "delete\nfrom a",
        'UPDATE ONLY "s"."a" AS x SET b = 1',
        "INSERT INTO a VALUES (1) ON CONFLICT (id) DO UPDATE SET b = 2",
        "MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE",
        "ALTER TABLE a ALTER COLUMN b TYPE bigint",
        "ALTER TABLE a ALTER b SET DATA TYPE bigint",
        "DO $$ BEGIN EXECUTE 'x'; DELETE FROM a; END $$",
        "SELECT E'it\\'s' ; DROP VIEW v",
    ],
)
def test_a_file_that_removes_or_overwrites_is_destructive(text: str) -> None:
    assert is_destructive(text)


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE a (b text NOT NULL)",
        "ALTER TABLE a ALTER b DROP NOT NULL, ALTER c DROP DEFAULT",
        "SELECT 'DROP TABLE a' AS \"TRUNCATE\" -- DELETE FROM a",
        "/* DROP TABLE a */ ALTER TABLE a ADD COLUMN b text",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $x$ DELETE FROM a $x$",
        "CREATE TRIGGER t BEFORE UPDATE ON a FOR EACH ROW EXECUTE FUNCTION f()",
        "SELECT * FROM a FOR UPDATE",
        "CREATE TEMPORARY TABLE a ON COMMIT DROP AS SELECT 1",
    ],
)
def test_a_file_that_only_adds_is_neither_destructive_nor_restrictive(text: str) -> None:
    assert not is_destructive(text)
    assert not is_restrictive(text)
