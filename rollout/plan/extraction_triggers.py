"""The part of an extraction's new table in the dual write.

A write of legacy columns makes the row of its group, or changes it. A write of a row has the legacy
columns of all rows that point to it follow.
"""

import hashlib
from collections.abc import Iterable

from psycopg import sql

from rollout.plan import own_rows
from rollout.plan.actions import Lock, LockMode
from rollout.plan.catalog import Catalog, Part, trigger_text
from rollout.plan.extracted_tables import (
    arguments_of,
    identity_of_row,
    names_of,
    types_of,
)
from rollout.plan.extraction_conflicts import decided_definition, drop_decided
from rollout.plan.extractions import Extract
from rollout.plan.identities import forget_group
from rollout.plan.names import code, identifier, in_target
from rollout.plan.resolvers import owned_function
from rollout.plan.session_settings import IS_APPLICATION, OF_EXPRESSIONS

FOLLOW = "follow"
FORGET = "forget"


def functions(extract: Extract) -> tuple[str, ...]:
    """The functions that come and go with the triggers."""
    if extract.is_split:
        return extract.make_name, extract.follow_name, extract.forget_name
    if extract.is_reviewed:
        return extract.make_name, extract.follow_name, extract.decided_name
    return extract.make_name, extract.follow_name


def made(extract: Extract) -> sql.Composed:
    """A line of the triggers: the row of what was written is there, and has the values written."""
    if extract.is_split:
        return own_rows.made(extract)
    written = [
        sql.SQL("CASE TG_OP WHEN 'INSERT' THEN NOT {} ELSE {} IS DISTINCT FROM {} END").format(
            extract.is_empty(c, sql.Identifier("new", c)),
            sql.Identifier("new", c),
            sql.Identifier("old", c),
        )
        for c in extract.legacy
    ]
    return sql.SQL("  PERFORM {} ({}, ARRAY[{}]);").format(
        in_target(extract.make_name),
        sql.SQL(", ").join(sql.Identifier("new", c) for c in extract.legacy),
        sql.SQL(", ").join(written),
    )


def make_definition(extract: Extract) -> sql.Composed:
    """SQL of the function of the values of a group, and of which of them were written.

    The legacy columns of other rows stay as they are: nobody wrote these. ``lastval()`` is
    afterwards what it was before.
    """
    arguments = arguments_of(extract)
    written = code(f"(${len(arguments) + 1})")
    changes = [
        sql.SQL("{}[{}] AND {} IS DISTINCT FROM {}").format(
            written, sql.Literal(number), sql.Identifier("e", name), arguments[c]
        )
        for number, (c, name) in enumerate(extract.names.items(), start=1)
    ]
    change = [
        sql.SQL("  PERFORM set_config('rollout.engine', pg_current_xact_id()::text, true);"),
        sql.SQL("  UPDATE {into} AS e SET {set} WHERE {of_row} = wanted AND ({changes});").format(
            into=extract.lookup_sql,
            set=sql.SQL(", ").join(
                sql.SQL("{} = CASE WHEN {}[{}] THEN {} ELSE {} END").format(
                    sql.Identifier(name),
                    written,
                    sql.Literal(number),
                    arguments[c],
                    sql.Identifier("e", name),
                )
                for number, (c, name) in enumerate(extract.names.items(), start=1)
            ),
            of_row=identity_of_row(extract),
            changes=sql.SQL(" OR ").join(changes),
        ),
        sql.SQL("  PERFORM set_config('rollout.engine', coalesce(announced, ''), true);"),
    ]
    lines = [
        sql.SQL("  IF wanted IS NULL THEN RETURN; END IF;"),
        sql.SQL("  IF NOT EXISTS (SELECT FROM {} AS e WHERE {} = wanted) THEN").format(
            extract.lookup_sql, identity_of_row(extract)
        ),
        sql.SQL(
            "    BEGIN last := lastval();\n"
            "    EXCEPTION WHEN object_not_in_prerequisite_state OR insufficient_privilege THEN\n"
            "      last := NULL;\n"
            "    END;"
        ),
        sql.SQL("    INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING;").format(
            extract.lookup_sql, names_of(extract), sql.SQL(", ").join(arguments.values())
        ),
        # A session's last number is that of the sequence which it used last: here one of our own.
        sql.SQL(
            "    IF last IS NOT NULL THEN\n"
            "      PERFORM nextval('rollout.lastval');\n"
            "      PERFORM setval('rollout.lastval', last);\n"
            "    END IF;"
        ),
        sql.SQL("  END IF;"),
        *(change if extract.shares_rows else ()),
    ]
    return owned_function(
        extract.make_name,
        arguments=f"{types_of(extract)}, boolean[]",
        returns="void",
        schema=extract.table.schema,
        declare=sql.SQL(
            "wanted uuid := {}; last bigint;"
            " announced text := current_setting('rollout.engine', true);"
        )
        .format(extract.identity(arguments.values()))
        .as_string(),
        body=lines,
        settings=OF_EXPRESSIONS,
    )


