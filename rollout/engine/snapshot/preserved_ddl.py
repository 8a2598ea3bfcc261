"""What a dump of tables does not tell and a restore in their place has to keep.

Who owns them, who may use them, their columns and sequences, and foreign keys to tables that are
not in the dump.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from psycopg import errors

from rollout.engine.snapshot.contents import Relation
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.target import Connection


@dataclass(frozen=True)
class _Part:
    """A statement before and after the name of the table that it is of."""

    label: str
    before: str
    after: str
    column: str | None = None
    """The column that it needs."""
    of_sequence: bool = False
    """Whether it names the sequence that this column owns, and not the table."""


@dataclass(frozen=True)
class PreservedDDL:
    """Relations, and the statements that restore what a dump does not contain of them.

    ``names`` gives the table's first label by each that it has in some phase of the plan.
    """

    parts: list[_Part]
    names: Mapping[str, str]
    of_dropped_columns: list[str]
    """Rights on columns that the plan has dropped, which may be there again."""

    def put_back(self, connection: Connection, relations: list[Relation]) -> None:
        """Carry them out for those relations that are there again. Raises psycopg.Error."""
        there = {self.names.get(r.label, r.label): r for r in relations if r.kind != "v"}
        for part in self.parts:
            relation = there.get(self.names.get(part.label, part.label))
            if relation and (name := _name(connection, relation, part)):
                connection.execute(f"{part.before} {name} {part.after}".encode())
        for statement in self.of_dropped_columns:
            with suppress(errors.UndefinedColumn, errors.UndefinedTable), connection.transaction():
                connection.execute(statement.encode())


def _name(connection: Connection, relation: Relation, part: _Part) -> str | None:
    """What a part's statement is of; None where the relation does not have it."""
    name = relation.identifier.as_string()
    if part.column is None:
        return name
    row = connection.execute(
        "SELECT pg_get_serial_sequence(%s, attname) FROM pg_attribute"
        " WHERE attrelid = %s AND attname = %s AND NOT attisdropped",
        [name, relation.oid, part.column],
    ).fetchone()
    if row is None:
        return None
    return row[0] if part.of_sequence else name


def preserved_ddl_of(
    connection: Connection, plan: str, relations: list[Relation], names: Mapping[str, str]
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
            _Part(labels[oid], *rest)
            for question in (_OWNERS, _RIGHTS, _COLUMN_RIGHTS, _SEQUENCE_RIGHTS, _FOREIGN_KEYS)
            for oid, *rest in connection.execute(question, {"oids": oids}).fetchall()
        ],
        names,
        [statement for (statement,) in connection.execute(_KEPT_RIGHTS, [plan]).fetchall()],
    )


_OWNERS = """
SELECT c.oid::bigint, CASE c.relkind WHEN 'm' THEN 'ALTER MATERIALIZED VIEW' ELSE 'ALTER TABLE' END,
       format('OWNER TO %%I', pg_get_userbyid(c.relowner))
  FROM pg_class AS c
 WHERE c.oid = ANY (%(oids)s::oid[]) AND pg_get_userbyid(c.relowner) <> current_user
 ORDER BY c.oid
"""
_TO = """format('TO %%s%%s',
              CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
              CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)"""
_RIGHTS = """
SELECT c.oid::bigint, format('GRANT %%s ON', a.privilege_type), {to}
  FROM pg_class AS c, aclexplode(c.relacl) AS a
 WHERE c.oid = ANY (%(oids)s::oid[]) AND a.grantee <> c.relowner
 ORDER BY c.oid, 2, 3
""".replace("{to}", _TO)
_COLUMN_RIGHTS = """
SELECT c.oid::bigint, format('GRANT %%s (%%I) ON', a.privilege_type, t.attname), {to}, t.attname
  FROM pg_class AS c JOIN pg_attribute AS t ON t.attrelid = c.oid AND NOT t.attisdropped,
       aclexplode(t.attacl) AS a
 WHERE c.oid = ANY (%(oids)s::oid[]) AND a.grantee <> c.relowner
 ORDER BY c.oid, 2, 3
""".replace("{to}", _TO)
# A serial column's sequence, or an identity column's.
_SEQUENCE_RIGHTS = """
SELECT d.refobjid::bigint, format('GRANT %%s ON SEQUENCE', a.privilege_type), {to}, t.attname, true
  FROM pg_depend AS d JOIN pg_class AS c ON c.oid = d.objid AND c.relkind = 'S'
  JOIN pg_attribute AS t ON t.attrelid = d.refobjid AND t.attnum = d.refobjsubid,
       aclexplode(c.relacl) AS a
 WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
   AND d.deptype IN ('a', 'i') AND d.refobjid = ANY (%(oids)s::oid[]) AND a.grantee <> c.relowner
 ORDER BY d.refobjid, 2, 3
""".replace("{to}", _TO)
_KEPT_RIGHTS = """
SELECT statement FROM rollout.attributes
 WHERE plan = %s AND starts_with(statement, 'GRANT ') ORDER BY table_label, position
"""
_FOREIGN_KEYS = """
SELECT f.conrelid::bigint, 'ALTER TABLE',
       format('ADD CONSTRAINT %%I %%s', f.conname, pg_get_constraintdef(f.oid))
  FROM pg_constraint AS f
 WHERE f.contype = 'f' AND f.conparentid = 0 AND f.conrelid = ANY (%(oids)s::oid[])
   AND NOT f.confrelid = ANY (%(oids)s::oid[])
 ORDER BY f.oid
"""
