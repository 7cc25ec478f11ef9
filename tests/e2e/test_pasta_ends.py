# SPDX-License-Identifier: MIT
"""
Commands that end in odd ways, or don't: what is left of them, and which status pasta passes on. As root of the host namespace and as
somebody without privileges there.
"""
import contextlib
import glob
import os
import signal
import time

import pytest
from lab import netns
from lab.pasta import Process, listening, namespace_agent, program, wait_closed, wait_listening
from lab.program import assert_clean, gone
from lab.topology import REMOTE4
from lab.wait import until

WHO = {"root": [], "user": ["unshare", "-U", "--map-user=1000", "--map-group=1000", "--"]}
FAULT = f"exec {netns.PYTHON} -c 'import ctypes; ctypes.string_at(0)'"
# Children and grandchildren that nobody waits for, in sessions of their own, that hold nothing and care for no signal.
LEAVES = """
trap '' HUP TERM INT
for i in 1 2 3; do (setsid sh -c 'exec <&- >&- 2>&-; cd /; MARK & sh -c "MARK & MARK" & MARK' & ) ; done
"""


@pytest.fixture(params=WHO)
def who(request, tun):
    return WHO[request.param]


@pytest.fixture
def mark():
    """A command line that nobody else has, and whether somebody runs it."""
    seconds = str(10**6 + time.monotonic_ns() % 10**8)

    def running():
        found = []
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(path, "rb") as f:
                    if f.read().split(b"\0")[:2] == [b"sleep", seconds.encode()]:
                        found.append(path)
            except (FileNotFoundError, ProcessLookupError):
                pass
        return found

    running.command = f"sleep {seconds}"
    yield running
    assert not running(), "left behind"


def status(net, tmp_path, who, *command, **kw):
    done = net.host.run(*who, program(tmp_path), "--config-net", "--", *command, check=False, **kw)
    assert_clean(done.stderr)
    return done.returncode


def test_ends_at_once(net, tmp_path, who):
    """Again and again: it may be gone before we know that it was there."""
    for i in range(10):
        assert status(net, tmp_path, who, "sh", "-c", f"exit {i}") == i
        assert status(net, tmp_path, who, "/bin/true") == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closes_its_standard_descriptors(net, tmp_path, who, closed):
    """Itself, or what it becomes."""
    assert status(net, tmp_path, who, "sh", "-c", f"exec {closed}; ip link show eth0 >/dev/null; exit 5") == 5
    assert status(net, tmp_path, who, "sh", "-c", f"exec sh -c 'exit 6' {closed}") == 6


def test_dies_of_a_fault(net, tmp_path, who):
    assert status(net, tmp_path, who, "sh", "-c", f"ulimit -c 0; {FAULT}") == 128 + signal.SIGSEGV


def test_child_of_it_dies(net, tmp_path, who):
    """It waits for it, and has its status: all the signals there are within its PID namespace."""
    assert status(net, tmp_path, who, "sh", "-c", "sh -c 'kill -9 $$'; [ $? = 137 ] && exit 8") == 8


def test_leaves_children(net, tmp_path, who, mark):
    """They are gone when pasta is. Whatever they had open is not waited for."""
    script = LEAVES.replace("MARK", mark.command) + f"until [ $(cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o '{mark.command}' | wc -l) -ge 9 ]; do :; done; exit 3"
    assert status(net, tmp_path, who, "sh", "-c", script) == 3
    assert not mark(), "alive after the end of pasta"


def test_leaves_a_server(net, tmp_path, who):
    """It holds no port after the end, neither inside nor outside."""
    go = tmp_path / "go"
    script = f"setsid socat TCP-LISTEN:7800,fork,reuseaddr PIPE & until [ -e {go} ]; do sleep 0.05; done; exit 4"
    p = Process(net.host, str(tmp_path), "--config-net", "--", "sh", "-c", script, prefix=who)
    wait_listening(net.host, 7800)
    go.touch()
    assert p.wait() == 4
    with net.host.listen("0.0.0.0", 7800):
        pass


def test_killed_by_others(net, tmp_path, who):
    p = Process(net.host, str(tmp_path), "--config-net", "--", "sleep", "1000", prefix=who)
    os.kill(command(p, "sleep"), signal.SIGKILL)
    assert p.wait() == 128 + signal.SIGKILL


def command(p, name):
    """The process ID of the command, once it has become that."""
    def found():
        assert p.alive(), p.output()
        for pid in p.children():
            with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                if f.read().strip() == name:
                    return pid
        return None

    return until(found, "command")


