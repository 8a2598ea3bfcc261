"""What tables need besides themselves, of which a snapshot takes some along."""

NEEDS = {
    "a domain": (
        "CREATE DOMAIN weight AS numeric CHECK (VALUE > 0);"
        " ALTER TABLE parcel ADD weight weight DEFAULT 1;"
    ),
    "a sequence that no column owns": (
        "CREATE SEQUENCE parcel_no; ALTER TABLE parcel ADD n bigint DEFAULT nextval('parcel_no');"
    ),
    "composite and range types": (
        "CREATE TYPE money_of AS (amount numeric, currency char(3));"
        " CREATE TYPE span AS RANGE (subtype = timestamptz);"
        " ALTER TABLE parcel ADD price money_of, ADD open_at span;"
    ),
    "an array of a domain over an enum": (
        "CREATE TYPE mood AS ENUM ('good'); CREATE DOMAIN moods AS mood[];"
        " ALTER TABLE parcel ADD moods moods DEFAULT '{good}';"
    ),
    "a policy that reads another table": (
        "CREATE TABLE staff (name text PRIMARY KEY); ALTER TABLE parcel ENABLE ROW LEVEL SECURITY;"
        " CREATE POLICY p ON parcel USING (EXISTS (SELECT FROM staff s WHERE s.name = 'a'));"
    ),
    "a rule that writes another table": (
        "CREATE TABLE gone (id bigint);"
        " CREATE RULE kept AS ON DELETE TO parcel DO ALSO INSERT INTO gone VALUES (OLD.id);"
    ),
    "a function that calls a function": (
        "CREATE FUNCTION inner_(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)';"
        " CREATE FUNCTION outer_(text) RETURNS text IMMUTABLE LANGUAGE sql"
        " AS 'SELECT public.inner_($1)';"
        " ALTER TABLE parcel ADD low text GENERATED ALWAYS AS (outer_(remark)) STORED;"
        " CREATE INDEX ON parcel (outer_(status));"
    ),
    "a trigger whose condition takes the row": (
        "CREATE FUNCTION big(parcel) RETURNS boolean LANGUAGE sql AS 'SELECT ($1).id > 5';"
        " CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        " CREATE TRIGGER t AFTER INSERT ON parcel FOR EACH ROW WHEN (big(NEW.*))"
        " EXECUTE FUNCTION noop();"
    ),
    "a serial column": "ALTER TABLE parcel ADD counted serial;",
    "a foreign key to another table": (
        "CREATE TABLE depot (id bigint PRIMARY KEY);"
        " ALTER TABLE parcel ADD depot_id bigint REFERENCES depot;"
    ),
}

UNRESTORABLE = """
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touch BEFORE UPDATE ON parcel FOR EACH ROW
  WHEN (OLD IS DISTINCT FROM NEW) EXECUTE FUNCTION touch();
ALTER TABLE parcel ADD loud text GENERATED ALWAYS AS (upper(remark)) STORED;
"""
