"""What the models do not say: the audit log takes rows and gives none back, not by UPDATE, DELETE or
TRUNCATE, and notifications are sent of what comes after the log as it is."""

from django.db import migrations

_INSTALL = """
CREATE FUNCTION rollout_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'The audit log is append-only: % is refused.', TG_OP
    USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER rollout_log_rows BEFORE UPDATE OR DELETE ON rollout_logentry
  FOR EACH ROW EXECUTE FUNCTION rollout_log_is_append_only();
CREATE TRIGGER rollout_log_truncate BEFORE TRUNCATE ON rollout_logentry
  FOR EACH STATEMENT EXECUTE FUNCTION rollout_log_is_append_only();
"""
_REMOVE = """
DROP TRIGGER rollout_log_truncate ON rollout_logentry;
DROP TRIGGER rollout_log_rows ON rollout_logentry;
DROP FUNCTION rollout_log_is_append_only();
"""


def make_the_outbox(apps, schema_editor):
    apps.get_model("rollout", "Outbox").objects.using(schema_editor.connection.alias).create()


class Migration(migrations.Migration):
    dependencies = [("rollout", "0001_initial")]
    operations = [
        migrations.RunSQL(_INSTALL, _REMOVE),
        migrations.RunPython(make_the_outbox, migrations.RunPython.noop),
    ]