def follow_definition(extract: Extract) -> sql.Composed:
    """SQL of the function that has the legacy columns of all rows follow the row they point to.

    What a row holds instead stays, but for columns that changed. A row that has nothing yet, since
    its columns came back a moment ago, takes all.
    """
    names, table = extract.names, extract.table
    bare = extract.is_without_values({c: sql.Identifier("t", c) for c in names})
    changed = {
        c: sql.SQL("({} IS DISTINCT FROM {} OR ({}))").format(
            sql.Identifier("old", name), sql.Identifier("new", name), bare
        )
        for c, name in names.items()
    }
    values = {c: extract.as_legacy(c, sql.Identifier("new", name)) for c, name in names.items()}
    return owned_function(
        extract.follow_name,
        arguments="",
        returns="trigger",
        schema=table.schema,
        body=[
            forget_group(extract),
            sql.SQL("  UPDATE {} AS t SET {} WHERE {} = new.id AND ({});").format(
                table.identifier,
                sql.SQL(", ").join(
                    sql.SQL("{} = CASE WHEN {} THEN {} ELSE {} END").format(
                        sql.Identifier(c), changed[c], values[c], sql.Identifier("t", c)
                    )
                    for c in names
                ),
                sql.Identifier("t", extract.column),
                sql.SQL(" OR ").join(
                    sql.SQL("{} AND {} IS DISTINCT FROM {}").format(
                        changed[c], sql.Identifier("t", c), values[c]
                    )
                    for c in names
                ),
            ),
            sql.SQL("  RETURN NULL;"),
        ],
        settings=OF_EXPRESSIONS,
    )


def follow_trigger(plan: str) -> str:
    return identifier("rollout", plan, FOLLOW)


def install(extract: Extract, plan: str) -> list[sql.Composable]:
    """SQL of the functions and the trigger of the new table, as they are in every stage."""
    columns = extract.new_columns
    if extract.is_split:
        make, follow = own_rows.make_definition(extract), own_rows.follow_definition(extract)
    else:
        make, follow = make_definition(extract), follow_definition(extract)
    return [
        make,
        follow,
        _named_so(extract.follow_name, FOLLOW, follow),
        *(_of_own_rows(extract, plan) if extract.is_split else ()),
        *((decided_definition(extract, plan),) if extract.is_reviewed else ()),
        sql.SQL(
            "CREATE OR REPLACE TRIGGER {} AFTER UPDATE ON {} FOR EACH ROW\n"
            "  WHEN (({}) AND {}) EXECUTE FUNCTION {} ()"
        ).format(
            sql.Identifier(follow_trigger(plan)),
            extract.lookup_sql,
            sql.SQL(" OR ").join(
                sql.SQL("{} IS DISTINCT FROM {}").format(
                    sql.Identifier("old", column), sql.Identifier("new", column)
                )
                for column in columns
            ),
            IS_APPLICATION,
            in_target(extract.follow_name),
        ),
    ]


