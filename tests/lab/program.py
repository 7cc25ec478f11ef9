# SPDX-License-Identifier: MIT
"""The program under test as a process in a namespace."""
import contextlib
import glob
import os
import resource
import signal
import subprocess
import time

from .wait import LIMIT, until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def binary():
    """The program: $PASST, or the newest that was built in this tree."""
    given = os.environ.get("PASST")
    if given:
        return os.path.abspath(given)
    built = glob.glob(os.path.join(ROOT, "build*", "src", "bin", "passt"))
    if not built:
        raise RuntimeError("no program: build it (meson setup build && ninja -C build), or set PASST")
    return max(built, key=os.path.getmtime)


def plain():
    """The same without sanitizers: $PASST_PLAIN, where the program has some."""
    return os.path.abspath(os.environ["PASST_PLAIN"]) if sanitized() and "PASST_PLAIN" in os.environ else binary()


def sanitized():
    with open(binary(), "rb") as f:
        return b"__asan_init" in f.read()


class Passt:
    """passt in the foreground, listening on a socket in workdir; ready when constructed."""

    def __init__(self, ns, workdir, *args, wait=True, prefix=(), exe=None, **kw):
        self.ended = False
        self.socket_path = os.path.join(workdir, "passt.socket")
        self._output = os.path.join(workdir, "passt.output")
        argv = [*prefix, exe or binary(), "--foreground", "--socket", self.socket_path] + [str(a) for a in args]
        with open(self._output, "w", encoding="utf-8") as out:
            self.process = ns.popen(*argv, stdout=out, stderr=subprocess.STDOUT, **kw)
        if wait:
            until(self._ready, "passt listens on its socket")

    def _ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"passt ended with status {self.process.returncode}:\n{self.output()}")
        return "You can now start" in self.output() or ("-q" in self.process.args and os.path.exists(self.socket_path))

    def output(self):
        with open(self._output, encoding="utf-8", errors="replace") as f:
            return f.read()

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def status(self, field):
        """A field of /proc/PID/status."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            for line in f:
                name, _, value = line.partition(":")
                if name == field:
                    return value.strip()
        raise KeyError(field)

    def memory_kb(self):
        """Resident memory of the process itself."""
        return int(self.status("VmRSS").split()[0])

    def cpu_ticks(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def wakeups(self):
        return int(self.status("voluntary_ctxt_switches"))

    def family(self):
        """It and all processes that belong to it, {PID: (times that it was woken up, nanoseconds of processor time)}."""
        found, left = {}, [self.pid]
        while left:
            pid = left.pop()
            with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                if not f.read().startswith("pas"):
                    continue
            with open(f"/proc/{pid}/status", encoding="ascii") as f:
                woken = int(f.read().partition("\nvoluntary_ctxt_switches:")[2].split()[0])
            with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
                found[pid] = woken, int(f.read().split()[0])
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
                left += [int(word) for word in f.read().split()]
        return found

    def wait(self, limit=LIMIT):
        """Waits for its end, which is to come by itself; the exit status."""
        self.ended = True
        status = self.process.wait(limit)
        assert_clean(self.output())
        return status

    def stop(self):
        """Ends it as a manager would; the exit status."""
        self.ended = True
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        assert_clean(self.output())
        return status

    def close(self):
        """End of a test that hasn't ended it: it must be alive, end in an orderly way, and have reported nothing of a sanitizer."""
        if self.ended:
            return
        alive = self.alive()
        status = self.stop()
        assert alive, f"passt ended by itself with status {status}:\n{self.output()}"
        assert status == 0, f"passt ended with status {status} on SIGTERM:\n{self.output()}"


@contextlib.contextmanager
def descriptors_left(passt, n):
    """A limit with which it may open n more."""
    before = resource.prlimit(passt.pid, resource.RLIMIT_NOFILE)
    used = {int(fd) for fd in os.listdir(f"/proc/{passt.pid}/fd")}
    limit, free = 0, n
    while free or limit in used:
        free -= limit not in used
        limit += 1
    resource.prlimit(passt.pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    yield
    resource.prlimit(passt.pid, resource.RLIMIT_NOFILE, before)


def assert_clean(output):
    for mark in "AddressSanitizer", "runtime error:", "Assertion", "stack smashing", "no way from":
        assert mark not in output, output


def gone(pid):
    """Whether a process has ended; nobody need have waited for it."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def busy(passt, seconds=1.0):
    """What the process used during an interval: (share of a CPU, wake-ups a second)."""
    ticks, wakeups, start = passt.cpu_ticks(), passt.wakeups(), time.monotonic()
    time.sleep(seconds)
    spent = time.monotonic() - start
    return (passt.cpu_ticks() - ticks) / os.sysconf("SC_CLK_TCK") / spent, (passt.wakeups() - wakeups) / spent


def assert_idle(passt, share=0.2, wakeups=200.0, seconds=1.0):
    """
    It does not use more than that, once it has done what is still to be done. By default, what no program exceeds that doesn't spin: that
    takes a whole CPU, or thousands of wake-ups a second, and has no end.
    """
    end = time.monotonic() + LIMIT
    while True:
        used = busy(passt, seconds)
        if used[0] <= share and used[1] <= wakeups:
            return
        assert time.monotonic() < end, f"{used[0]:.1%} of a CPU and {used[1]:.1f} wake-ups a second doing nothing"


def assert_asleep(passt, wakeups=0, seconds=5.0):
    """
    Nobody of its family is woken up more often than that during an interval, all of them together; and without it, they use no processor
    time at all. Once it has done what is still to be done.
    """
    end = time.monotonic() + LIMIT
    while True:
        before, start = passt.family(), time.monotonic()
        time.sleep(seconds)
        after, spent = passt.family(), time.monotonic() - start
        assert before.keys() == after.keys()
        woken, used = (sum(after[pid][i] - before[pid][i] for pid in before) for i in range(2))
        if woken <= wakeups * spent / seconds and (wakeups or not used):
            return
        assert time.monotonic() < end, f"woken up {woken} times in {spent:.1f} s, {used / 1e6:.1f} ms used, doing nothing"
