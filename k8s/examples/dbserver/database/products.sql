-- The image executes this once, in the database postgres, when it has made an empty data directory.
ALTER ROLE postgres PASSWORD NULL;

-- What pgsvid needs. The grant counts in this database only.
CREATE ROLE pgsvid LOGIN CONNECTION LIMIT 3;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO pgsvid;

-- One reads, the other writes, too. Neither has a password.
CREATE ROLE dbclient LOGIN;
CREATE ROLE demoapi LOGIN;

CREATE DATABASE products;
\connect products
CREATE TABLE products (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);
INSERT INTO products (name) VALUES ('Pencil'), ('Rubber');
GRANT SELECT ON products TO dbclient;
GRANT SELECT, INSERT, UPDATE, DELETE ON products TO demoapi;
