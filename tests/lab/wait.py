# SPDX-License-Identifier: MIT
"""Waiting for conditions."""
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
