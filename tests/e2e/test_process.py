# SPDX-License-Identifier: MIT
"""
The program as a process: start, daemon, pid file, log, capture, signals, privileges.
"""
import os
import re
import signal
import socket
import stat
import subprocess

import pytest
from lab.guest import Guest
from lab.program import Passt, assert_clean, binary, gone
from lab.wait import LIMIT, until
from scapy.layers.inet import UDP
from scapy.packet import Raw


def run(*args, **kw):
    kw.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([binary(), *map(str, args)], capture_output=True, text=True, timeout=30, check=False, **kw)


# Words that clients look for.


def test_version():
    done = run("--version")
    assert done.returncode == 0 and done.stderr == ""
    assert re.fullmatch(r"passt \S+", done.stdout.split("\n")[0])


def test_help():
    done = run("--help")
    assert done.returncode == 0 and done.stderr == ""
    for name in "foreground socket fd one-off log-file tcp-ports udp-ports map-host-loopback map-guest-addr dns-forward".split():
        assert f"--{name}" in done.stdout, name
    assert run("-h").stdout == done.stdout


def test_options_are_looked_at_in_order():
    """A client probes for an option by putting it in front of --version."""
    assert run("--map-guest-addr", "192.0.2.9", "--version").returncode == 0
    assert run("--no-such-option", "--version").returncode == 1


def test_unknown_option_wording():
    done = run("--no-such-option")
    assert done.returncode == 1 and done.stdout == ""
    assert "unrecognized option '--no-such-option'" in done.stderr
    assert "--foreground" in done.stderr, "no usage"


# Daemon


class Daemon:
    def __init__(self, ns, work, *args):
        self.pid_file = work / "passt.pid"
        self.socket_path = str(work / "passt.socket")
        argv = [binary(), "--socket", self.socket_path, "--pid", self.pid_file, *args]
        # Through a pipe until end of file, as managers do: it ends only when nobody holds the other end any more.
        self.done = ns.run(*argv, check=False, timeout=30)

    @property
    def pid(self):
        return int(self.pid_file.read_text().strip())

    def gone(self):
        return gone(self.pid)

    def stop(self):
        os.kill(self.pid, signal.SIGTERM)
        until(self.gone, "daemon is gone")


@pytest.fixture
def daemon(net, tmp_path):
    running = []

    def start(*args):
        running.append(Daemon(net.host, tmp_path, *args))
        return running[-1]

    yield start
    for d in running:
        if d.done.returncode == 0 and not d.gone():
            d.stop()


def test_daemon_is_ready_when_its_parent_ends(daemon):
    d = daemon()
    assert d.done.returncode == 0, d.done.stderr
    assert d.pid_file.read_text() == f"{d.pid}\n"
    assert stat.S_IMODE(d.pid_file.stat().st_mode) == 0o600
    g = Guest(d.socket_path)
    g.announce()
    g.close()
    d.stop()
    assert d.pid_file.exists() and os.path.exists(d.socket_path)


def test_quiet_daemon_prints_nothing(daemon):
    d = daemon("-q", "-D", "192.0.2.53", "-D", "2001:db8::53")
    assert d.done.returncode == 0
    assert d.done.stdout == ""
    lines = [line for line in d.done.stderr.splitlines() if "nobody" not in line]
    assert not lines


def test_stale_files_are_replaced(daemon, tmp_path):
    """A crashed instance leaves both behind; the manager starts the next one over the same paths."""
    (tmp_path / "passt.pid").write_text("4194303 and some more text\n")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "passt.socket"))
    d = daemon()
    assert d.done.returncode == 0, d.done.stderr
    assert d.pid_file.read_text() == f"{d.pid}\n"


def test_pid_file_is_written_in_place(daemon, tmp_path):
    """It may be a file that the manager holds open."""
    path = tmp_path / "passt.pid"
    path.touch(0o600)
    before = path.stat().st_ino
    d = daemon()
    assert path.stat().st_ino == before and d.pid > 0


def test_daemon_with_one_off_ends_with_its_guest(daemon):
    d = daemon("--one-off")
    g = Guest(d.socket_path)
    g.announce()
    g.close()
    until(d.gone, "daemon is gone")


