# SPDX-License-Identifier: MIT
"""Commands of netns/spawn on a terminal: who gets Ctrl-C and Ctrl-Z, and who has the terminal afterwards. Usage: test_tty.py PROGRAM (tty_run.c)"""
import os
import pty
import signal
import sys
import time


class Terminal:
    def __init__(self, shell, *argv):
        self.out = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            for sig in signal.SIGINT, signal.SIGQUIT:
                signal.signal(sig, signal.SIG_DFL)
            self.start(shell, argv)

    def start(self, shell, argv):
        os.execve(sys.argv[1], [sys.argv[1], *argv], {"SHELL": shell, "PATH": "/usr/bin:/bin"})

    def until(self, text):
        """Reads until this was written; no time counts, the test's own limit apart."""
        while text not in self.out:
            try:
                data = os.read(self.fd, 4096)
            except OSError:
                data = b""
            if not data:
                sys.exit(f"{text} never came: {self.out}")
            self.out += data
        before, self.out = self.out.split(text, 1)
        return before

    def type(self, data):
        os.write(self.fd, data)

    def end(self, status):
        # The terminal is with whom it was before.
        self.until(b"status %d foreground 1\r\n" % status)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def test_shell(shell):
    t = Terminal(shell)
    t.type(b"PS1='re''ady> '\n")  # what comes back is not what was typed
    t.until(b"ready> ")
    t.type(b"echo o''ne; cat\n")
    t.until(b"one\r\n")
    t.type(b"x\n")
    t.until(b"x\r\nx\r\n")
    t.type(b"\x03")  # ends cat, not the shell
    t.until(b"ready> ")
    t.type(b"exit 5\n")
    t.end(5)


def test_default():
    """Process 1 doesn't get a signal that it doesn't handle; it ends all the same."""
    t = Terminal("", "cat")
    t.type(b"x\n")
    t.until(b"x\r\nx\r\n")
    t.type(b"\x03")
    t.end(128 + signal.SIGINT)


def test_handled():
    """It gets it once: from the terminal, and not from us again."""
    t = Terminal("", "sh", "-c", "trap 'echo got' INT; trap 'exit 7' QUIT; echo go; while :; do sleep 0.01; done")
    t.until(b"go\r\n")
    t.type(b"\x03")
    t.until(b"got\r\n")
    t.type(b"\x1c")
    if b"got" in t.until(b"status 7"):
        sys.exit("got it twice")
    t.until(b" foreground 1")
    os.waitpid(t.pid, 0)


class Job(Terminal):
    """
    As a shell with job control runs it: it says "stopped SIGNAL" when the command has stopped as well, goes on by a line, and says
    "continued", when the next stop is for both again.
    """

    def __init__(self, background, *argv):
        self.background = background
        super().__init__("", *argv)

    def start(self, shell, argv):
        job = os.fork()
        if not job:
            os.setpgid(0, 0)
            if not self.background:
                tty_give(os.getpid())
            super().start(shell, argv)
        while True:
            _, status = os.waitpid(job, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                os._exit(0)
            tty_give(os.getpid())
            sig = os.WSTOPSIG(status)
            for pid in children(job):
                wait_status(pid, lambda s: s["State"].startswith("T"))
            print("stopped", sig, flush=True)
            sys.stdin.readline()
            tty_give(job)
            os.kill(-job, signal.SIGCONT)
            wait_status(job, lambda s: int(s["SigBlk"], 16) & 1 << sig - 1)
            print("continued", flush=True)


def tty_give(group):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
    os.tcsetpgrp(0, group)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTTOU])


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return f.read().split()


def wait_status(pid, good):
    """Until what the kernel says about a process is good."""
    while True:
        with open(f"/proc/{pid}/status", encoding="utf-8") as f:
            if good({key: value.strip() for key, _, value in (line.partition(":") for line in f)}):
                return
        time.sleep(0.01)


def test_stopped():
    """Ctrl-Z stops both, and both go on."""
    t = Job(False, "cat")
    t.type(b"x\n")
    t.until(b"x\r\nx\r\n")
    for _ in range(3):
        t.type(b"\x1a")
        t.until(b"stopped %d\r\n" % signal.SIGTSTP)
        t.type(b"go\n")
        t.until(b"continued\r\n")
        t.type(b"y\n")
        t.until(b"y\r\ny\r\n")
    t.type(b"\x03")
    t.end(128 + signal.SIGINT)


def test_background():
    """Who reads from the terminal without having it is stopped; process 1 would try for ever."""
    t = Job(True, "cat")
    t.until(b"stopped %d\r\n" % signal.SIGTTIN)
    t.type(b"go\n")
    t.until(b"continued\r\n")
    t.type(b"x\n")
    t.until(b"x\r\nx\r\n")
    t.type(b"\x03")
    t.until(b"status 130")
    os.waitpid(t.pid, 0)


def test_nobody_continues():
    """Without a shell there is nobody who would wake us up again: nobody stops."""
    t = Terminal("", "cat")
    t.type(b"x\n")
    t.until(b"x\r\nx\r\n")
    t.type(b"\x1a")
    t.type(b"y\n")
    t.until(b"y\r\ny\r\n")
    t.type(b"\x03")
    t.end(128 + signal.SIGINT)


for name in "/bin/sh", "/bin/bash":
    if os.path.exists(name):
        test_shell(name)
test_default()
test_handled()
test_stopped()
test_background()
test_nobody_continues()