def _named_so(function: str, what: str, definition: sql.Composed) -> sql.Composed:
    """SQL of the comment by which the catalog knows the triggers of a function."""
    digest = hashlib.sha256(definition.as_string().encode()).hexdigest()[:16]
    return sql.SQL("COMMENT ON FUNCTION {} () IS {}").format(
        in_target(function), sql.Literal(f"{what} {digest}")
    )


def _of_own_rows(extract: Extract, plan: str) -> list[sql.Composable]:
    """SQL of what else a table that is split needs."""
    forget = own_rows.forget_definition(extract)
    return [
        forget,
        _named_so(extract.forget_name, FORGET, forget),
        sql.SQL(
            "CREATE OR REPLACE TRIGGER {} AFTER INSERT ON {} FOR EACH ROW\n"
            "  WHEN ({}) EXECUTE FUNCTION {} ()"
        ).format(
            sql.Identifier(_insert_trigger(plan)),
            extract.lookup_sql,
            IS_APPLICATION,
            in_target(extract.follow_name),
        ),
        sql.SQL(
            "CREATE OR REPLACE TRIGGER {} AFTER DELETE OR UPDATE OF {} ON {} FOR EACH ROW\n"
            "  WHEN ({}) EXECUTE FUNCTION {} ()"
        ).format(
            sql.Identifier(_forget_trigger(extract, plan)),
            sql.Identifier(extract.key[0]),
            extract.table.identifier,
            IS_APPLICATION,
            in_target(extract.forget_name),
        ),
    ]


def _insert_trigger(plan: str) -> str:
    return identifier("rollout", plan, FOLLOW, "insert")


def _forget_trigger(extract: Extract, plan: str) -> str:
    return identifier("rollout", plan, extract.column, FORGET)


def _triggers(extract: Extract, plan: str) -> list[tuple[str, Part, str]]:
    """The triggers besides those of the dual write: the table, the part, what it does."""
    triggers = [(extract.lookup_label, Part("trigger", follow_trigger(plan)), FOLLOW)]
    if extract.is_split:
        forget = Part("trigger", _forget_trigger(extract, plan))
        triggers += [
            (extract.lookup_label, Part("trigger", _insert_trigger(plan)), FOLLOW),
            (extract.table.label, forget, FORGET),
        ]
    return triggers


def remove(extract: Extract, plan: str) -> list[sql.Composed]:
    by_label = {extract.lookup_label: extract.lookup_sql}
    arguments = f"{types_of(extract)}, boolean[]"
    if extract.is_split:
        arguments = own_rows.argument_types(extract)
    return [
        *(
            sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(
                sql.Identifier(part.name), by_label.get(label, extract.table.identifier)
            )
            for label, part, _ in _triggers(extract, plan)
        ),
        sql.SQL("DROP FUNCTION IF EXISTS {} ()").format(in_target(extract.follow_name)),
        *(
            [sql.SQL("DROP FUNCTION IF EXISTS {} ()").format(in_target(extract.forget_name))]
            if extract.is_split
            else []
        ),
        *([drop_decided(extract)] if extract.is_reviewed else []),
        sql.SQL("DROP FUNCTION IF EXISTS {} ({})").format(
            in_target(extract.make_name), code(arguments)
        ),
    ]


def put_triggers_into(catalog: Catalog, extract: Extract, plan: str) -> None:
    for label, part, what in _triggers(extract, plan):
        catalog.put(label, part, trigger_text(what))


def take_triggers_from(catalog: Catalog, extract: Extract, plan: str) -> None:
    for label, part, _ in _triggers(extract, plan):
        catalog.take(label, part)


def locks(extracts: Iterable[Extract], mode: LockMode) -> tuple[Lock, ...]:
    return tuple(Lock(mode, extract.lookup_label) for extract in extracts)
