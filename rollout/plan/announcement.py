"""How the engine's own writes announce themselves to the triggers of the dual write.

A setting of the transaction holds the transaction's own id. It ends with the transaction, also
behind a pooler that hands sessions on, and no setting of a session, a role or a database can be
taken for it: what the application writes is always translated.
"""

from psycopg import sql

# Runs in a transaction: what it writes from here on is not translated.
ANNOUNCE = sql.SQL("SELECT set_config('rollout.engine', pg_current_xact_id()::text, true)")

# SQL condition: the transaction has not announced itself as the engine's.
IS_APPLICATION = sql.SQL(
    "(current_setting('rollout.engine', true) = pg_current_xact_id_if_assigned()::text) IS NOT TRUE"
)
