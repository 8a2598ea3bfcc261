"""A Django project of the peers' own: another Python runs it, without anything of Rollout."""
