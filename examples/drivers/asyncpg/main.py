"""Opens connections through the pool until SIGTERM, and prints how many queries succeeded and how many failed."""

import asyncio
import signal
import sys

from pool import open_pool

queries = failed = 0


async def work(pool, stop):
    global queries, failed
    while not stop.is_set():
        try:
            async with pool.acquire() as connection:
                await connection.execute("SELECT 1")
            queries += 1
        except Exception as error:
            print(f"failed: {error}".replace("\n", " "), file=sys.stderr, flush=True)
            failed += 1
        await asyncio.sleep(0.01)


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with open_pool(5) as pool:
        await asyncio.gather(*(work(pool, stop) for _ in range(4)))


asyncio.run(main())
print(f"queries={queries} failed={failed}", flush=True)
