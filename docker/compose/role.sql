\connect postgres
CREATE ROLE pgsvid LOGIN CONNECTION LIMIT 3;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO pgsvid;
CREATE ROLE dbclient LOGIN;
