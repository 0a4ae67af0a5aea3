"""asyncpg: reads the service file for each connection if the address has `service`."""

import asyncpg


def open_pool(queries):
    """A pool whose connections are replaced after so many queries; asyncpg has no limit by time."""
    return asyncpg.create_pool("postgresql://?service=products", min_size=1, max_queries=queries)
