"""Whether every value of a wide column fits into the narrow one that a rollback adds again."""

from psycopg import sql

from rollout.plan.actions import Action, Statement
from rollout.plan.plan import Plan
from rollout.plan.wide_columns import WideColumn

# The bounds of the types that a key can be narrowed to.
_LAST = {"smallint": 2**15 - 1, "integer": 2**31 - 1}


def fits_again(plan: Plan) -> tuple[Action, ...]:
    """Refuse the way back, before it changes anything, while rows have values beyond the type.

    From the first trigger on it would refuse every write of such a value.
    """
    columns = [t for t in plan.translations if isinstance(t, WideColumn)]
    if not columns:
        return ()
    counted = sql.SQL("\n").join(_counted(t) for t in columns)
    body = sql.SQL(
        "DECLARE beyond bigint; refused text[] := '{{}}';\nBEGIN\n{}\n"
        "  IF refused <> '{{}}' THEN\n"
        "    RAISE EXCEPTION USING MESSAGE = array_to_string(refused, ', ') || {};\n"
        "  END IF;\nEND"
    ).format(
        counted,
        sql.Literal(
            ". The narrow type cannot hold them, so this phase cannot be rolled back. Nothing was "
            "changed. Keep the wide key; or give those rows smaller numbers, or delete them, then "
            "retry the rollback."
        ),
    )
    fit = (sql.SQL("NOT EXISTS (SELECT FROM {})").format(_beyond(t)) for t in columns)
    return (
        Statement(
            sql=sql.SQL("DO {}").format(sql.Literal(body.as_string())),
            done=sql.SQL(" AND ").join(fit),
            long=True,
        ),
    )


def last_of(column: WideColumn) -> int:
    """The largest number that the narrow column can hold."""
    declared = column.table.columns.get(*column.legacy)
    return _LAST.get(declared.type if declared else "", _LAST["integer"])


def _beyond(column: WideColumn) -> sql.Composed:
    """The rows of a FROM that the narrow type cannot hold."""
    last = last_of(column)
    (name,) = map(sql.Identifier, column.columns)
    return sql.SQL("{} WHERE {} > {} OR {} < {}").format(
        column.table.identifier, name, sql.Literal(last), name, sql.Literal(-last - 1)
    )


def _counted(column: WideColumn) -> sql.Composed:
    return sql.SQL(
        "  SELECT count(*) INTO beyond FROM {beyond};\n"
        "  IF beyond > 0 THEN\n"
        "    refused := refused || format('%s of %s %s beyond {last} in %s',\n"
        "      CASE beyond WHEN 1 THEN '1 row' ELSE beyond || ' rows' END, {label},\n"
        "      CASE beyond WHEN 1 THEN 'is' ELSE 'are' END, {name});\n"
        "  END IF;"
    ).format(
        beyond=_beyond(column),
        last=sql.Literal(last_of(column)),
        label=sql.Literal(column.table.label),
        name=sql.Literal(column.name),
    )
