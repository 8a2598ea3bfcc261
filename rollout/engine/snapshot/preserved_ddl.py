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

# What a right is on, or the role that has it.
_IS_GONE = (errors.UndefinedColumn, errors.UndefinedTable, errors.UndefinedObject)


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
            with suppress(*_IS_GONE), connection.transaction():
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
            for question in _QUESTIONS
            for oid, *rest in connection.execute(question, {"oids": oids}).fetchall()
        ],
        names,
        [statement for (statement,) in connection.execute(_KEPT_RIGHTS, [plan]).fetchall()],
    )


_GRANTEE = "CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END"
# What ALTER DEFAULT PRIVILEGES gives on what a restore creates.
_DEFAULTS = """JOIN pg_default_acl AS p ON pg_get_userbyid(p.defaclrole) = current_user
   AND p.defaclnamespace IN (0, c.relnamespace)
   AND p.defaclobjtype = CASE c.relkind WHEN 'S' THEN 'S' ELSE 'r' END::"char",
       aclexplode(p.defaclacl) AS a
 WHERE a.grantee <> p.defaclrole"""
_NO_RIGHTS = """
SELECT DISTINCT c.oid::bigint, 'REVOKE ALL ON', format('FROM %%s', {grantee})
  FROM pg_class AS c {defaults} AND c.oid = ANY (%(oids)s::oid[])
 ORDER BY 1, 3
""".replace("{defaults}", _DEFAULTS).replace("{grantee}", _GRANTEE)
_OWNERS = """
SELECT c.oid::bigint, CASE c.relkind WHEN 'm' THEN 'ALTER MATERIALIZED VIEW' ELSE 'ALTER TABLE' END,
       format('OWNER TO %%I', pg_get_userbyid(c.relowner))
  FROM pg_class AS c
 WHERE c.oid = ANY (%(oids)s::oid[]) AND pg_get_userbyid(c.relowner) <> current_user
 ORDER BY c.oid
"""
_TO = f"""format('TO %%s%%s', {_GRANTEE},
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
_SEQUENCES = """
  FROM pg_depend AS d JOIN pg_class AS c ON c.oid = d.objid AND c.relkind = 'S'
   AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
   AND d.deptype IN ('a', 'i') AND d.refobjid = ANY (%(oids)s::oid[])
  JOIN pg_attribute AS t ON t.attrelid = d.refobjid AND t.attnum = d.refobjsubid
"""
_NO_SEQUENCE_RIGHTS = (
    """
SELECT DISTINCT d.refobjid::bigint, 'REVOKE ALL ON SEQUENCE', format('FROM %%s', {grantee}),
       t.attname, true {sequences} {defaults}
 ORDER BY 1, 4, 3
""".replace("{sequences}", _SEQUENCES)
    .replace("{defaults}", _DEFAULTS)
    .replace("{grantee}", _GRANTEE)
)
_SEQUENCE_RIGHTS = """
SELECT d.refobjid::bigint, format('GRANT %%s ON SEQUENCE', a.privilege_type), {to}, t.attname, true
{sequences}, aclexplode(c.relacl) AS a
 WHERE a.grantee <> c.relowner
 ORDER BY d.refobjid, 2, 3
""".replace("{sequences}", _SEQUENCES).replace("{to}", _TO)
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
# In the order in which their statements run: who creates a relation takes the defaults back.
_QUESTIONS = (
    *(_NO_RIGHTS, _NO_SEQUENCE_RIGHTS, _OWNERS),
    *(_RIGHTS, _COLUMN_RIGHTS, _SEQUENCE_RIGHTS, _FOREIGN_KEYS),
)
