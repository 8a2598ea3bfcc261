"""Refuses CSV files whose rows could not be kept."""

from collections import Counter
from collections.abc import Iterator

from rollout.checks.ids import CheckId
from rollout.checks.problems import Problem, numbered_steps
from rollout.plan.csv_tasks import DONE, LINE, RunCsvTask
from rollout.plan.names import MAX_IDENTIFIER_BYTES
from rollout.plan.plan import Plan


def csv_problems(plan: Plan) -> Iterator[Problem]:
    steps = [
        (number, step) for number, step in numbered_steps(plan) if isinstance(step, RunCsvTask)
    ]
    ids = Counter(step.id for _, step in steps)
    for number, step in steps:
        problems = [*_columns(step)]
        if ids[step.id] > 1:
            problems.append("another phase has a step of this id with a file")
        for problem in problems:
            yield Problem(
                CheckId.WRONG_CSV_FILE,
                f"The CSV file of step '{step.id}' of phase {number} is invalid: {problem}.",
                "Name the columns of its header: columns=('email', 'name').",
            )


def _columns(step: RunCsvTask) -> Iterator[str]:
    if not step.columns:
        yield "it has no columns"
    for name, number in Counter(step.columns).items():
        if number > 1:
            yield f"'{name}' is named twice"
        elif name in (LINE, DONE):
            yield f"'{name}' is a column that the engine adds"
        elif (
            not name
            or name != name.strip()
            or "\0" in name
            or len(name.encode()) > MAX_IDENTIFIER_BYTES
        ):
            yield (
                f"'{name}' is empty, longer than {MAX_IDENTIFIER_BYTES} bytes, or has blanks "
                "around it"
            )
