"""Steps as SQL files, with all that their headers may say."""

FILES = {
    "001_notes": (
        """\
-- rollout: phase: 1
-- rollout: destructive
-- rollout: locks: none
-- rollout: done: to_regclass('notes') IS NOT NULL
CREATE TABLE notes (text text);

-- rollout: locks: ROW EXCLUSIVE notes
-- rollout: repeatable
DELETE FROM notes WHERE text = 'it''s :begun \\q $sql$';

-- rollout: locks: none
-- rollout: servers: 99-
-- rollout: done: false
SELECT nothing_such();

-- rollout: locks: SHARE UPDATE EXCLUSIVE notes
-- rollout: long
-- rollout: repeatable
VACUUM notes;

-- rollout: locks: none
-- rollout: generates
-- rollout: repeatable
SELECT format('COMMENT ON TABLE notes IS %L', 'of ' || current_database());
""",
        """\
-- rollout: locks: ACCESS EXCLUSIVE notes
-- rollout: done: to_regclass('notes') IS NULL
DROP TABLE notes;
""",
    ),
    "002_two_indexes": (
        """\
-- rollout: phase: 4
-- rollout: long
-- rollout: locks: SHARE notes
-- rollout: done: to_regclass('notes_b') IS NOT NULL
CREATE INDEX notes_a ON notes (text); CREATE INDEX notes_b ON notes (length(text));
""",
        """\
-- rollout: locks: ACCESS EXCLUSIVE notes
-- rollout: done: to_regclass('notes_b') IS NULL
DROP INDEX notes_a; DROP INDEX notes_b;
""",
    ),
}
