"""What a dump of tables does not tell and a restore in their place has to keep.

Who owns them, who may use them, and foreign keys to tables that are not in the dump.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rollout.engine.snapshot.contents import Relation
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.target import Connection


@dataclass(frozen=True)
class _Part:
    """A statement before and after the name of the table that it is of."""

    label: str
    before: str
    after: str


@dataclass(frozen=True)
class PreservedDDL:
    """Relations, and the statements that restore what a dump does not contain of them.

    ``names`` gives the table's first label by each that it has in some phase of the plan.
    """

    parts: list[_Part]
    names: Mapping[str, str]

    def put_back(self, connection: Connection, relations: list[Relation]) -> None:
        """Carry them out for those relations that are there again. Raises psycopg.Error."""
        there = {self.names.get(r.label, r.label): r for r in relations if r.kind != "v"}
        for part in self.parts:
            if relation := there.get(self.names.get(part.label, part.label)):
                name = relation.identifier.as_string()
                connection.execute(f"{part.before} {name} {part.after}".encode())


def preserved_ddl_of(
    connection: Connection, relations: list[Relation], names: Mapping[str, str]
) -> PreservedDDL:
    """Read what a dump does not contain of relations that are about to be replaced.

    Raises SnapshotError if a table belongs to a publication: its subscribers would break.
    """
    # A view is made again by its step, with the rights of its table.
    oids = [relation.oid for relation in relations if relation.kind != "v"]
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
            _Part(labels[oid], before, after)
            for question in (_OWNERS, _RIGHTS, _FOREIGN_KEYS)
            for oid, before, after in connection.execute(question, {"oids": oids}).fetchall()
        ],
        names,
    )


_OWNERS = """
SELECT c.oid::bigint, CASE c.relkind WHEN 'm' THEN 'ALTER MATERIALIZED VIEW' ELSE 'ALTER TABLE' END,
       format('OWNER TO %%I', pg_get_userbyid(c.relowner))
  FROM pg_class AS c
 WHERE c.oid = ANY (%(oids)s::oid[]) AND pg_get_userbyid(c.relowner) <> current_user
 ORDER BY c.oid
"""
_RIGHTS = """
SELECT c.oid::bigint, format('GRANT %%s ON', a.privilege_type), format('TO %%s%%s',
              CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
              CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM pg_class AS c, aclexplode(c.relacl) AS a
 WHERE c.oid = ANY (%(oids)s::oid[]) AND a.grantee <> c.relowner
 ORDER BY c.oid, 2, 3
"""
_FOREIGN_KEYS = """
SELECT f.conrelid::bigint, 'ALTER TABLE',
       format('ADD CONSTRAINT %%I %%s', f.conname, pg_get_constraintdef(f.oid))
  FROM pg_constraint AS f
 WHERE f.contype = 'f' AND f.conparentid = 0 AND f.conrelid = ANY (%(oids)s::oid[])
   AND NOT f.confrelid = ANY (%(oids)s::oid[])
 ORDER BY f.oid
"""
