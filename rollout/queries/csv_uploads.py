"""CSV files that are uploaded for steps, and the rows of one, whose columns a plan declares."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rollout.engine import csv_files
from rollout.engine.csv_files import Upload
from rollout.journal.environments import target_of
from rollout.models import Rollout
from rollout.plan import plans
from rollout.plan.csv_tasks import RunCsvTask
from rollout.queries.mapping_csv import InvalidMappingFile, Problem, reader_of, records_of

# Read in the web process, which holds it once.
MAX_BYTES = 20_000_000


def uploads_now(rollout: Rollout, steps: Iterable[RunCsvTask]) -> Mapping[str, Upload | None]:
    """By step id, what is uploaded. Raises psycopg.Error."""
    plan = plans.get(rollout.plan)
    with target_of(rollout.environment).connect() as connection:
        return {step.id: csv_files.upload_of(connection, step.file(plan)) for step in steps}


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
