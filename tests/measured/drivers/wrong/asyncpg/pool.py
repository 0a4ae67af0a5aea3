"""Wrong: an SSLContext reads the files once, so that each later connection shows the first certificate."""

import os
import ssl

import asyncpg


def open_pool(queries):
    files = os.environ["FILES"]
    context = ssl.create_default_context(cafile=f"{files}/svid_bundle.pem")
    context.load_cert_chain(f"{files}/svid.pem", f"{files}/svid_key.pem")
    return asyncpg.create_pool(ssl=context, min_size=1, max_queries=queries)
