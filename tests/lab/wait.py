# SPDX-License-Identifier: MIT
"""Waiting for conditions."""
import select
import time

# A bound, not a measure: how long anything that is going to happen may take on a machine that is busy.
LIMIT = 20.0


class Timeout(AssertionError):
    pass


def until(condition, what, limit=LIMIT, every=0.01):
    """Returns the first true result of condition(); fails after limit seconds, naming what was waited for."""
    end = time.monotonic() + limit
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise Timeout(f"not within {limit:.0f} s: {what}")
        time.sleep(every)


def ready(seconds, readers, writers=()):
    """Which of the readers can be read from, and which of the writers written to, as two lists; waits that long for one of them, for ever with None.

    Not by select(), which takes no descriptor from 1024 on: with thousands of connections in other tests there are such.
    """
    def number(f):
        return f if isinstance(f, int) else f.fileno()

    poll, asked = select.poll(), {}
    for files, events in (readers, select.POLLIN), (writers, select.POLLOUT):
        for f in files:
            asked[number(f)] = asked.get(number(f), 0) | events
    for fd, events in asked.items():
        poll.register(fd, events)
    happened = dict(poll.poll(None if seconds is None else seconds * 1000))

    def those(files, events):
        events |= select.POLLHUP | select.POLLERR
        return [f for f in files if happened.get(number(f), 0) & events]

    return those(readers, select.POLLIN), those(writers, select.POLLOUT)


def readable(seconds, *files):
    return ready(seconds, files)[0]
