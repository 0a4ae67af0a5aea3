-- The image executes this once, in the database postgres, after it has created an empty data directory.
ALTER ROLE postgres PASSWORD NULL;

-- What pgsvid needs. The grant only applies in this database.
CREATE ROLE pgsvid LOGIN CONNECTION LIMIT 3;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO pgsvid;

-- One reads, the other also writes. Neither has a password.
CREATE ROLE dbclient LOGIN;
CREATE ROLE demoapi LOGIN;

CREATE DATABASE products;
\connect products
CREATE TABLE products (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);
INSERT INTO products (name) VALUES ('Pencil'), ('Rubber');
GRANT SELECT ON products TO dbclient;
GRANT SELECT, INSERT, UPDATE, DELETE ON products TO demoapi;
