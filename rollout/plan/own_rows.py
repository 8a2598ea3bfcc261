"""The triggers' part of an extraction that splits a table: each row has a row of its own.

The new row has the key of its row in ``id``. A write of legacy columns makes or changes it; a new
row that the application makes or changes is followed by the legacy columns; with its row it goes.
"""

from psycopg import sql

from rollout.plan.extractions import Extract
from rollout.plan.names import code, in_target
from rollout.plan.resolvers import owned_function
from rollout.plan.session_settings import OF_EXPRESSIONS


def argument_types(extract: Extract) -> str:
    """The types of the function that makes rows: the key, the legacy values, a boolean."""
    types = [extract.key_type, *(column.type for column in extract.new_columns.values())]
    return ", ".join([*types, "boolean"])


def made(extract: Extract) -> sql.Composed:
    """A line of the triggers: the own row is there, and has the legacy values of the row."""
    return sql.SQL("  PERFORM {};").format(_call(extract, "new", changes=True))


def made_id(extract: Extract, row: str) -> sql.Composed:
    """SQL of the id of row ``row``'s own row, which is made if there is none."""
    return _call(extract, row, changes=False)


def _call(extract: Extract, row: str, *, changes: bool) -> sql.Composed:
    return sql.SQL("{} ({}, {})").format(
        in_target(extract.make_name),
        sql.SQL(", ").join(sql.Identifier(row, c) for c in (*extract.key, *extract.legacy)),
        sql.Literal(changes),
    )


def make_definition(extract: Extract) -> sql.Composed:
    """SQL of the function that makes a row's own row.

    A row that is there gets the values if that is wanted; else it is left as it is, as a pass
    leaves what somebody has written meanwhile.
    """
    arguments = {c: code(f"${n}") for n, c in enumerate(extract.legacy, start=2)}
    changes = code(f"${len(arguments) + 2}")
    own = sql.SQL("SELECT FROM {} AS e WHERE e.id = $1").format(extract.lookup_sql)
    none = sql.SQL("  IF {} AND NOT EXISTS ({}) THEN RETURN NULL; END IF;").format(
        extract.is_without_values(arguments), own
    )
    lines = [
        # A row that somebody deletes meanwhile must not get one.
        sql.SQL("  IF NOT {} THEN").format(changes),
        sql.SQL("    PERFORM FROM {} AS t WHERE {} = $1 FOR KEY SHARE;").format(
            extract.table.identifier, sql.Identifier("t", extract.key[0])
        ),
        sql.SQL("    IF NOT FOUND THEN RETURN NULL; END IF;\n  END IF;"),
        *(() if extract.required else (none,)),
        sql.SQL("  PERFORM set_config('rollout.engine', pg_current_xact_id()::text, true);"),
        sql.SQL(
            "  INSERT INTO {into} AS e (id, {names}) VALUES ($1, {values})\n"
            "    ON CONFLICT (id) DO UPDATE SET {set} WHERE {changes} AND ({other});"
        ).format(
            into=extract.lookup_sql,
            names=sql.SQL(", ").join(map(sql.Identifier, extract.new_columns)),
            values=sql.SQL(", ").join(arguments.values()),
            set=sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(n), sql.Identifier("excluded", n))
                for n in extract.new_columns
            ),
            changes=changes,
            other=_differ({n: sql.Identifier("excluded", n) for n in extract.new_columns}, "e"),
        ),
        sql.SQL("  PERFORM set_config('rollout.engine', coalesce(announced, ''), true);"),
        sql.SQL("  RETURN $1;"),
    ]
    return owned_function(
        extract.make_name,
        arguments=argument_types(extract),
        returns=extract.key_type,
        schema=extract.table.schema,
        declare="announced text := current_setting('rollout.engine', true);",
        body=lines,
        settings=OF_EXPRESSIONS,
    )


def follow_definition(extract: Extract) -> sql.Composed:
    """SQL of the function that has a row follow its own row, which was made or changed."""
    values: dict[str, sql.Composable] = {
        extract.column: sql.Identifier("new", "id"),
        **{c: extract.as_legacy(c, sql.Identifier("new", n)) for c, n in extract.names.items()},
    }
    return owned_function(
        extract.follow_name,
        arguments="",
        returns="trigger",
        schema=extract.table.schema,
        body=[
            sql.SQL("  UPDATE {} AS t SET {} WHERE {} = new.id AND ({});").format(
                extract.table.identifier,
                sql.SQL(", ").join(
                    sql.SQL("{} = {}").format(sql.Identifier(c), value)
                    for c, value in values.items()
                ),
                sql.Identifier("t", extract.key[0]),
                _differ(values, "t"),
            ),
            sql.SQL("  RETURN NULL;"),
        ],
        settings=OF_EXPRESSIONS,
    )


def forget_definition(extract: Extract) -> sql.Composed:
    """SQL of the function that deletes the own row of a row that is gone, or has another key."""
    key = sql.Identifier("old", extract.key[0])
    return owned_function(
        extract.forget_name,
        arguments="",
        returns="trigger",
        schema=extract.table.schema,
        body=[
            sql.SQL(
                "  DELETE FROM {} AS e WHERE e.id = {}\n"
                # A row that goes to another partition is deleted in this one.
                "    AND NOT EXISTS (SELECT FROM {} AS t WHERE {} = {});"
            ).format(
                *(extract.lookup_sql, key, extract.table.identifier),
                *(sql.Identifier("t", extract.key[0]), key),
            ),
            sql.SQL("  RETURN NULL;"),
        ],
        settings=OF_EXPRESSIONS,
    )


def _differ(values: dict[str, sql.Composable], row: str) -> sql.Composed:
    """SQL condition: any column of row ``row`` has another value, to the letter."""
    return sql.SQL(" OR ").join(
        sql.SQL('{}::text COLLATE "C" IS DISTINCT FROM {}::text COLLATE "C"').format(
            sql.Identifier(row, column), value
        )
        for column, value in values.items()
    )
