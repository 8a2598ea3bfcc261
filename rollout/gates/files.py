"""The gate about steps that are written as files."""

from rollout import editing
from rollout.gates.answering import Answered, answers
from rollout.gates.evidence import Evidence
from rollout.gates.standing import begun
from rollout.plan.gates import FilesUnchanged


@answers(FilesUnchanged)
def files_unchanged(gate: FilesUnchanged, evidence: Evidence) -> Answered:
    problem = editing.said(evidence.rollout, evidence.plan, begun(evidence.runs))
    return ("fail", problem) if problem else ("pass", "No SQL file was edited since.")