def test_log_of_a_daemon_names_its_guest(daemon, tmp_path):
    """By a number, which is 0 for who is out of sight."""
    d = daemon("--log-file", str(tmp_path / "log"))
    g = Guest(d.socket_path)
    g.announce()
    g.close()
    assert re.search(r"accepted connection from PID (\d+)\n", (tmp_path / "log").read_text()).group(1) in ("0", str(os.getpid()))


def test_failed_start_of_a_daemon(daemon, net, tmp_path):
    """A port that is taken is told by the parent: status 1, and nothing stays behind."""
    with net.host.listen("0.0.0.0", 4714):
        d = daemon("-t", "4714")
    assert d.done.returncode == 1
    assert "Listen failed for HOST TCP port" in d.done.stderr and "Address already in use" in d.done.stderr


@pytest.fixture
def full(tmp_path):
    """A directory on a file system without room, in a mount namespace of its own: full(argv) runs a program that sees it."""
    path = tmp_path / "full"
    path.mkdir()

    def start(*argv):
        fill = 'mount -t tmpfs -o size=4k none "$0" && head -c 4096 /dev/zero > "$0/zero" && "$@"; s=$?; ls "$0"; exit $s'
        return subprocess.run(["unshare", "-rm", "sh", "-c", fill, str(path), *map(str, argv)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=30, check=False)

    return path, start


MODES = pytest.mark.parametrize("mode", [["-f"], []], ids=["foreground", "daemon"])
FAILURES = [
    (["-t", "192.0.2.200/80"], "Listen failed for HOST TCP port 192.0.2.200/80"),
    (["--runas", "12345"], "privileges"),
    (["-p", "/no/such/file"], "/no/such/file"),
]


@MODES
@pytest.mark.parametrize("options,word", FAILURES, ids=[f[0][0] for f in FAILURES])
def test_failed_start_leaves_nothing(net, tmp_path, mode, options, word):
    s, pid = tmp_path / "s", tmp_path / "pid"
    done = net.host.run(binary(), "-s", s, "-P", pid, *mode, *options, check=False, timeout=30)
    assert done.returncode == 1 and word in done.stderr
    assert not s.exists() and not pid.exists()
    pid.write_text("of another\n")
    assert net.host.run(binary(), "-s", s, "-P", pid, *mode, *options, check=False, timeout=30).returncode == 1
    assert not s.exists() and pid.read_text() == "of another\n"


@MODES
def test_start_without_descriptors(net, tmp_path, mode):
    """Whichever is the first that it doesn't get."""
    s, pid = tmp_path / "s", tmp_path / "pid"
    failed = 0
    for limit in range(4, 12):
        argv = ["prlimit", f"--nofile={limit}", binary(), "-s", s, "-P", pid, *mode]
        err = tmp_path / "errors"
        with open(err, "w", encoding="ascii") as f:
            proc = net.host.popen(*argv, stdout=subprocess.DEVNULL, stderr=f)
        until(lambda: proc.poll() is not None or pid.exists() and pid.read_text(), "its end, or a pid file")
        if proc.poll() is None or proc.returncode == 0:
            os.kill(int(pid.read_text()), signal.SIGTERM)
            assert proc.wait(LIMIT) == 0
            break
        failed += 1
        assert proc.returncode == 1 and err.read_text() and not s.exists() and not pid.exists(), (limit, err.read_text())
    assert failed > 2


@MODES
def test_pid_file_without_room(net, tmp_path, full, mode):
    s = tmp_path / "s"
    done = net.host.run(binary(), "-s", s, "-P", "/dev/full", *mode, check=False, timeout=30)
    assert done.returncode == 1 and "PID file /dev/full: No space left on device" in done.stderr
    assert not s.exists() and stat.S_ISCHR(os.stat("/dev/full").st_mode)
    path, start = full
    done = start(binary(), "-s", s, "-P", path / "pid", *mode)
    assert done.returncode == 1 and f"PID file {path}/pid: No space left on device" in done.stderr, done.stderr
    assert done.stdout.split() == ["zero"] and not s.exists()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_fd_is_no_socket(number):
    done = subprocess.run([binary(), "-f", "--fd", str(number)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
                          check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == f"Descriptor {number} is not a socket of the right type (--fd)\n"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_fd_is_a_standard_stream(net, number):
    """Everything that is said in any other way than by frames would be taken for a frame."""
    ours, theirs = socket.socketpair()
    streams = [subprocess.DEVNULL] * 3
    streams[number] = theirs
    proc = net.host.popen(binary(), "-f", "--trace", "--fd", number, stdin=streams[0], stdout=streams[1], stderr=streams[2])
    theirs.close()
    g = Guest(ours)
    g.announce()
    g.barrier()
    g.close()
    assert proc.wait(LIMIT) == 0


@pytest.mark.parametrize("what", ["directory", "file", "link"])
def test_socket_path_is_something_else(net, tmp_path, what):
    path = tmp_path / "x"
    if what == "directory":
        path.mkdir()
    elif what == "file":
        path.write_text("text")
    else:
        path.symlink_to("nowhere")
    done = net.host.run(binary(), "-f", "-s", path, check=False, timeout=30)
    assert done.returncode == 1 and "in use" not in done.stderr
    assert ("Is a directory" if what == "directory" else f"{path} is that of something else than a socket") in done.stderr
    assert os.path.lexists(path)


def test_foreground_pid_file(net, tmp_path):
    pid = tmp_path / "pid"
    p = Passt(net.host, str(tmp_path), "--pid", pid)
    assert pid.read_text() == f"{p.pid}\n"
    p.close()


# Signals


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGQUIT])
def test_signal_ends_it_in_order(net, tmp_path, sig):
    p = Passt(net.host, str(tmp_path))
    g = Guest(p.socket_path)
    g.announce()
    p.process.send_signal(sig)
    assert p.wait() == 0
    g.wait_closed()


def test_closed_standard_streams(net, tmp_path):
    """A manager may close them, or stop reading."""
    path = tmp_path / "s"
    proc = net.host.popen("sh", "-c", 'exec "$0" -f -s "$1" <&- >&- 2>&-', binary(), path)
    until(path.exists, "socket")
    g = Guest(str(path))
    g.announce()
    g.close()
    proc.terminate()
    assert proc.wait(LIMIT) == 0


@pytest.mark.parametrize("before", [False, True])
def test_reader_of_messages_that_goes_away(net, tmp_path, before):
    """Before the first message, or when it is at work."""
    path = tmp_path / "s"
    read_end, write_end = os.pipe()
    if before:
        os.close(read_end)
    proc = net.host.popen(binary(), "-f", "-d", "-s", path, stderr=write_end)
    os.close(write_end)
    until(lambda: path.exists() or proc.poll() is not None, "socket")
    if not before:
        os.close(read_end)
    for _ in range(3):
        g = Guest(str(path))
        g.announce()
        g.close()
    assert proc.poll() is None
    proc.terminate()
    assert proc.wait(LIMIT) == 0


# Messages


def test_start_up_messages(passt):
    """One program reads the addresses from this block."""
    lines = [line.strip() for line in passt.output().splitlines()]
    at = lines.index("DHCP:")
    assert lines[at + 1 : at + 4] == ["assign: 192.0.2.2", "mask: 255.255.255.0", "router: 192.0.2.1"]
    assert any(line.startswith("UNIX domain socket bound at") for line in lines)


def test_no_name_server_is_a_warning(net, tmp_path):
    net.host.run("sh", "-c", ": > /etc/resolv.conf")
    try:
        p = Passt(net.host, str(tmp_path))
        assert "Couldn't get any nameserver address" in p.output()
        p.close()
    finally:
        net.host.write("/etc/resolv.conf", "nameserver 198.51.100.53\nsearch example.org example.net\n")


def test_nothing_to_forward_is_a_warning(start):
    p = start("-t", "~1-65535")
    assert "Everything is excluded, no port is forwarded: -t ~1-65535" in p.output()


def test_log_file_without_room(net, tmp_path):
    p = Passt(net.host, str(tmp_path), "-l", "/dev/full", wait=False)
    until(lambda: os.path.exists(p.socket_path), "socket")
    g = Guest(p.socket_path)
    g.announce()
    g.close()
    assert p.stop() == 0
    assert p.output().count("Messages may be missing in the log file /dev/full: No space left on device") == 1


def test_limit_of_open_files_is_shared(net, tmp_path):
    pid = tmp_path / "pid"
    done = net.host.run("prlimit", "--nofile=3000", binary(), "-s", tmp_path / "s", "-P", pid, "-t", "all", "-u", "all", check=False)
    assert done.returncode == 0, done.stderr
    assert "The limit of open files leaves 1244 ports to each specifier" in done.stderr
    try:
        for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
            with net.host.socket(socket.AF_INET, kind) as s, pytest.raises(OSError, match="in use"):
                s.bind(("0.0.0.0", 1100))
    finally:
        net.host.run("kill", pid.read_text().strip())


def test_log_file(net, tmp_path):
    log = tmp_path / "log"
    log.write_text("what an earlier one wrote\n")
    p = Passt(net.host, str(tmp_path), "--log-file", log, wait=False)
    until(lambda: os.path.exists(p.socket_path), "socket")
    g = Guest(p.socket_path)
    g.announce()
    g.close()
    until(lambda: "Client connection closed" in log.read_text(), "message in the log file")
    assert p.stop() == 0
    text = log.read_text()
    assert re.match(r"passt \S+: \S+ \(\d+\) *\n", text), text
    assert "earlier" not in text
    assert re.search(r"^\d+\.\d{4}: \S.*$", text, re.M), text


def test_trace_has_a_line_for_every_frame(net, tmp_path):
    p = Passt(net.host, str(tmp_path), "--trace", wait=False)
    until(lambda: os.path.exists(p.socket_path), "socket")
    g = Guest(p.socket_path)
    g.announce()
    for port in range(3):
        g.udp("192.0.2.77", 7, b"x", sport=4000 + port)
    g.barrier()
    g.close()
    assert p.stop() == 0
    lines = re.findall(r"From guest: IPv4 protocol 17, 192.0.2.2:(400\d) to 192.0.2.77:7, \d+ bytes", p.output())
    assert lines == ["4000", "4001", "4002"]
    assert "From guest: ethertype 0x0806 of 52:54:00:00:00:02, " in p.output()


def test_log_file_is_bounded(net, tmp_path):
    log = tmp_path / "log"
    p = Passt(net.host, str(tmp_path), "--log-file", log, "--log-size", "40960", "--trace", wait=False)
    until(lambda: os.path.exists(p.socket_path), "socket")
    g = Guest(p.socket_path)
    g.announce()
    frames = [bytes(g.ip("192.0.2.77") / UDP(sport=4000 + i, dport=7) / Raw(b"x")) for i in range(20)]
    largest = 0
    for _ in range(60):
        g.send(*frames)
        g.barrier()
        largest = max(largest, log.stat().st_size)
    for _ in range(100):
        again = Guest(p.socket_path)
        again.wait_closed()
        largest = max(largest, log.stat().st_size)
    g.close()
    assert p.stop() == 0
    assert 1000 < largest <= 40960
    assert log.read_text().startswith("passt "), "header is gone"


def test_capture(net, tmp_path):
    pcap = tmp_path / "pcap"
    p = Passt(net.host, str(tmp_path), "--pcap", pcap)
    g = Guest(p.socket_path)
    g.announce()
    g.close()
    assert p.stop() == 0
    assert_clean(p.output())
    done = subprocess.run(["tcpdump", "-n", "-r", "-"], stdin=open(pcap, "rb"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ARP, Request who-has 192.0.2.1 tell 192.0.2.2" in done.stdout
    assert "ARP, Reply 192.0.2.1 is-at 9a:55:9a:55:9a:55" in done.stdout


# Privileges

as_root = pytest.mark.skipif(os.getuid() != 0, reason="needs to be root")


def status_of(pid, field):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return re.search(rf"^{field}:[ \t]*(.*)$", f.read(), re.M).group(1).split()


def engine(pid):
    """The process that parses what the guest sends: the last descendant of pid."""
    while True:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            children = f.read().split()
        if not children:
            return pid
        pid = int(children[-1])


@as_root
@pytest.mark.parametrize("options,uid,gid", [([], 65534, 65534), (["--runas", "1234"], 1234, 1234), (["--runas", "1234:5678"], 1234, 5678),
                                             (["--runas", "0:0"], 0, 0)])
def test_root_becomes_nobody(tmp_path, options, uid, gid):
    """Started by root itself, outside of the test's namespaces; its files are opened before."""
    path, pid = tmp_path / "s", tmp_path / "pid"
    argv = [binary(), "-f", "-s", path, "--pid", pid, *options]
    with open(tmp_path / "output", "w", encoding="ascii") as out:
        proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        until(lambda: proc.poll() is not None or pid.exists() and pid.read_text(), "pid file")
        assert proc.poll() is None, (tmp_path / "output").read_text()
        child = engine(proc.pid)
        assert set(status_of(child, "Uid")) == {str(uid)} and set(status_of(child, "Gid")) == {str(gid)}
        assert status_of(child, "Groups") in ([], [str(gid)])
        assert ("change to nobody" in (tmp_path / "output").read_text()) == (not options)
        with Guest(str(path)).sock:
            pass
    finally:
        proc.terminate()
        assert proc.wait(LIMIT) == 0


def test_confinement(passt):
    """No capability, and no way to gain one."""
    child = engine(passt.pid)
    assert int(status_of(child, "CapEff")[0], 16) & ~0x400 == 0, "more than CAP_NET_BIND_SERVICE"
    assert status_of(child, "NoNewPrivs") == ["1"]


def test_without_any_capability(net, tmp_path):
    """That is how libvirt starts it."""
    path = tmp_path / "s"
    argv = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--no-new-privs", binary(), "-f", "-s", path]
    proc = net.host.popen(*argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until(lambda: path.exists() or proc.poll() is not None, "socket")
    assert proc.poll() is None, proc.stderr.read()
    g = Guest(str(path))
    g.announce()
    g.close()
    proc.terminate()
    assert proc.wait(LIMIT) == 0
    proc.stderr.close()


# Statistics


def test_stats(net, tmp_path):
    """A head and a line for what has happened; nothing while nothing does, and nobody waits for whoever doesn't read."""
    path = str(tmp_path / "s")
    with net.host.popen(binary(), "-f", "--stats", 1, "-s", path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as p:
        try:
            until(lambda: os.path.exists(path), "passt listens")
            g = Guest(path)
            g.announce()
            head = p.stdout.readline().split()
            assert head[:3] == [b"SECONDS", b"FRAMES", b"IN"]
            # One line more may be due, for what came later.
            rows = [p.stdout.readline().split()]
            while int(rows[-1][1]) < 2 or int(rows[-1][3]) < 2:
                rows.append(p.stdout.readline().split())
            assert all(len(row) == 8 and float(row[0]) >= 0 for row in rows)
            assert int(rows[-1][2]) >= 2 * 42 and int(rows[-1][4]) >= 2 * 42
            g.close()
        finally:
            p.terminate()
        assert p.wait(LIMIT) == 0


def test_stats_only_in_the_foreground():
    for words in ("--stats", "1"), ("--stats", "1", "-f"):
        done = run(*words)
        assert done.returncode == 1 and "--stats needs --foreground before it" in done.stderr
    for wrong in "0", "x", "", "1.5":
        done = run("-f", "--stats", wrong)
        assert done.returncode == 1 and "Invalid interval" in done.stderr


# Service manager


@pytest.mark.parametrize("where", ["path", "abstract"])
@pytest.mark.parametrize("words", [["-f"], []], ids=["foreground", "daemon"])
def test_notify(net, tmp_path, where, words):
    """It hears when everything is ready, and when the end begins; from the process that it is about."""
    name = str(tmp_path / "notify") if where == "path" else f"@passt-test-{os.getpid()}-{len(words)}"
    with net.host.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0"))
        manager.settimeout(LIMIT)
        env = {**os.environ, "NOTIFY_SOCKET": name}
        with net.host.popen(binary(), *words, "-s", tmp_path / "s", "-P", tmp_path / "pid", env=env, stderr=subprocess.DEVNULL) as p:
            said = manager.recv(1000).decode().split()
            pid = int((tmp_path / "pid").read_text())
            assert said == ["READY=1", f"MAINPID={pid}"] and os.path.exists(tmp_path / "s")
            os.kill(pid, signal.SIGTERM)
            assert manager.recv(1000) == b"STOPPING=1\n"
            assert p.wait(LIMIT) == 0


def test_notify_nowhere(net, tmp_path):
    """An odd word, or nobody there: a warning, and it goes on."""
    for odd in "vsock:2:1", str(tmp_path / "nobody"):
        with net.host.popen(binary(), "-f", "-s", tmp_path / "s", env={**os.environ, "NOTIFY_SOCKET": odd}, stderr=subprocess.PIPE) as p:
            lines = [p.stderr.readline()]
            while b"You can now start" not in lines[-1]:
                lines.append(p.stderr.readline())
            assert b"The service manager is not told" in b"".join(lines)
            p.terminate()
            assert p.wait(LIMIT) == 0
