"""Runs a program on a terminal of its own: terminal.py STEPS PROGRAM ARGUMENTS...

STEPS is JSON, a list of [text to wait for, what to type then]. Each text is searched after the one before; several, with | between
them, have to follow each other. Writes all that the
terminal shows, and ends with the exit status of the program. An empty text to type closes the terminal.
"""

import json
import os
import pty
import select
import sys
import time

LIMIT = 60

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])

shown, at = b"", 0


def read(limit):
    """Whether the program goes on."""
    global shown
    if not select.select([terminal], [], [], limit)[0]:
        return True
    try:
        part = os.read(terminal, 4096)
    except OSError:
        return False
    shown += part
    os.write(1, part)
    return bool(part)


for texts, typed in json.loads(sys.argv[1]):
    for awaited in texts.split("|"):
        end = time.monotonic() + LIMIT
        while shown.find(awaited.encode(), at) < 0:
            if time.monotonic() > end or not read(1):
                sys.exit(f"\nnever seen: {awaited!r}")
        at = shown.find(awaited.encode(), at) + len(awaited)
    if typed:
        os.write(terminal, typed.encode())
    else:
        os.close(terminal)
        break
else:
    while read(LIMIT):
        pass
_, status = os.waitpid(pid, 0)
print(f"\nended {os.waitstatus_to_exitcode(status)}", flush=True)
