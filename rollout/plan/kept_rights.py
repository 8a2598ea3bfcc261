"""Rights on dropped columns that the rollback would give to roles that are gone by then."""

from psycopg import sql

from rollout.plan import facts
from rollout.plan.actions import Statement
from rollout.plan.attributes import ATTRIBUTES_TABLE

# Whom a GRANT, as PostgreSQL prints it, is to: it stands at its end.
_ROLE = """substring(statement FROM ' TO ("(?:[^"]|"")+"|[^ "]+)(?: WITH GRANT OPTION)?$')"""
_OF_NOBODY = sql.SQL(
    "starts_with(statement, 'GRANT ') AND {role} <> 'PUBLIC' AND to_regrole({role}) IS NULL"
).format(role=sql.SQL(_ROLE))

# Run before a rollback: DROP ROLE does not know of a right on a column that is not there.
FORGET_RIGHTS_OF_GONE_ROLES = Statement(
    sql=sql.SQL("DELETE FROM {} WHERE {}").format(ATTRIBUTES_TABLE, _OF_NOBODY),
    done=facts.no(sql.SQL("EXISTS (SELECT FROM {} WHERE {})").format(ATTRIBUTES_TABLE, _OF_NOBODY)),
)
