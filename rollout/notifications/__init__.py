"""Sends entries of the activity log to people and their tools, by webhook and by e-mail.

The watchdog that leads creates deliveries for new entries in a transaction of its own; a worker
delivers them. A failure of either never touches a rollout.
"""
