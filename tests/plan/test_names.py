"""Identifiers that PostgreSQL does not cut off, and the two text forms that lookups go by."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from rollout.plan.names import code, identifier, in_target, normal, tidy
from tests.plan.conftest import Ask

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
TEXT = st.text(CHARACTERS, max_size=40)


@given(parts=st.lists(st.text(CHARACTERS, max_size=50), min_size=1, max_size=4))
def test_an_identifier_of_any_parts_fits_in_what_postgresql_keeps(parts: list[str]) -> None:
    assert len(identifier(*parts).encode()) <= 63


@given(name=st.text(CHARACTERS, max_size=100), other=st.text(CHARACTERS, max_size=100))
def test_different_names_stay_different_however_alike_they_begin(name: str, other: str) -> None:
    prefix = "a name that is long enough to be cut off in the middle of what tells "
    assert (identifier(prefix, name) == identifier(prefix, other)) == (name == other)


def test_a_short_name_is_left_as_it_is() -> None:
    assert identifier("plan", "table", "mapping") == "plan_table_mapping"
    assert identifier("é" * 31 + "x") == "é" * 31 + "x"


def test_a_character_is_not_cut_in_half() -> None:
    shortened = identifier("é" * 60)
    assert shortened.startswith("é" * 27 + "_")


@settings(max_examples=60)
@given(name=st.text(CHARACTERS, min_size=1, max_size=15))
def test_any_text_can_be_a_name_in_the_target(value_of: Ask, name: str) -> None:
    given = sql.SQL("(SELECT {} FROM (SELECT 'here' AS {}) AS x)").format(
        sql.Identifier(identifier(name)), sql.Identifier(identifier(name))
    )
    assert value_of(given) == "here"


@settings(max_examples=60)
@given(text=TEXT)
def test_any_text_goes_through_the_normal_form_as_a_value(value_of: Ask, text: str) -> None:
    assert value_of(sql.SQL("{} IS NOT NULL").format(normal(sql.Literal(text)))) is True


@settings(max_examples=60)
@given(text=TEXT)
def test_a_normal_form_is_its_own_normal_form_and_that_of_the_tidy_text(
    value_of: Ask, text: str
) -> None:
    form = value_of(normal(sql.Literal(text)))
    assert value_of(normal(tidy(sql.Literal(text)))) == form
    if form.lower() == form:
        assert value_of(normal(sql.Literal(form))) == form


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("House", "house"),
        ("  House for\tsale\r\n", "house for sale"),
        ("House\u00a0for  sale", "house for sale"),
        ("\u00a0\u00a0", ""),
        ("", ""),
        ("PROPRIÉTÉ", "propriété"),
        ("BÜRO", "büro"),
        ("マンション", "マンション"),
        ("一戸建て\u3000", "一戸建て"),
        ("O'Hara \\s {x} 100 %", "o'hara \\s {x} 100 %"),
    ],
)
def test_white_space_and_case_do_not_count(value_of: Ask, text: str, form: str) -> None:
    assert value_of(normal(sql.Literal(text))) == form


def test_a_tidy_text_keeps_its_case(value_of: Ask) -> None:
    assert value_of(tidy(sql.Literal(" For\u00a0 SALE "))) == "For SALE"


def test_null_has_no_form(value_of: Ask) -> None:
    assert value_of(normal(sql.NULL)) is None


def test_the_engines_own_objects_are_in_its_own_schema() -> None:
    assert in_target('a"b').as_string() == '"rollout"."a""b"'


def test_code_is_what_a_developer_wrote() -> None:
    assert code("a {} %s").format(sql.Literal(1)).as_string() == "a 1 %s"
