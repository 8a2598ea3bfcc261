"""An enum type that a plan makes."""

import re
from dataclasses import dataclass

from psycopg import sql

from rollout.plan import facts
from rollout.plan.actions import Statement
from rollout.plan.table import Named

_BARE = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True)
class EnumType(Named):
    """An enum type: its values in their order, in the schema of the table that uses it."""

    name: str
    values: tuple[str, ...]
    schema: str

    @property
    def type(self) -> str:
        """As ``format_type`` prints it; the checks refuse a name that it would quote."""
        if self.schema == "public":
            return self.name
        is_bare = _BARE.fullmatch(self.schema)
        schema = self.schema if is_bare else sql.Identifier(self.schema).as_string()
        return f"{schema}.{self.name}"

    @property
    def regtype(self) -> sql.Composed:
        """SQL of the type; NULL where it is absent."""
        return sql.SQL("to_regtype({})").format(sql.Literal(self.identifier.as_string()))

    def comment(self, plan: str) -> str:
        """What tells the plan's own type from one that the application has by that name."""
        return f"rollout: {plan}"

    def is_made(self, plan: str) -> sql.Composed:
        """SQL condition: the plan's type is there."""
        return sql.SQL("coalesce(obj_description({}, 'pg_type') = {}, false)").format(
            self.regtype, sql.Literal(self.comment(plan))
        )

    def create(self, plan: str) -> Statement:
        """The statement that makes it. Values that were added since are left alone."""
        return Statement(
            sql=sql.SQL(
                "CREATE TYPE {type} AS ENUM ({values});\nCOMMENT ON TYPE {type} IS {comment}"
            ).format(
                type=self.identifier,
                values=sql.SQL(", ").join(map(sql.Literal, self.values)),
                comment=sql.Literal(self.comment(plan)),
            ),
            done=self.has_values(plan),
        )

    @property
    def is_there(self) -> sql.Composed:
        """SQL condition: a type of this name is there, whoever made it."""
        return sql.SQL("({} IS NOT NULL)").format(self.regtype)

    def has_values(self, plan: str) -> sql.Composed:
        """SQL condition: the plan's type is there, with each of the values."""
        return sql.SQL(
            "({} AND {}::text[] <@ ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = {}))"
        ).format(self.is_made(plan), sql.Literal(list(self.values)), self.regtype)

    def drop(self, plan: str) -> Statement:
        """The statement that takes it away; one of the application's is left alone."""
        return Statement(
            sql=sql.SQL("DROP TYPE {}").format(self.identifier),
            done=facts.no(self.is_made(plan)),
        )
