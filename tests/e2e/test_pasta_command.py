# SPDX-License-Identifier: MIT
"""
pasta with a command: what the command finds, how it ends, and what is said about wrong options.
"""
import os
import re
import signal
import subprocess

import pytest
from lab import netns
from lab.pasta import children, Process, program
from lab.program import assert_clean, binary, gone
from lab.topology import HOST4, HOST6
from lab.wait import LIMIT, until

# Somebody without privileges in the host namespace; a user namespace is the only way to be anybody else there.
USER = ["unshare", "-U", "--map-user=1000", "--map-group=1000", "--"]
WHO = {"root": [], "user": USER}


@pytest.fixture
def run(net, tmp_path, tun):
    """run(*argv): pasta in the host namespace to its end."""

    def go(*argv, prefix=(), check=True, **kw):
        done = net.host.run(*prefix, program(tmp_path), *argv, check=False, **kw)
        assert_clean(done.stderr)
        if check:
            assert done.returncode == 0, done.stderr
        return done

    return go


# Words that clients look for.


def test_version(tmp_path):
    for probe in [], ["--host-lo-to-ns-lo"]:
        done = subprocess.run([program(tmp_path), *probe, "--version"], capture_output=True, text=True, check=True)
        assert re.fullmatch(r"pasta \S+", done.stdout.split("\n")[0]) and not done.stderr


def test_help(tmp_path):
    done = subprocess.run([program(tmp_path), "--help"], capture_output=True, text=True, check=True)
    assert not done.stderr
    for name in ("splice-only map-host-loopback host-lo-to-ns-lo foreground log-file tcp-ports udp-ports tcp-ns udp-ns config-net netns "
                 "userns netns-only no-pidns no-netns-quit ns-ifname ns-mac-addr dhcp-dns dhcp-search no-splice map-guest-addr").split():
        assert f"--{name}" in done.stdout, name


BAD = [
    (["--map-guest-address", "192.0.2.9"], ["unrecognized option '--map-guest-addr"]),
    (["--socket", "/tmp/s", "--", "true"], ["socket", "passt"]),
    (["--one-off", "--", "true"], ["one-off", "passt"]),
    (["--netns", "x", "--", "true"], ["netns"]),
    (["--netns", "/no/such/file"], ["/no/such/file"]),
    (["--netns", "/dev/null"], ["/dev/null"]),
    (["--netns", "/proc/self/ns/net"], ["/proc/self/ns/net", "in ourselves"]),
    (["--netns", "no-such-name"], ["no-such-name"]),
    (["999999999"], ["999999999"]),
    (["--userns", "/proc/self/ns/user", "--", "true"], ["userns"]),
    (["--mtu", "65522", "--", "true"], ["MTU 65522 too large (max 65521)"]),
    (["-I", "a-name-that-is-too-long", "--", "true"], ["a-name-that-is-too-long"]),
    (["-T", "127.0.0.1/80", "--", "true"], ["Listening address not allowed for -T"]),
    (["-t", "192.0.2.77/8080", "--", "true"], ["Listen failed for HOST TCP port 192.0.2.77/8080"]),
    (["--ns-mac-addr", "01:00:00:00:00:00", "--", "true"], ["01:00:00:00:00:00"]),
    (["--no-copy-routes", "--", "true"], ["--no-copy-routes", "--config-net"]),
    (["-t", "80-90,x", "--", "true"], ["x"]),
    (["-i", "nosuch0", "--", "true"], ["nosuch0"]),
    (["--runas", "no-such-user", "--", "true"], ["Invalid --runas option", "no-such-user"]),
]


@pytest.mark.parametrize("argv,words", BAD, ids=[" ".join(argv)[:40] for argv, _ in BAD])
def test_bad_option(run, argv, words):
    done = run(*argv, check=False)
    assert done.returncode == 1 and not done.stdout
    assert [line for line in done.stderr.splitlines() if all(w.lower() in line.lower() for w in words)], done.stderr


# How it ends.


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("command,status", [("true", 0), ("exit 7", 7), ("sleep 1000 & exit 3", 3)])
def test_exit_status(run, who, command, status):
    """Children that are left behind end as well: nobody else holds the pipe that run() reads to its end."""
    assert run("--config-net", "--", "sh", "-c", command, prefix=WHO[who], check=False).returncode == status


@pytest.mark.parametrize("command,status,says", [("no-such-command-here", 127, "No such file"), ("/dev/null", 126, "Permission denied")])
def test_command_that_cannot_be_run(run, command, status, says):
    done = run("--", command, check=False)
    assert done.returncode == status and command in done.stderr and says in done.stderr


def process(net, tmp_path, *argv, **kw):
    return Process(net.host, str(tmp_path), *argv, **kw)


def name_of(pid):
    with open(f"/proc/{pid}/comm", encoding="ascii") as f:
        return f.read().strip()


