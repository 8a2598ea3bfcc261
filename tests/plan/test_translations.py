"""One declaration of a translation says everything about it."""

from rollout.plan import Column, Derived, Lookup
from tests.engine.samples import BIGINT, COMPOSITE, LONG, ODD

KIND, OPENED = BIGINT.kind, BIGINT.opened_at


def test_a_lookup_reads_its_legacy_column_and_adds_an_integer() -> None:
    assert KIND.reads == ("kind",)
    assert KIND.new == Column("integer")


def test_a_lookups_table_is_in_the_schema_of_the_table_it_is_of() -> None:
    assert COMPOSITE.kind.lookup_label == "elsewhere.kinds"
    assert COMPOSITE.kind.lookup_sql.as_string() == '"elsewhere"."kinds"'


def test_a_mapping_is_named_by_plan_table_and_column_and_fits() -> None:
    assert KIND.mapping_name("p") == "p_things_kind_mapping"
    assert COMPOSITE.kind.mapping_name("p") == "p_elsewhere.things_kind_mapping"
    names = {LONG.kind.mapping_name("p"), LONG.state.mapping_name("p")}
    assert len(names) == 2
    assert all(len(name.encode()) <= 63 for name in names)


def test_the_aliases_of_two_lookups_differ_even_where_their_names_are_as_long_as_can_be() -> None:
    first, other = (
        Lookup(table=BIGINT.table, legacy="kind", column="c" * 62 + end, lookup_table="kinds")
        for end in "ab"
    )
    assert first.mapping_alias != other.mapping_alias
    assert len(first.mapping_alias) <= 63


def test_a_legacy_text_of_null_is_the_blank_text() -> None:
    assert ODD.kind.legacy_text("t").as_string() == """coalesce("t"."Ki""nd", '')"""


def test_a_derived_value_names_its_columns_over_any_row() -> None:
    derived = Derived(
        table=BIGINT.table, column="x", type="text", expression="{a} || {b} || {a} || '{{}}'"
    )
    assert derived.reads == ("a", "b")
    assert (
        derived.values("new")["x"].as_string()
        == """("new"."a" || "new"."b" || "new"."a" || '{}')"""
    )


def test_a_derived_constant_reads_nothing() -> None:
    constant = Derived(table=BIGINT.table, column="x", type="text", expression="'USD'")
    assert constant.reads == ()
    assert constant.values("t")["x"].as_string() == "('USD')"


def test_a_derived_column_is_added_nullable_whether_it_will_be_required_or_not() -> None:
    assert OPENED.new == Column("timestamp with time zone")
    assert BIGINT.is_open.new == Column("boolean")
