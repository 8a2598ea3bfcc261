"""TypeScript interfaces of tables, and whether a file still matches them."""

import pytest

from rollout.plan.table import Column
from rollout.plan.typescript import first_difference, interface_name, interfaces


def type_of(type_: str, *, null: bool = False) -> str:
    line = interfaces("p", {"t": {"c": Column(type_, null)}}, {}).splitlines()[3]
    return line.removeprefix("  c: ").removesuffix(";")


@pytest.mark.parametrize(
    ("type_", "typescript"),
    [
        ("uuid", "string"),
        ("text", "string"),
        ("character varying(3)", "string"),
        ("character(2)", "string"),
        ("numeric", "string"),
        ("numeric(12,2)", "string"),
        ("bigint", "string"),
        ("integer", "number"),
        ("smallint", "number"),
        ("double precision", "number"),
        ("boolean", "boolean"),
        ("date", "string"),
        ("timestamp with time zone", "string"),
        ("timestamp(3) without time zone", "string"),
        ("time without time zone", "string"),
        ("interval", "string"),
        ("json", "unknown"),
        ("jsonb", "unknown"),
        ("point", "unknown"),
        ("text[]", "string[]"),
        ("integer[]", "number[]"),
    ],
)
def test_each_type_has_the_one_that_holds_its_values(type_: str, typescript: str) -> None:
    assert type_of(type_) == typescript
    assert type_of(type_, null=True) == f"{typescript} | null"


def test_a_file_has_an_interface_for_each_table() -> None:
    shape = {
        "properties": {"id": Column("uuid", null=False), "price": Column("numeric(12,2)")},
        "Mixed Case.Ta.ble": {'Ke"y': Column("bigint", null=False)},
    }
    assert interfaces("some-plan", shape, {}) == (
        "// Made by: manage.py rollout types some-plan\n"
        "\n"
        "export interface MixedCaseTaBle {\n"
        '  "Ke\\"y": string;\n'
        "}\n"
        "\n"
        "export interface Properties {\n"
        "  id: string;\n"
        "  price: string | null;\n"
        "}\n"
    )


@pytest.mark.parametrize(
    ("table", "name"),
    [("property_types", "PropertyTypes"), ("1st", "Table1st"), ("public2.a_b", "Public2AB")],
)
def test_an_interface_is_named_after_its_table(table: str, name: str) -> None:
    assert interface_name(table) == name


@pytest.mark.parametrize(
    ("text", "difference"),
    [
        ("a\nb\nc\n", ""),
        ("a\r\nb  \r\nc", ""),
        ("a\nx\ny\n", "Line 2: expected “b”, found “x”."),
        ("a\nb\n", "Line 3: expected “c”, found the end of the file."),
        ("a\nb\nc\nd\n", "Line 4: expected the end of the file, found “d”."),
        ("a\n\nb\nc\n", "Line 2: expected “b”, found an empty line."),
    ],
)
def test_the_first_line_that_differs_is_named(text: str, difference: str) -> None:
    assert first_difference("a\nb\nc\n", text) == difference
