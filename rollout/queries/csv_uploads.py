"""The rows of an uploaded CSV file, whose columns a plan declares."""

from collections import Counter
from collections.abc import Iterator, Sequence

from rollout.queries.mapping_csv import InvalidMappingFile, Problem, reader_of, records_of

# Read in the web process, which holds it once.
MAX_BYTES = 20_000_000


def rows_in(data: bytes, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of each record, in the order of ``columns``. Raises InvalidMappingFile.

    The header has these columns and no others, in any order.
    """
    reader, header = reader_of(
        data,
        most=MAX_BYTES,
        otherwise="Remove rows that the step does not need: another file would replace this one.",
    )
    problem = _wrong_header(header, columns)
    if problem:
        raise InvalidMappingFile([Problem(1, problem)])
    places = [header.index(column) for column in columns]
    is_empty = True
    for line, cells in records_of(reader, len(header)):
        is_empty = False
        yield line, [cells[place] for place in places]
    if is_empty:
        raise InvalidMappingFile([Problem(1, "The file has no row below its header.")])


def _wrong_header(header: Sequence[str], columns: Sequence[str]) -> str:
    expected = f"Expected: {', '.join(columns)}."
    if missing := [column for column in columns if column not in header]:
        return f"The header lacks {', '.join(missing)}. {expected}"
    if unknown := [name for name in header if name not in columns]:
        shown = ", ".join(f"“{name[:60]}”" for name in unknown[:5])
        return f"The header has {shown}, which the plan does not declare. {expected}"
    if twice := [name for name, number in Counter(header).items() if number > 1]:
        return f"The header has {', '.join(twice)} more than once. {expected}"
    return ""
