"""Tells people and their tools what stands in the audit log: by webhook and by e-mail.

Whatever is recorded there can be told. The watchdog that leads looks for receivers of new entries,
in a transaction of its own; a worker delivers. What goes wrong with that never touches a rollout.
"""
