"""The words that pages, documents and code use: the one text of the glossary.

``python -m rollout.console.glossary > docs/glossary.md`` writes the page of the documents anew.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A word and what it means."""

    word: str
    meaning: str

    @property
    def anchor(self) -> str:
        """Its name in an address."""
        return self.word.lower().replace(" ", "-")


@dataclass(frozen=True)
class Chapter:
    title: str
    terms: tuple[Term, ...]


GLOSSARY = (
    Chapter(
        "What is to change",
        (
            Term(
                "Plan",
                "What is to change, written in code in an app's rollout.py: the tables, the "
                "translations, and five phases of steps.",
            ),
            Term(
                "Phase",
                "One of the five parts of a plan: prepare, expand, backfill, enforce, contract. "
                "Each is started by a person, and each has a rollback.",
            ),
            Term(
                "Step",
                "One thing that a phase does, with the statements that do it and those that undo "
                "it. Every step asks the catalog first whether it is done already.",
            ),
            Term(
                "Destructive step",
                "A step that takes something away or refuses what was allowed. Its rollback is "
                "shown before it starts; without one the plan is refused.",
            ),
            Term(
                "Translation",
                "One declaration from legacy columns to a new column. The added column, the "
                "triggers, the backfill, the audit, the archive and the rollback follow from it.",
            ),
            Term(
                "Lookup",
                "A translation of a free text into a foreign key to a lookup table.",
            ),
            Term("Derived", "A translation whose value is a SQL expression over the row."),
            Term(
                "Computed",
                "A translation whose values a Python function computes for a batch of rows.",
            ),
            Term(
                "Mapping",
                "For each distinct legacy text the lookup row that it means, and why. The plan "
                "proposes it; people review it, and what they decide counts for more.",
            ),
            Term(
                "Normal form",
                "A text in lower case with single spaces. Texts of one normal form share a row of "
                "the lookup table unless somebody decided otherwise.",
            ),
            Term(
                "Digest",
                "A short fingerprint of every statement of a plan, both ways: its version.",
            ),
        ),
    ),
    Chapter(
        "Where it happens",
        (
            Term(
                "Environment",
                "A database in which plans are carried out, such as production or staging.",
            ),
            Term("Rollout", "A plan in an environment."),
            Term(
                "Target",
                "The database of an environment. What must commit together with the data (lanes, "
                "mapping, archives, modes) is kept there, in a schema called rollout.",
            ),
            Term(
                "Journal",
                "The console's own tables: what was done, by whom, and what was found.",
            ),
            Term(
                "Audit log",
                "The part of the journal that is only ever added to. Each entry carries the hash "
                "of the one before it, so a change of an old entry shows.",
            ),
            Term(
                "Worker",
                "A process that carries out what is queued. Any number may run; one that dies "
                "loses nothing.",
            ),
            Term(
                "Watchdog",
                "A process that brings back the work of dead workers and judges the rules. One "
                "leads, the others stand by.",
            ),
        ),
    ),
    Chapter(
        "Carrying it out",
        (
            Term(
                "Run",
                "One carrying out of a phase, of its rollback, or of a repair. The newest run of "
                "a phase says where the phase stands.",
            ),
            Term("Rollback", "The steps of a phase undone in reverse order."),
            Term(
                "Dual write",
                "Every write fills both shapes, whoever writes: triggers keep the legacy and the "
                "new columns in step.",
            ),
            Term(
                "Mode",
                "Which shape the application reads and writes at present. It asks within its "
                "transaction, and a change of mode waits for such transactions.",
            ),
            Term(
                "Cutover",
                "The moment at which reads and writes go to the new columns. The dual write turns "
                "round in the same transaction, so that going back loses nothing.",
            ),
            Term(
                "Backfill",
                "The pass that fills in the rows that were there before the dual write.",
            ),
            Term(
                "Lane",
                "A range of blocks of a table. One worker at a time holds it, by a lease.",
            ),
            Term(
                "Stripe",
                "A part of the rows of each page in a range, written in a transaction of its own, "
                "so that the next finds the room that this one left.",
            ),
            Term(
                "Lease",
                "The time until which a worker holds what it works on. It is moved on while the "
                "worker lives; past it the work is another's.",
            ),
            Term(
                "Fencing token",
                "A number that grows with each holder of a lease. Who has an older one cannot "
                "commit.",
            ),
            Term(
                "Checkpoint",
                "A lane's position and counters. They commit in the same transaction as the rows.",
            ),
            Term(
                "Final sweep",
                "A count of the rows that are not right. A backfill ends when it finds none.",
            ),
            Term(
                "Quarantine",
                "Rows that the database or a function refused, with the error of each. They hold "
                "up no other row.",
            ),
            Term(
                "Archive",
                "The exact legacy text of every row, kept when the legacy columns are dropped.",
            ),
        ),
    ),
    Chapter(
        "Before a phase",
        (
            Term(
                "Gate",
                "A condition for starting a phase. It answers pass, fail or unknown, with its "
                "evidence and what to do next. Unknown is never a pass.",
            ),
            Term(
                "Soak",
                "Time that must pass, with measurements in bounds, before the next phase.",
            ),
            Term(
                "Preflight",
                "A look at what could stop or hurt a phase: sessions, locks, rights, disk, data. "
                "It is made when the page opens, and again at the start.",
            ),
            Term(
                "Lock forecast",
                "Which locks a phase will take on which tables, for how long, and who would wait.",
            ),
            Term(
                "Drift",
                "A difference between the live schema and what the plan expects at this point.",
            ),
            Term(
                "Snapshot",
                "A dump of the plan's tables with counts from the same moment. It is verified once "
                "it was restored into a scratch database and found to hold just that.",
            ),
        ),
    ),
    Chapter(
        "Proof",
        (
            Term(
                "Audit",
                "A comparison of legacy and new values: of every row, or of rows picked at random.",
            ),
            Term(
                "Category",
                "What an audit says of a row. Each row counts in one category, so that they add up "
                "to the table.",
            ),
            Term(
                "Mismatch",
                "A row that is not as the mapping, the expression or the function says.",
            ),
            Term("Finding", "A mismatch followed through all reports, until it is right again."),
            Term("Waiver", "A mismatch that a lead accepts, with a reason and an end."),
            Term("Repair", "A pass that writes the selected mismatching rows, and no other."),
            Term(
                "Bound",
                "What a sample proves: with 95 % confidence no larger share of rows mismatches.",
            ),
        ),
    ),
    Chapter(
        "The application beside it",
        (
            Term(
                "Operation",
                "Something the application does for its users, measured under a name: its time, "
                "queries and errors.",
            ),
            Term("Baseline", "The same measurements in the hour before a run."),
            Term(
                "Guardrail",
                "A bound on latency, errors or wrong values, and what happens once it is broken: "
                "warn, throttle, pause or hold.",
            ),
            Term(
                "Health signal",
                "A sign that the database or the application suffers. It slows a backfill down or "
                "stops it until it is gone.",
            ),
        ),
    ),
)


def terms() -> tuple[Term, ...]:
    """Every term, in the order of the chapters."""
    return tuple(term for chapter in GLOSSARY for term in chapter.terms)


def as_markdown() -> str:
    """The glossary as the page of the documents."""
    lines = ["# Glossary", "", "The words that the console, these pages and the code use."]
    for chapter in GLOSSARY:
        lines += ["", f"## {chapter.title}", "", "| word | meaning |", "|---|---|"]
        lines += [f"| **{term.word}** | {term.meaning} |" for term in chapter.terms]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(as_markdown(), end="")
