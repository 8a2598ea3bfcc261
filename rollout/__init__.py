"""Rollout carries a live PostgreSQL database from an old data model to a new one, in five phases.

Public to other apps: ``rollout.plan``, the language of plans; ``rollout.modes``, which schema to
read and write; ``rollout.lookups``, which lookup row a text means; ``rollout.fields``, a model
field that stays a text; ``rollout.operations``, a phase among Django's migrations;
``rollout.testing``, modes in an application's tests.
"""
