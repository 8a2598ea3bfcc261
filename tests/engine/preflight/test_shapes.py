"""Tables and types that a later statement could not take: refused in phase 0, or borne."""

from datetime import date

import pytest

from rollout import plan as r
from rollout.engine.introspections import introspect
from rollout.engine.target import Target
from tests.schemas import PARCEL, MakeScenario, assert_refused_at_once, plan_of, table

ENTRY = "CREATE TABLE entry (id bigint PRIMARY KEY, level text);"
ENTRIES = plan_of(
    r.Lookup(
        table=table("entry", level="text"),
        legacy="level",
        column="level_id",
        lookup_table="entry_levels",
    )
)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (
            f"{ENTRY}CREATE TABLE entry_2024 (PRIMARY KEY (id)) INHERITS (entry);"
            # A child larger than its parent.
            "INSERT INTO entry_2024 SELECT g, 'Error ' FROM generate_series(1, 5000) g;",
            "entry has inheritance children (entry_2024)",
        ),
        (
            "CREATE TABLE above (id bigint, level text);"
            "CREATE TABLE entry (PRIMARY KEY (id)) INHERITS (above);",
            "entry inherits from above",
        ),
        (
            "CREATE TABLE whole (id bigint, level text) PARTITION BY RANGE (id);"
            "CREATE TABLE entry PARTITION OF whole (PRIMARY KEY (id))"
            " FOR VALUES FROM (0) TO (1000);",
            "entry is a partition of whole",
        ),
        (
            "CREATE TYPE lined AS (id bigint, level text);"
            "CREATE TABLE entry OF lined (PRIMARY KEY (id));",
            "entry is a table of type lined",
        ),
        (
            "CREATE TABLE below (id bigint PRIMARY KEY, level text);"
            "CREATE VIEW entry AS SELECT * FROM below;",
            "entry is a view",
        ),
    ],
)
def test_a_table_whose_rows_or_columns_are_not_its_own_is_refused_in_phase_0(
    scenario: MakeScenario, server: Target, made: str, says: str
) -> None:
    assert_refused_at_once(scenario(made, ENTRIES), says)


@pytest.mark.parametrize(
    "rule",
    [
        "CREATE RULE log AS ON UPDATE TO parcel DO ALSO INSERT INTO parcel_log VALUES (OLD.id);",
        "CREATE RULE log AS ON INSERT TO parcel DO ALSO INSERT INTO parcel_log VALUES (NEW.id);",
        "CREATE RULE log AS ON UPDATE TO parcel WHERE NEW.id < 0 DO INSTEAD NOTHING;",
    ],
)
def test_a_rule_on_update_or_insert_is_refused_in_phase_0(
    scenario: MakeScenario, newest: Target, rule: str
) -> None:
    ruled = scenario(f"{PARCEL}CREATE TABLE parcel_log (id bigint);{rule}")
    assert_refused_at_once(ruled, "log on ", "of parcel", "DROP RULE")


def test_a_rule_on_delete_and_a_disabled_rule_do_no_harm(
    scenario: MakeScenario, server: Target
) -> None:
    scenario(
        PARCEL
        + "CREATE TABLE parcel_log (id bigint);"
        + "CREATE RULE gone AS ON DELETE TO parcel DO ALSO INSERT INTO parcel_log VALUES (OLD.id);"
        + "CREATE RULE log AS ON UPDATE TO parcel DO ALSO INSERT INTO parcel_log VALUES (OLD.id);"
        + "ALTER TABLE parcel DISABLE RULE log;"
    ).there_and_back()


def of_data(type_: str) -> r.Plan:
    return plan_of(
        r.Derived(
            table=table("account", data=type_),
            column="new",
            type="text",
            expression="{data}::text || '!'",
            required=False,
        )
    )


@pytest.mark.parametrize(
    ("type_", "first", "other"),
    [
        ("json", '{"tier": "gold"}', '{"tier": "tin"}'),
        ("point", "(1,2)", "(3,4)"),
        ("json[]", '{"[1]"}', '{"[2]"}'),
    ],
)
def test_a_column_whose_type_has_no_equality_is_followed_by_its_text(
    scenario: MakeScenario, server: Target, type_: str, first: str, other: str
) -> None:
    goes_through(scenario, type_, first, other)


def test_a_column_of_xml_is_followed_by_its_text(scenario: MakeScenario, old: Target) -> None:
    # The embedded PostgreSQL is built without it.
    goes_through(scenario, "xml", "<a/>", "<b/>")


def goes_through(scenario: MakeScenario, type_: str, first: str, other: str) -> None:
    accounts = scenario(
        f"CREATE TABLE account (id bigint PRIMARY KEY, data {type_});"
        f"INSERT INTO account SELECT g, '{first}' FROM generate_series(1, 5) g;",
        of_data(type_),
    )
    accounts.carry_out(0, 1, 2)
    written = f"UPDATE account SET data = '{other}' WHERE id = 1 RETURNING new = data::text || '!'"
    assert accounts.application(written) == [(True,)]
    accounts.carry_out(3, 4)
    accounts.take_back(4, 3, 2, 1, 0)


def test_a_column_that_could_not_be_compared_is_refused_in_phase_0(
    scenario: MakeScenario, newest: Target
) -> None:
    made = (
        "CREATE DOMAIN doc AS json; CREATE TABLE account (id bigint PRIMARY KEY, data doc);"
        "INSERT INTO account VALUES (1, '{}');"
    )
    assert_refused_at_once(scenario(made, of_data("doc")), "account.data is doc")
    to_json = plan_of(
        r.Derived(
            table=table("account", data="doc"), column="new", type="json", expression="'[]'::json"
        )
    )
    assert_refused_at_once(scenario(made, to_json), "account.new is json", "jsonb")


CLIENT = """
CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = {0});
CREATE TABLE client (
  id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, country text COLLATE any_case);
INSERT INTO client (country)
  SELECT (ARRAY['Chile', 'CHILE'])[1 + g % 2] FROM generate_series(1, 30) g;
"""
COUNTRY = plan_of(
    r.Lookup(
        table=table("client", country="text"),
        legacy="country",
        column="country_id",
        lookup_table="client_countries",
    )
)


def test_a_nondeterministic_collation_is_refused_in_phase_0_and_by_the_scaffold(
    scenario: MakeScenario, old: Target
) -> None:
    from rollout.queries.scaffold_parts import CannotScaffold
    from rollout.queries.scaffolds import scaffold

    clients = scenario(CLIENT.replace("{0}", "false"), COUNTRY)
    assert_refused_at_once(clients, "client.country has the collation any_case")
    live = introspect(clients.connection, "client", ["country"])
    with pytest.raises(CannotScaffold, match="non-deterministic"):
        scaffold(live, ("country",), today=date(2026, 1, 1))


def test_a_deterministic_collation_of_its_own_goes_forward_and_back(
    scenario: MakeScenario, old: Target
) -> None:
    scenario(CLIENT.replace("{0}", "true"), COUNTRY).there_and_back()
