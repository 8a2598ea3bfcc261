-- Run once by a superuser, in the application's database, before the console's first `migrate`.
-- :app_owner is the role that owns the application's tables, :app the one that it connects as.

-- CREATEDB: a snapshot counts once it was restored into a scratch database, dropped afterwards.
CREATE ROLE :console LOGIN CREATEDB;
GRANT CONNECT, CREATE ON DATABASE :database TO :console;
-- The console's own tables, and the plan's lookup tables.
GRANT USAGE, CREATE ON SCHEMA public TO :console;
-- Only an owner may alter a table; a member of the owner counts as one.
GRANT :app_owner TO :console;
-- To see whose transaction is in the way, and how large replication lags.
GRANT pg_read_all_stats TO :console;

-- Lookup tables, and what else a plan makes, are made by the console and used by the application.
ALTER DEFAULT PRIVILEGES FOR ROLE :console IN SCHEMA public
  GRANT SELECT, INSERT ON TABLES TO :app;
