"""SQLAlchemy with psycopg 3: libpq reads the service file for each connection."""

from sqlalchemy import create_engine


def open_pool(lifetime):
    """An engine whose connections live so many seconds."""
    return create_engine("postgresql+psycopg://?service=products", pool_recycle=lifetime)
