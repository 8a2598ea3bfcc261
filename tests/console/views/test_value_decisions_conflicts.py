"""The page of keys in conflict: people choose a group of values, or enter others."""

from __future__ import annotations

import json

import pytest

from rollout import gates
from rollout import plan as r
from rollout.gates import Evidence
from rollout.models import LogEntry, MappingChange, Rollout, RunState
from tests.console.journal import browser_of, text_of
from tests.console.views.test_value_decisions import INBOX
from tests.console.views.value_pages import decide, fields_of, preview
from tests.plan.test_extraction_conflicts import DECIDED
from tests.plan.test_extractions import CONFLICTS, HOMES
from tests.schemas import plan_of
from tests.support import rollouts

PLAN = "home-agents"
LIST = f"/rollout/{PLAN}/production/mappings/"
PAGE = f"/rollout/{PLAN}/production/values/home/agent_id/"
ANOTHER = "UPDATE home SET agent_name = 'B <b>&' WHERE id = 1;"
PHONE = "SELECT phone FROM agent WHERE email = 'a0@x.test'"


def gate(rollout: Rollout) -> tuple[str, str]:
    gates.invalidate()
    statuses = gates.check_gates(Evidence(rollout, 3))
    return next((s.status, s.message) for s in statuses if s.name == "values decided")


@pytest.mark.usefixtures("committed_db", "own_plans")
def test_people_choose_which_group_of_values_the_row_of_a_key_holds() -> None:
    r.register(plan_of(DECIDED, name=PLAN))
    rollouts.execute(HOMES + CONFLICTS + ANOTHER)
    rollout = rollouts.the_rollout(PLAN)
    rollouts.carry_out(rollout, 0, 1)
    run = rollouts.start(rollout, 2)
    rollouts.work_off(run, RunState.FAILED)
    engineer, viewer = browser_of("engineer"), browser_of("viewer")
    waits = f'<a href="{PAGE}">Decide about keys in conflict, then retry phase 2</a>'
    assert waits in text_of(engineer, INBOX), "the only column that asks people"
    listed = text_of(viewer, LIST)
    assert ">2 in 3 rows<" in listed
    assert "Decide about 2 keys" in listed
    assert gate(rollout) == (
        "pending",
        "2 keys have several groups of values, in 3 rows. Decide about each.",
    )
    html = engineer.get(PAGE).content.decode()
    assert "<h1>Keys in conflict: <code>" in html
    assert "Agent 0, 00 (6 rows)" in html
    assert "B &lt;b&gt;&amp;, 01 (1 row)" in html
    assert "Take most frequent group" not in viewer.get(PAGE).content.decode()

    # Nonsense for a group chooses none.
    fields = fields_of(engineer, PAGE)
    assert json.loads(fields["source-0"]) == ["a0@x.test"]
    for hostile in ("{", '["a"]', "[1, 2]", "[" * 2000, "null", '["\\ud800", "x"]'):
        answer = engineer.post(f"{PAGE}preview/", {**fields, "group-0": hostile}, follow=True)
        assert "No changes to preview." in answer.content.decode()
    group = {**fields, "group-0": json.dumps(["Agent 0", "099"])}
    shown = preview(engineer, PAGE, group)
    assert "follow at once" in shown
    assert MappingChange.objects.count() == 0
    assert rollouts.ask(PHONE) != "099"
    text = decide(engineer, PAGE, group)
    assert "1 decision saved. Their rows hold them now." in text
    assert rollouts.ask(PHONE) == "099"
    assert "agent_email" in LogEntry.objects.get(event="values decided").message

    # The most frequent group of all that are selected, whatever they had.
    fields = fields_of(engineer, PAGE)
    frequent = {
        f"frequent-{number}": json.dumps(["Agent 0", "00"] if "a0" in source else ["Agent 1", "01"])
        for number in (0, 1)
        for source in (fields[f"source-{number}"],)
    }
    chosen = {**fields, **frequent, "chosen": ["0", "1"], "bulk": "frequent"}
    decide(engineer, PAGE, chosen)
    assert rollouts.ask(PHONE) == "00"
    assert gate(rollout) == ("pass", "No value waits for a decision.")
    assert "Decide about keys" not in text_of(engineer, INBOX)
    assert "Update" not in text_of(engineer, PAGE)

    # The row of a key whose decision is taken back keeps what it holds.
    taken_back = {**fields_of(engineer, PAGE), "chosen": ["0", "1"], "bulk": "leave"}
    shown = preview(engineer, PAGE, taken_back)
    assert shown.count(">unchanged") == 2
    assert "follow at once" not in shown
    text = decide(engineer, PAGE, taken_back)
    assert "2 decisions taken back. Somebody has to decide again." in text
    assert rollouts.ask(PHONE) == "00"
