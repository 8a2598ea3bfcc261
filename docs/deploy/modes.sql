-- Run after the console's `migrate`, for an application that asks for its mode
-- (rollout.modes.current_modes), or which lookup row a text means (rollout.lookups.lookup_id).
-- Writers that know nothing of the rollout need no right there.
GRANT USAGE ON SCHEMA rollout TO :app;
GRANT SELECT ON rollout.modes TO :app;
