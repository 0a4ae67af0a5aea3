"""Opens connections through the pool until SIGTERM, and prints how many queries succeeded and how many failed."""

import logging
import signal
import sys
import threading

from pool import open_pool
from psycopg_pool import PoolTimeout

# The pool opens connections in the background, and logs each that fails.
logging.basicConfig(level=logging.WARNING)
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
pool = open_pool(0.05)
queries = failed = 0
lock = threading.Lock()


def work():
    global queries, failed
    while not stop.wait(0.01):
        try:
            with pool.connection(timeout=5) as connection:
                connection.execute("SELECT 1")
            with lock:
                queries += 1
        except PoolTimeout:
            pass  # the pool has no connection yet; its failures are counted below
        except Exception as error:
            print(f"failed: {error}".replace("\n", " "), file=sys.stderr, flush=True)
            with lock:
                failed += 1


workers = [threading.Thread(target=work) for _ in range(4)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
failed += pool.get_stats().get("connections_errors", 0)
pool.close()
print(f"queries={queries} failed={failed}", flush=True)
