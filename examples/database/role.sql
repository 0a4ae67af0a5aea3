-- For psql as a superuser, in the database that pgsvid connects to (postgres.database, by default "postgres"):
--   psql -U postgres -d postgres -f role.sql

-- What pgsvid needs: to log in, and to ask for a reload. The grant only applies in this database.
CREATE ROLE pgsvid LOGIN CONNECTION LIMIT 3;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO pgsvid;

-- The roles in the examples of pg_hba.conf.
CREATE ROLE dbclient LOGIN;
CREATE ROLE reports LOGIN;
CREATE DATABASE products;
