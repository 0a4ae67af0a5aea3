"""Opens connections through the pool until SIGTERM, and prints how many queries succeeded and how many failed."""

import signal
import sys
import threading

from pool import open_pool
from sqlalchemy import text

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
pool = open_pool(0.05)
queries = failed = 0
lock = threading.Lock()


def work():
    global queries, failed
    while not stop.wait(0.01):
        try:
            with pool.connect() as connection:
                connection.execute(text("SELECT 1"))
            with lock:
                queries += 1
        except Exception as error:
            print(f"failed: {error}".replace("\n", " "), file=sys.stderr, flush=True)
            with lock:
                failed += 1


workers = [threading.Thread(target=work) for _ in range(4)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(f"queries={queries} failed={failed}", flush=True)
