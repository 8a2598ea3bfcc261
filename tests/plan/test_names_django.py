"""What a rollout makes has the name that Django would have given it."""

from typing import Any

import pytest
from django.db import connection

from rollout.plan.names import django_name

NAMES = [
    ("api_check", ("status_id",), "api_check_statuses"),
    ("things", ("kind_id",), "kinds"),
    ("a" * 40, ("b" * 30,), "c" * 50),
    ("property_management_contracts", ("contract_status_id",), "property_management_statuses"),
    ("_hidden", ("x",), "y"),
    ("1st", ("two", "three"), "fourth"),
]


@pytest.mark.parametrize(("table", "columns", "target"), NAMES)
@pytest.mark.parametrize("kind", ["", "_uniq", "_fk_{target}_id"])
def test_a_name_is_that_of_djangos_schema_editor(
    table: str, columns: tuple[str, ...], target: str, kind: str
) -> None:
    suffix = kind.format(target=target)
    editor: Any = connection.schema_editor(collect_sql=True)
    assert django_name(table, columns, suffix) == editor._create_index_name(table, columns, suffix)


def test_a_name_of_more_bytes_than_the_server_keeps_is_cut_off() -> None:
    name = django_name("Gebäude" * 7, ("zustände_id",), "_fk_zustände_id")
    assert len(name.encode()) <= 63
