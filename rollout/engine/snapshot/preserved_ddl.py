"""What a dump of tables does not tell and a restore in their place has to keep.

Who owns them, who may use them, and foreign keys to tables that are not in the dump.
"""

from dataclasses import dataclass

from rollout.engine.snapshot.contents import Relation
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.target import Connection


@dataclass(frozen=True)
class PreservedDDL:
    """Relations, and the statements that restore what a dump does not contain of them."""

    statements: list[tuple[str, str]]

    def put_back(self, connection: Connection, relations: list[Relation]) -> None:
        """Carry them out for those relations that are there again. Raises psycopg.Error."""
        there = {relation.label for relation in relations}
        for label, statement in self.statements:
            if label in there:
                connection.execute(statement.encode())


def preserved_ddl_of(connection: Connection, relations: list[Relation]) -> PreservedDDL:
    """Read what a dump does not contain of relations that are about to be replaced.

    Raises SnapshotError if a table belongs to a publication: its subscribers would break.
    """
    oids = [relation.oid for relation in relations]
    published = connection.execute(
        "SELECT DISTINCT p.pubname, r.prrelid::regclass::text FROM pg_publication_rel AS r"
        " JOIN pg_publication AS p ON p.oid = r.prpubid WHERE r.prrelid = ANY (%s::oid[])",
        [oids],
    ).fetchall()
    if published:
        raise SnapshotError(
            "Tables are in a logical publication; subscribers would miss the replacement: "
            + ", ".join(f"{table} by {publication}" for publication, table in published)
            + ".",
            "Remove them from the publication first, and add them again afterwards.",
        )
    labels = {relation.oid: relation.label for relation in relations}
    return PreservedDDL(
        [
            (labels[oid], statement)
            for question in (_OWNERS, _RIGHTS, _FOREIGN_KEYS)
            for oid, statement in connection.execute(question, {"oids": oids}).fetchall()
        ]
    )


_OWNERS = """
SELECT c.oid::bigint, format('ALTER %%s %%s OWNER TO %%I',
              CASE c.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END,
              c.oid::regclass, pg_get_userbyid(c.relowner))
  FROM pg_class AS c
 WHERE c.oid = ANY (%(oids)s::oid[]) AND pg_get_userbyid(c.relowner) <> current_user
 ORDER BY c.oid
"""
_RIGHTS = """
SELECT c.oid::bigint, format('GRANT %%s ON %%s TO %%s%%s', a.privilege_type, c.oid::regclass,
              CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
              CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM pg_class AS c, aclexplode(c.relacl) AS a
 WHERE c.oid = ANY (%(oids)s::oid[]) AND a.grantee <> c.relowner
 ORDER BY c.oid, 2
"""
_FOREIGN_KEYS = """
SELECT f.conrelid::bigint, format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s',
              f.conrelid::regclass, f.conname, pg_get_constraintdef(f.oid))
  FROM pg_constraint AS f
 WHERE f.contype = 'f' AND f.conparentid = 0 AND f.conrelid = ANY (%(oids)s::oid[])
   AND NOT f.confrelid = ANY (%(oids)s::oid[])
 ORDER BY f.oid
"""
