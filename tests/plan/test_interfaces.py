"""Whether a file of TypeScript interfaces fits the schema, in every phase and on every page."""

from pathlib import Path

import pytest

from properties.rollout import PLAN as SHIPPED
from rollout import gates
from rollout.gates import Evidence
from rollout.gates.checklists import types_of
from rollout.models import PhaseRun, Rollout
from rollout.plan import interfaces
from rollout.plan.table import Column
from tests.console import journal
from tests.console.journal import PAGE, text_of
from tests.support import rollouts
from tests.support.rollouts import PLAN, Cli

OWN = Column("integer")
"""A column of the application's own, that no phase knows of."""


def live(done: int) -> dict[str, dict[str, Column]]:
    """The schema once so many phases are done, its columns in the order of a rolled back one."""
    shape = SHIPPED.shape(done)
    return {
        table: {**dict(reversed(columns.items())), "own": OWN} if table == "properties" else columns
        for table, columns in shape.items()
    }


@pytest.mark.parametrize("done", range(6))
def test_a_file_has_the_schema_in_force_or_that_of_the_next_phase(done: int) -> None:
    texts = [interfaces.once_done(SHIPPED, live(done), phase, done=done) for phase in range(-1, 5)]
    fits = [
        interfaces.verdict(SHIPPED, live(done), text, done=done, under_way=under_way).matches
        for text in texts
        for under_way in (False, True)
    ]
    wanted = [text in (texts[done], texts[min(done + 1, 5)]) for text in texts]
    assert fits[::2] == fits[1::2] == wanted
    assert all("  own: number | null;" in text for text in texts)


def test_interface_mismatches_name_their_line_and_their_phase() -> None:
    text = interfaces.once_done(SHIPPED, live(3), 0, done=3)
    verdict = interfaces.verdict(SHIPPED, live(3), text, done=3)
    assert verdict.message == (
        "Matches neither the current schema, after phase 2, nor the schema after phase 3. "
        "Line 7: expected “currency: string | null;”, found “description: string;”. "
        "It has the schema before phase 1."
    )


def test_the_file_that_ships_is_of_the_schema_before_phase_1(properties: Rollout) -> None:
    gates.invalidate()
    (item,) = types_of(Evidence(properties, 1))
    assert (item.status, item.message) == (
        "pass",
        "types.ts: Matches the current schema, before phase 1.",
    )


def test_a_file_that_fell_behind_is_reported_on_its_phase_and_once_phase_4_is_next(
    filled: Rollout, cli: Cli
) -> None:
    gates.invalidate()
    viewer = journal.browser_of("viewer")
    notice = (
        "types.ts: Matches neither the current schema, after phase 2, nor the schema after phase 3"
    )
    text = text_of(viewer, f"{PAGE}phases/2/")
    assert notice in text
    assert "TypeScript interfaces: <code>types.ts</code>" in text
    assert "Clients need the new file before phase 4, though no gate waits for it." in text
    assert "Update before phase 4" in text
    assert "Line 10: expected “currency: string | null;”, found “description: string;”." in text
    # Two downloads, each with who takes it.
    assert f'<a href="{PAGE}phases/2/types.ts">the file of after phase 2</a> now, or' in text
    assert f'<a href="{PAGE}phases/3/types.ts">the file of after phase 3</a> once that' in text
    assert "TypeScript interfaces" not in text_of(viewer, PAGE), "it need not change yet"
    assert notice not in text_of(viewer, f"{PAGE}phases/1/")
    assert notice in cli("show", PLAN)[1]
    journal.ran(filled, 3, "running")
    text = text_of(viewer, f"{PAGE}phases/3/")
    assert f'<a href="{PAGE}phases/3/types.ts">the file of after phase 3</a> once that' in text
    assert "</a> now" not in text, "its schema is neither"
    journal.ran(filled, 3)
    assert "TypeScript interfaces" in text_of(viewer, PAGE), "phase 4 is next"
    now = f'<a href="{PAGE}phases/3/types.ts">the file of after phase 3</a> now.'
    assert now in text_of(viewer, PAGE)
    assert "of after phase 4" not in text_of(viewer, PAGE), "they need it before"
    PhaseRun.objects.update(state="done")
    journal.ran(filled, 4, "running")
    text = text_of(viewer, PAGE)
    new = f'<a href="{PAGE}phases/4/types.ts">the new file</a> now.'
    assert (
        f"Phase 4 has begun to remove the columns that the old file names. Clients need {new}"
        in text
    )
    assert "before phase 4" not in text.replace("Update before phase 4", "")
    PhaseRun.objects.update(state="done")
    journal.ran(filled, 4, "running", direction="backward")
    text = text_of(viewer, PAGE)
    assert "Phase 4 is being rolled back. Once that is done, clients need" in text
    assert f'<a href="{PAGE}phases/3/types.ts">the file of after phase 3</a>.' in text
    PhaseRun.objects.update(state="done")
    assert now in text_of(viewer, PAGE)
    journal.ran(filled, 4)
    text = text_of(viewer, PAGE)
    assert f"the columns that the old file names are gone. Clients need {new}" in text
    gates.invalidate()
    (item,) = types_of(Evidence(filled, 4))
    assert item.status == "fail", "what it names is gone"


def test_the_file_of_a_phase_downloads_and_fits_then(
    filled: Rollout, cli: Cli, tmp_path: Path
) -> None:
    viewer = journal.browser_of("viewer")
    file = tmp_path / "types.ts"
    for phase, fits in ((0, 1), (1, 0), (2, 0), (3, 0), (4, 1)):
        answer = viewer.get(f"{PAGE}phases/{phase}/types.ts")
        assert f"phase-{phase}.ts" in answer["Content-Disposition"]
        file.write_bytes(answer.content)
        assert cli("types", PLAN, "--phase", str(phase))[1] == answer.content.decode()
        assert cli("types", PLAN, "--check", str(file), "--phase", str(phase))[0] == 0
        assert cli("types", PLAN, "--check", str(file))[0] == fits, phase
    assert viewer.get(f"{PAGE}phases/7/types.ts").status_code == 404
    assert cli("types", PLAN, "--phase", "7")[0] == 2


def test_a_file_of_phase_2_still_fits_after_the_way_back_to_it(
    filled: Rollout, cli: Cli, tmp_path: Path
) -> None:
    file = tmp_path / "types.ts"
    file.write_text(cli("types", PLAN)[1])
    rollouts.carry_out(filled, 3)
    assert cli("types", PLAN, "--check", str(file))[0] == 1
    rollouts.carry_back(filled, 3)
    assert cli("types", PLAN, "--check", str(file))[0] == 0