@pytest.mark.parametrize("sig,status", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGQUIT, 131), (signal.SIGHUP, 129)])
def test_signals_end_a_command_that_does_not_care(net, tmp_path, tun, sig, status):
    p = process(net, tmp_path, "--config-net", "--", "sleep", "1000")
    # Not by way of a shell: some catch SIGINT for a moment before they become something else.
    until(lambda: "sleep" in map(name_of, p.children()), "command")
    p.process.send_signal(sig)
    assert p.wait() == status


def test_signals_reach_a_command_that_handles_them(net, tmp_path, tun):
    script = "trap 'echo got; exit 9' TERM; echo on; while :; do sleep 0.05; done"
    p = process(net, tmp_path, "--", "sh", "-c", script)
    p.says("on")
    p.process.send_signal(signal.SIGTERM)
    assert p.wait() == 9 and "got" in p.output()


BLOCKS = """
import ctypes, os, signal, struct, sys, threading, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("on", flush=True)
"""
WAITS = {
    "sigwait": "signal.sigwait([signal.SIGTERM])",
    "signalfd": "os.read(ctypes.CDLL(None).signalfd(-1, struct.pack('128s', struct.pack('Q', 1 << 14)), 0), 128)",
    "another thread": "t = threading.Thread(target=lambda: signal.sigwait([signal.SIGTERM])); t.start(); t.join()",
    "later": "exec('while signal.SIGTERM not in signal.sigpending(): time.sleep(0.01)')",
}


@pytest.mark.parametrize("how", WAITS)
def test_signals_reach_a_command_that_waits_for_them(net, tmp_path, tun, how):
    """As tini, dumb-init and systemd do: a signal that is awaited is not one that nobody cares for."""
    p = process(net, tmp_path, "--", netns.PYTHON, "-c", BLOCKS + WAITS[how] + "\nsys.exit(9)")
    p.says("on")
    p.process.send_signal(signal.SIGTERM)
    assert p.wait() == 9


def test_signals_where_proc_has_other_numbers(net, tmp_path, tun):
    """In a PID namespace that still sees the /proc of the one above."""
    p = process(net, tmp_path, "--config-net", "--", "sleep", "1000", prefix=["unshare", "-pf", "--"])
    until(p.children, "pasta")
    pasta = p.children()[0]
    until(lambda: "sleep" in map(name_of, children(pasta)), "command")
    os.kill(pasta, signal.SIGTERM)
    assert p.wait() == 143


def test_command_that_ignores_the_signal(net, tmp_path, tun):
    """It goes on, and so does its network; with pasta killed, nothing is left."""
    p = process(net, tmp_path, "--config-net", "--", "sh", "-c", "trap '' TERM; echo on; while :; do sleep 0.05; done")
    p.says("on")
    family = p.children()
    assert len(family) in (3, 4), "command and agents"
    for _ in range(3):
        p.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        p.process.wait(0.3)
    p.process.kill()
    p.ended = True
    assert p.process.wait(LIMIT) == -signal.SIGKILL
    until(lambda: all(map(gone, family)), "command and agents have ended")


@pytest.mark.parametrize("command,status", [("exec sleep 1000", 143), ("trap 'exit 9' TERM; echo on; while :; do sleep 0.05; done", 9)],
                         ids=["default", "handled"])
def test_signals_without_a_pid_namespace(net, tmp_path, tun, command, status):
    """The kernel gives them their effect; the network is there until the command has ended."""
    p = process(net, tmp_path, "--config-net", "--no-pidns", "--", "sh", "-c", "trap 'exit 8' TERM; echo on; " + command)
    p.says("on")
    if status == 143:
        until(lambda: "sleep" in map(name_of, p.children()), "command")
    p.process.send_signal(signal.SIGTERM)
    assert p.wait() == status


def test_no_pid_namespace(run):
    """It has a number that its parent knows, sees all others in /proc, and what it leaves behind stays when it has ended."""
    look = "readlink /proc/self/ns/pid; ls /proc | grep -c '^[0-9]'; sleep 1000 >/dev/null 2>&1 & echo $!; id -u; exit 7"
    done = run("--config-net", "--no-pidns", "--", "sh", "-c", look, check=False)
    assert done.returncode == 7 and not done.stderr
    pidns, seen, left, uid = done.stdout.split()
    assert pidns == os.readlink("/proc/self/ns/pid") and uid == "0"
    assert int(seen) >= 3, "shell, its parent and pasta"
    assert name_of(int(left)) == "sleep"
    os.kill(int(left), signal.SIGKILL)


# What the command finds.

LOOK = """
id -u; id -g; echo $$; hostname; cat /proc/sys/net/ipv4/ping_group_range; ls /proc | grep -c '^[0-9]'; cd /proc/self/fd; echo *
grep -h NSpid /proc/1/status; pwd -P | grep -c proc
"""


