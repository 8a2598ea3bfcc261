"""An uploaded CSV file: its rows in the plan's order, or the line and the reason of a refusal."""

import pytest

from rollout.queries.csv_uploads import MAX_BYTES, rows_in
from rollout.queries.mapping_csv import InvalidMappingFile

COLUMNS = ("order", "Net price")


@pytest.mark.parametrize(
    "data",
    [
        "order,Net price\n1,2.50\n2,x\n",
        "\ufefforder;Net price\r\n1;2.50\r\n\r\n2;x",
        ' Net price ,"order"\n2.50,1\n"x","2"\n',
    ],
)
def test_rows_come_in_the_order_of_the_plan_whatever_the_header_has(data: str) -> None:
    rows = [cells for _, cells in rows_in(data.encode(), COLUMNS)]
    assert rows == [["1", "2.50"], ["2", "x"]]


def test_a_row_knows_its_line_and_a_cell_is_taken_to_the_letter() -> None:
    data = 'order,Net price\n1,"a\nb"\n\n2, =SUM(1)\n'
    assert list(rows_in(data.encode(), COLUMNS)) == [(2, ["1", "a\nb"]), (5, ["2", " =SUM(1)"])]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Line 1: The header lacks order, Net price. Expected: order, Net price."),
        (b"order\n1\n", "Line 1: The header lacks Net price."),
        (b"ORDER,Net price\n1,2\n", "Line 1: The header lacks order."),
        (b"order,Net price,<b>more\n1,2,3\n", "“<b>more”, which the plan does not declare"),
        (b"order,Net price,order\n1,2,3\n", "Line 1: The header has order more than once."),
        (b"order,Net price\n", "Line 1: The file has no row below its header."),
        (b"order,Net price\n1,2\n1\n", "Line 3: 1 cells, but the header has 2."),
        (b"order,Net price\n1,2,3\n", "Line 2: 3 cells, but the header has 2."),
        (b"order,Net price\n1,caf\xe9\n", "Line 2: Not UTF-8 text."),
        ("order,Net price\n1,2\n".encode("utf-16"), "Line 1: Not UTF-8 text."),
        (b"order,Net price\n1,\x00\n", "Line 2: Contains a NUL character."),
        (b'order,Net price\n1,"2', "Not a CSV file: unexpected end of data."),
        (b"order,Net price\n1," + b"x" * 200_000, "Not a CSV file: field larger than field limit"),
        (b"x" * (MAX_BYTES + 1), "larger than 20 MB. Remove rows that the step does not need"),
    ],
)
def test_a_file_that_is_not_as_the_plan_declares_is_refused_with_its_line(
    data: bytes, reason: str
) -> None:
    with pytest.raises(InvalidMappingFile) as refused:
        list(rows_in(data, COLUMNS))
    assert reason in str(refused.value)
