"""The shell's verbs that look at the schema: drift, another environment, types, preflight."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rollout.models import Rollout
from tests.support import rollouts
from tests.support.rollouts import PLAN, Cli
from tests.support.staging import staging_environment


@pytest.fixture
def staging(cli: Cli, settings: Any, template: str) -> Iterator[psycopg.Connection]:
    with staging_environment(settings, template) as connection:
        yield connection


def test_environments_alike_do_not_differ(cli: Cli, staging: psycopg.Connection) -> None:
    code, out, _ = cli("introspect", PLAN, "--against", "staging")
    assert code == 0
    assert "against staging" in out
    assert "No drift." in out


def test_environments_that_differ_are_answered_with_no_and_the_difference(
    cli: Cli, staging: psycopg.Connection
) -> None:
    staging.execute("ALTER TABLE properties ADD colour text")
    staging.execute("CREATE INDEX of_staging ON properties (lower(city))")
    code, out, _ = cli("introspect", PLAN, "--against", "staging", "--json")
    assert code == 1
    drift = json.loads(out)
    assert drift["against"] == "staging"
    assert drift["drift"] == [
        {"table": "properties", "column": "colour", "expected": "no column", "found": "text"},
        {
            "table": "properties",
            "column": "",
            "part": "index of_staging",
            "expected": "no index",
            "found": "btree (lower(city)), valid",
        },
    ]


def test_another_environment_needs_a_plan_and_a_name_that_there_is(cli: Cli) -> None:
    assert cli("introspect", "--against", "staging")[0] == 2
    code, _, err = cli("introspect", PLAN, "--against", "nowhere")
    assert code == 2
    assert "Unknown environment 'nowhere'." in err


def test_types_are_those_of_the_phase(cli: Cli) -> None:
    code, out, _ = cli("types", PLAN)
    assert code == 0
    assert out.startswith(f"// Made by: manage.py rollout types {PLAN}\n")
    assert "  id: string;\n" in out
    assert "  price: string | null;\n" in out
    assert "  type: string | null;\n" in out
    assert "PropertyTypes" not in out
    rollouts.carry_out(rollouts.the_rollout(), 0, 1)
    out = cli("types", PLAN)[1]
    assert (
        "export interface PropertyTypes {\n  active: boolean;\n  id: number;\n  name: string;\n"
        in out
    )
    assert "  is_listed: boolean | null;\n" in out


def test_a_file_of_types_is_checked_against_the_schema(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "rollout.ts"
    file.write_text(cli("types", PLAN)[1])
    assert cli("types", PLAN, "--check", str(file))[0] == 0
    rollouts.execute("ALTER TABLE properties ALTER price SET NOT NULL")
    code, out, _ = cli("types", PLAN, "--check", str(file))
    assert code == 1
    assert "expected “price: string;”, found “price: string | null;”." in out


def test_a_file_of_types_that_is_not_there_is_an_error(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("types", PLAN, "--check", str(tmp_path / "none.ts"))
    assert code == 2
    assert "Cannot read" in err


def test_a_preflight_tells_what_blocks_and_answers_no(cli: Cli, filled: Rollout) -> None:
    code, out, _ = cli("preflight", PLAN, "3")
    assert code == 0
    assert "BLOCKS" not in out
    with rollouts.target() as other:
        other.execute("SET session_replication_role = replica")
        other.execute("UPDATE properties SET currency = NULL")
    code, out, _ = cli("preflight", PLAN, "3")
    assert code == 1
    assert (
        "BLOCKS   nulls in properties.currency: 300 rows of properties have NULL in currency."
        in out
    )
    code, out, _ = cli("preflight", PLAN, "3", "--json")
    assert code == 1
    assert json.loads(out)["items"][0]["level"] == "blocks"
    assert cli("preflight", PLAN, "7")[0] == 2


def test_a_preflight_that_only_warns_answers_so(cli: Cli) -> None:
    assert cli("preflight", PLAN, "1")[0] == 0
    rollouts.execute("ALTER TABLE properties ADD is_listed boolean")
    code, out, _ = cli("preflight", PLAN, "1")
    assert code == 3
    assert "WARNS    schema: properties.is_listed: expected no column in this phase" in out


def test_a_note_answers_yes_until_a_later_phase_is_warned_of(cli: Cli) -> None:
    rollouts.execute("CREATE PUBLICATION of_properties FOR TABLE properties")
    code, out, _ = cli("preflight", PLAN, "0")
    assert "INFO     publications: of_properties publishes public.properties" in out
    assert code == 0
    code, out, _ = cli("readiness", PLAN)
    assert "WARNS    phase 1: publications: of_properties publishes" in out
    assert (code, "BLOCKS" in out) == (3, False)


def test_readiness_lists_what_would_stop_a_later_phase_and_answers_no(cli: Cli) -> None:
    code, out, _ = cli("readiness", PLAN)
    assert (code, "BLOCKS" in out) == (0, False)
    rollouts.execute("CREATE VIEW of_a_report AS SELECT id, type FROM properties")
    code, out, _ = cli("readiness", PLAN)
    assert code == 1
    assert "BLOCKS   phase 4: dependents of properties (type, status): 1 object depends" in out
    assert "view of_a_report" in out
    code, out, _ = cli("readiness", PLAN, "--json")
    answer = json.loads(out)
    assert (code, answer["items"][0]["level"], answer["items"][0]["phase"]) == (1, "blocks", 4)
    assert answer["asked_later"]
    # It does not keep phase 0 from starting: a release may replace the view on the way.
    assert cli("preflight", PLAN, "0")[0] == 0


def test_integer_keys_past_two_fifths_of_their_range_are_listed_with_their_end(cli: Cli) -> None:
    code, out, _ = cli("keys")
    assert (code, out) == (0, "No integer key has used more than 40 % of its range.\n")
    rollouts.execute("CREATE TABLE spent (id smallserial PRIMARY KEY, made timestamptz)")
    rollouts.execute(
        "INSERT INTO spent SELECT g, now() - (20000 - g) * interval '1 hour'"
        " FROM generate_series(1, 20000) g"
    )
    code, out, _ = cli("keys")
    assert code == 1
    (line,) = out.splitlines()
    assert line.startswith("spent.id has used 20,000 of 32,767 (61 %). At the present rate, 24 a")
    code, out, _ = cli("keys", "--json")
    assert code == 1
    (key,) = json.loads(out)
    assert (key["table"], key["column"], key["used"], key["last"]) == ("spent", "id", 20000, 32767)
    assert (key["per_day"], key["by"]) == (pytest.approx(24, rel=0.01), "made")
    assert key["days_left"] == pytest.approx(12767 / 24, abs=3)
    _, out, _ = cli("keys", "--all")
    assert len(out.splitlines()) > 1


def test_introspect_finds_no_drift_if_there_is_none(cli: Cli, filled: Rollout) -> None:
    code, out, _ = cli("introspect", PLAN, "--json")
    assert code == 0
    schema: dict[str, Any] = json.loads(out)
    assert (schema["plan"], schema["environment"], schema["drift"]) == (PLAN, "production", [])
    assert schema["tables"]["properties"]["currency"] == "character varying(3)"
    assert "No drift." in cli("introspect")[1]


@pytest.mark.parametrize(
    ("statement", "drift", "line"),
    [
        (
            "ALTER TABLE properties ADD currency text",
            {"column": "currency", "expected": "no column in this phase", "found": "text"},
            "properties.currency: expected no column in this phase, found text",
        ),
        (
            "DROP INDEX properties_type_status_idx",
            {
                "column": "",
                "part": "index properties_type_status_idx",
                "expected": "btree (type, status), valid",
                "found": "no index",
            },
            "properties index properties_type_status_idx: expected btree",
        ),
    ],
    ids=["column", "index"],
)
def test_drift_is_answered_with_no_and_named(
    cli: Cli, statement: str, drift: dict[str, str], line: str
) -> None:
    rollouts.execute(statement)
    code, out, _ = cli("introspect", PLAN, "--json")
    assert code == 1
    assert json.loads(out)["drift"] == [{"table": "properties", **drift}]
    code, out, _ = cli("introspect")
    assert code == 1
    assert f"DRIFT {line}" in out
