"""The step that has a Python function of the project work on the rows of an uploaded CSV file.

Until its rows are done, the file is a table of the engine's own in the target.
"""

from dataclasses import dataclass

from psycopg import sql

from rollout.plan import facts
from rollout.plan.actions import Statement
from rollout.plan.expressions import Condition
from rollout.plan.hazards import Hazard
from rollout.plan.names import SCHEMA, identifier
from rollout.plan.plan import BACKFILL, CONTRACT, ENFORCE, Actions, Plan, Step
from rollout.plan.table import Column, Table
from rollout.plan.tasks import Task

# The columns that such a table has besides those of the file.
LINE, DONE = "line", "is_done"


@dataclass(frozen=True)
class CsvFile:
    """The file of a step, as a table: a row for each line, with whether it is done."""

    plan: str
    step: str
    columns: tuple[str, ...]

    @property
    def table(self) -> Table:
        return Table(
            schema=SCHEMA,
            name=identifier(self.plan, self.step, "csv"),
            key=(LINE,),
            columns={
                LINE: Column("bigint", null=False),
                **dict.fromkeys(self.columns, Column("text", null=False)),
                DONE: Column("boolean", null=False),
            },
        )

    @property
    def is_there(self) -> sql.Composable:
        """SQL condition: a file is uploaded, and not yet removed."""
        return facts.relation_exists(self.table.identifier)

    @property
    def create(self) -> sql.Composed:
        return sql.SQL(
            "CREATE TABLE {} ({} bigint PRIMARY KEY, {}, {} boolean NOT NULL DEFAULT false)"
        ).format(
            self.table.identifier,
            sql.Identifier(LINE),
            sql.SQL(", ").join(
                sql.SQL("{} text NOT NULL").format(sql.Identifier(c)) for c in self.columns
            ),
            sql.Identifier(DONE),
        )

    @property
    def copy(self) -> sql.Composed:
        """The COPY that takes line and cells of each row."""
        return sql.SQL("COPY {} ({}) FROM STDIN").format(
            self.table.identifier,
            sql.SQL(", ").join(map(sql.Identifier, (LINE, *self.columns))),
        )

    @property
    def drop(self) -> sql.Composed:
        return sql.SQL("DROP TABLE IF EXISTS {}").format(self.table.identifier)

    @property
    def drop_if_done(self) -> sql.Composed:
        """SQL that removes the file unless a row is left, in quarantine."""
        body = sql.SQL(
            "BEGIN\n  IF {there} THEN\n    IF NOT EXISTS (SELECT FROM {table} WHERE NOT {done})"
            " THEN\n      DROP TABLE {table};\n    END IF;\n  END IF;\nEND"
        ).format(there=self.is_there, table=self.table.identifier, done=sql.Identifier(DONE))
        return sql.SQL("DO {}").format(sql.Literal(body.as_string()))

    @property
    def missing(self) -> Hazard:
        return Hazard(
            name=f"CSV file of step {self.step}",
            sql=sql.SQL("SELECT count(*), NULL::text FROM (SELECT 1) AS file WHERE NOT {}").format(
                self.is_there
            ),
            finding=f"{{count}} CSV file is missing: the one of step '{self.step}'.",
            none=f"The CSV file of step '{self.step}' is uploaded.",
            advice="Upload it on the page of the phase.",
        )


@dataclass(frozen=True, kw_only=True)
class CsvTask(Task):
    """Have a Python function do whatever it does to every row of a CSV file, once."""

    file: CsvFile

    def mark(self, rows: sql.Composable) -> sql.Composed:
        return sql.SQL("UPDATE {} AS t SET {} = true WHERE {}").format(
            self.table.identifier, sql.Identifier(DONE), rows
        )


@dataclass(frozen=True, kw_only=True)
class RunCsvTask(Step):
    """A Python function works on the rows of a CSV file that a lead uploads, in batches.

    Each batch is in one transaction with its checkpoint. The phase does not start without the file,
    and the step removes it once every row is done.
    """

    columns: tuple[str, ...]
    """The columns of the file, as its header names them."""
    function: str
    """Dotted path of ``function(rows, connection)``."""
    phases = frozenset({BACKFILL, ENFORCE, CONTRACT})
    changes_write_path = True

    def file(self, plan: Plan) -> CsvFile:
        return CsvFile(plan.name, self.id, self.columns)

    def forward(self, plan: Plan) -> Actions:
        file = self.file(plan)
        task = CsvTask(
            table=file.table,
            file=file,
            function=self.function,
            where=Condition(f"NOT {{{DONE}}}"),
            reads=(LINE, *self.columns),
        )
        return task, Statement(sql=file.drop_if_done, done=None)

    def backward(self, plan: Plan) -> Actions:
        """Rows in quarantine go with the file; what the function did stays."""
        file = self.file(plan)
        return (Statement(sql=file.drop, done=facts.no(file.is_there)),)

    def hazards(self, plan: Plan) -> tuple[Hazard, ...]:
        return (self.file(plan).missing,)


def csv_steps(plan: Plan, number: int) -> tuple[RunCsvTask, ...]:
    """The steps of a phase that work on a file."""
    return tuple(step for step in plan.phases[number].steps if isinstance(step, RunCsvTask))
