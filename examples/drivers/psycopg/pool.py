"""psycopg 3: libpq reads the service file for each connection."""

from psycopg_pool import ConnectionPool


def open_pool(lifetime):
    """A pool whose connections live so many seconds."""
    return ConnectionPool("service=products", max_lifetime=lifetime, open=True)
