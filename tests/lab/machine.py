# SPDX-License-Identifier: MIT
"""A small Linux guest of any kind, with a channel to run commands in it (tests/vm/init)."""
import base64
import os
import shlex
import subprocess
import tempfile
import threading

from .wait import LIMIT, Timeout

# Emulation is slow, and slower when the machine has other things to do.
BOOT_LIMIT = 180.0


class Result:
    """What a command in the guest printed (both streams) and its exit status."""

    def __init__(self, status, out):
        self.status = status
        self.out = out

    def __repr__(self):
        return f"status {self.status}: {self.out}"


class _Job:
    def __init__(self, vm, ident, script):
        self.script = script
        self._vm = vm
        self._ident = ident

    def wait(self, timeout=60.0):
        return self._vm.collect(self._ident, timeout, self.script)


class Machine:
    """A process that is a guest. Who derives from it starts it when constructed: _run(), _listen(), wait_boot(1)."""

    def __init__(self, prefix):
        self._dir = tempfile.TemporaryDirectory(prefix=prefix)
        self.console = os.path.join(self._dir.name, "console")
        self._errors = open(os.path.join(self._dir.name, "errors"), "w+", encoding="utf-8")
        self.process = None
        self._agent = None
        self._lock = threading.Condition()
        self._answers = {}
        self._next = 0
        self.boots = 0

    def _run(self, argv, **kw):
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=self._errors, **kw)

    def _listen(self, agent):
        """agent: a socket that is the guest's second serial port."""
        self._agent = agent
        threading.Thread(target=self._read_agent, daemon=True).start()

    def errors(self):
        self._errors.seek(0)
        return self._errors.read()

    def console_text(self):
        try:
            with open(self.console, encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def _lines(self):
        try:
            yield from self._agent.makefile("rb")
        except OSError:
            pass

    def _read_agent(self):
        for line in self._lines():
            word = line.decode("ascii", "replace").split()
            with self._lock:
                if word[:1] == ["READY"]:
                    self.boots += 1
                elif len(word) >= 2 and word[0].isdigit():
                    out = base64.b64decode(word[2]).decode("utf-8", "replace") if len(word) > 2 else ""
                    self._answers[int(word[0])] = Result(int(word[1]), out)
                self._lock.notify_all()

    def _wait(self, condition, timeout, what):
        with self._lock:
            if not self._lock.wait_for(lambda: condition() or self.process.poll() is not None, timeout) or not condition():
                raise Timeout(f"not within {timeout:.0f} s: {what}\n{self.errors()}{self.console_text()[-2000:]}")

    def wait_boot(self, boots):
        """Waits until the guest has come up for that many times in all."""
        self._wait(lambda: self.boots >= boots, BOOT_LIMIT, "guest has booted")

    def goes_on(self, before):
        """The guest in it is the one that was in another: what that has still running there keeps its number."""
        self.boots, self._next = before.boots, before._next

    def start(self, script):
        """Starts a shell script in the guest; wait() on what is returned gives its Result."""
        self._next += 1
        self._agent.sendall(b"%d %s\n" % (self._next, base64.b64encode(script.encode())))
        return _Job(self, self._next, script)

    def collect(self, ident, timeout, what):
        self._wait(lambda: ident in self._answers, timeout, f"end of '{what}' in the guest")
        return self._answers.pop(ident)

    def sh(self, script, timeout=60.0, check=True):
        """Runs a shell script in the guest and returns its output; fails if its exit status is not 0."""
        result = self.start(script).wait(timeout)
        if check and result.status:
            raise AssertionError(f"in the guest: {script}: status {result.status}\n{result.out}")
        return result.out if check else result

    def until(self, script, what, timeout=LIMIT):
        """Waits in the guest until a shell condition holds."""
        self.sh(f"n={int(timeout * 10)}; until {script}; do n=$((n-1)); [ $n -gt 0 ] || {{ echo {shlex.quote('no ' + what)}; exit 1; }}; sleep 0.1; done", timeout * 3)

    def close(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._errors.close()
        self._dir.cleanup()