def state(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return f.read().rpartition(")")[2].split()[0]


def test_stopped(net, pasta):
    """It goes on later, and so does what it was doing; meanwhile its namespace is served, and stays."""
    p = pasta("--config-net")
    os.kill(p.ns.pid, signal.SIGSTOP)
    until(lambda: state(p.ns.pid) == "T", "stopped")
    assert "0% packet loss" in p.ns.run("ping", "-n", "-c", "1", "-W", "10", REMOTE4).stdout
    assert p.alive()
    os.kill(p.ns.pid, signal.SIGCONT)
    with net.remote.listen(REMOTE4) as server, p.ns.connect(REMOTE4, server.getsockname()[1]):
        server.accept()[0].close()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_stopped_and_ended(net, tmp_path, who, sig):
    p = Process(net.host, str(tmp_path), "--config-net", "--", "sleep", "1000", prefix=who)
    pid = command(p, "sleep")
    os.kill(pid, signal.SIGSTOP)
    until(lambda: state(pid) == "T", "stopped")
    p.process.send_signal(sig)
    assert p.wait() == 128 + sig
    assert gone(pid)


def test_pasta_itself_is_stopped(net, pasta):
    """Nothing is lost by that, and nothing ends."""
    p = pasta("--config-net")
    with net.remote.listen(REMOTE4) as server, p.ns.connect(REMOTE4, server.getsockname()[1]) as s:
        conn, _ = server.accept()
        os.kill(p.pid, signal.SIGSTOP)
        until(lambda: state(p.pid) == "T", "stopped")
        s.sendall(b"question")
        conn.sendall(b"answer")
        os.kill(p.pid, signal.SIGCONT)
        conn.settimeout(20)
        assert conn.recv(100) == b"question" and s.recv(100) == b"answer"
        conn.close()


def test_ignores_signals_and_ends_by_itself(net, tmp_path, who):
    """Its network is there to the last, and its status counts."""
    go = tmp_path / "go"
    script = f"trap '' TERM INT HUP QUIT; echo on; until [ -e {go} ]; do sleep 0.05; done; ping -n -c 1 -W 10 {REMOTE4} >/dev/null && exit 6"
    p = Process(net.host, str(tmp_path), "--config-net", "--", "sh", "-c", script, prefix=who)
    p.says("on")
    for sig in signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT:
        p.process.send_signal(sig)
    go.touch()
    assert p.wait() == 6


# The agent in the namespace, which nobody but a debugger or an administrator touches.


def test_agent_is_stopped(net, pasta):
    """Only new sockets of the namespace have to wait for it; packets and all that is open go on at once."""
    p = pasta("--config-net", "-t", "none", "-u", "none", "-T", "auto", "-U", "none")
    pid = namespace_agent(p.pid)
    with net.remote.listen(REMOTE4) as server, p.ns.connect(REMOTE4, server.getsockname()[1]) as s, contextlib.ExitStack() as stack:
        there = stack.enter_context(server.accept()[0])
        os.kill(pid, signal.SIGSTOP)
        until(lambda: state(pid) == "T", "stopped")
        for i in range(20):
            stack.enter_context(net.host.listen("127.0.0.1", 7900 + i))
        slowest, end = 0, time.monotonic() + 2
        while time.monotonic() < end:
            start = time.monotonic()
            s.sendall(b"question")
            assert there.recv(8) == b"question"
            slowest = max(slowest, time.monotonic() - start)
        assert slowest < 5, f"a packet waited for {slowest:.1f} s"
        assert not listening(p.ns, 7900)
        os.kill(pid, signal.SIGCONT)
        for i in range(20):
            wait_listening(p.ns, 7900 + i)
    wait_closed(p.ns, 7919)


def test_agent_is_stopped_and_the_port_goes(net, pasta):
    """What nobody wants any more when it comes is closed."""
    p = pasta("--config-net", "-t", "none", "-u", "none", "-T", "auto", "-U", "none", "-d")
    pid = namespace_agent(p.pid)
    os.kill(pid, signal.SIGSTOP)
    with net.host.listen("127.0.0.1", 7930):
        p.says("TCP port 7930: open")
    p.says("TCP port 7930: closed")
    with net.host.listen("127.0.0.1", 7931):
        p.says("TCP port 7931: open")
        os.kill(pid, signal.SIGCONT)
        wait_listening(p.ns, 7931)
        wait_closed(p.ns, 7930)


def test_agent_is_killed(net, tmp_path, who):
    """Nothing can be opened in the namespace any more: the end, with a word of why, and the command's as well."""
    p = Process(net.host, str(tmp_path), "--config-net", "--", "sleep", "1000", prefix=who)
    pid = command(p, "sleep")
    os.kill(namespace_agent(p.pid), signal.SIGKILL)
    assert p.wait() == 1
    assert "The namespace agent is gone" in p.output()
    assert gone(pid)