@pytest.mark.parametrize("who", WHO)
def test_namespaces_of_the_command(run, net, who):
    out = run("--", "sh", "-c", LOOK, prefix=WHO[who]).stdout.split("\n")
    name = net.host.run("hostname").stdout.strip()
    assert out[:5] == ["0", "0", "1", f"pasta-{name}", "0\t0"]
    assert int(out[5]) <= 4, "processes of the host in /proc"
    assert set(out[6].split()) <= {"0", "1", "2", "3"}, "descriptors beyond the standard ones (but that of the shell)"


def test_hostname(run):
    assert run("-H", "box", "--", "hostname").stdout == "box\n"


def test_login_shell(run):
    env = dict(os.environ, SHELL="/bin/sh", HOME="/")
    assert run("--config-net", input="echo $0; exit 5\n", check=False, stdin=None, env=env).stdout == "-sh\n"


def test_empty_environment(run):
    """Not even a PATH; getpwuid() and the like are of no use either."""
    done = run("--config-net", "--", "/usr/bin/env", prefix=["env", "-i"])
    assert done.stdout == ""


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_standard_descriptors_may_be_closed(net, tmp_path, tun, closed):
    mark = tmp_path / "mark"
    done = net.host.run("sh", "-c", f'"$1" --config-net -- sh -c "ip link show eth0 >\\"$2\\"" {closed}', "sh", program(tmp_path), mark, check=False)
    assert done.returncode == 0, done.stderr
    assert "eth0" in mark.read_text()


def test_data_through_standard_input_and_output(run):
    text = "\n".join(f"line {i}" for i in range(20000))
    assert run("--", "cat", input=text, stdin=None).stdout == text


@pytest.mark.parametrize("who", WHO)
def test_network_is_ready(run, who):
    """In the command's first moment; nothing is tentative."""
    out = run("--config-net", "--", "sh", "-c", "ip -o address; ip route get 198.51.100.1; ip -6 route get 2001:db8:1::1", prefix=WHO[who]).stdout
    assert f"{HOST4}/24" in out and f"{HOST6}/64" in out and "127.0.0.1/8" in out and "::1/128" in out
    assert "tentative" not in out and "via 192.0.2.1" in out and "via 2001:db8::1" in out


def test_quiet(run):
    """Nothing is said but by the command."""
    done = run("--config-net", "--", "true")
    assert done.stdout == "" and done.stderr == ""


def test_splice_only_has_no_interface(net, tmp_path):
    done = net.host.run(program(tmp_path), "--splice-only", "--", "ip", "-o", "link")
    assert len(done.stdout.splitlines()) == 1 and "lo:" in done.stdout and "UP" in done.stdout


def test_netns_only(run, net):
    """No user namespace; its creator has the privileges here."""
    def ids(text):
        return re.findall(r"(\w+):\[\d+\]", text), re.findall(r"\[(\d+)\]", text)

    look = ["readlink", "/proc/self/ns/user", "/proc/self/ns/net"]
    ours, theirs = ids(net.host.run(*look).stdout), ids(run("--netns-only", "--config-net", "--", *look).stdout)
    assert ours[1][0] == theirs[1][0] and ours[1][1] != theirs[1][1]


def test_runas_own_ids(run):
    """What an unprivileged caller may ask for: nothing else."""
    out = run("-q", "-f", "--runas", "1000:1000", "--", "cat", "/proc/self/uid_map", prefix=USER).stdout
    assert out.split() == ["0", "1000", "1"]


def test_program_in_a_sealed_memory_file(net, tmp_path, tun):
    """By a name that is gone, as a program that has it built in starts it."""
    script = ("import fcntl, os, sys\nfd = os.memfd_create('pasta', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)\n"
              "os.write(fd, open(sys.argv[1], 'rb').read())\nfcntl.fcntl(fd, fcntl.F_ADD_SEALS, 15)\n"
              "os.execve(fd, ['pasta', '--config-net', '--', 'ip', '-o', 'link'], os.environ)")
    done = net.host.run(netns.PYTHON, "-c", script, binary())
    assert "eth0" in done.stdout, done.stderr


def test_in_the_namespaces_of_the_machine(tmp_path, tun):
    """As whoever runs the tests: root there becomes nobody, and says so."""
    argv = [program(tmp_path), "-a", "192.0.2.9", "-g", "192.0.2.1", "--config-net", "--", "sh", "-c", "cat /proc/self/uid_map; ip route; id -u"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[0] == "0" and lines[0].split()[1] == str(os.geteuid() or 65534)
    assert "default via 192.0.2.1" in done.stdout and lines[-1] == "0"
    if os.geteuid() == 0:
        assert "Started as root, will change to nobody." in done.stderr
