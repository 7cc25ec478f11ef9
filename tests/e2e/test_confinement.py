# SPDX-License-Identifier: MIT
"""
What each process of passt and pasta can still do once it runs, as the kernel tells in /proc; and what is left of that, and said about it,
where the kernel, a container or an administrator refuses a part.

    guest ---socket--- passt in "host" ---veth--- "remote"          namespace ---tap--- pasta in "host" ---veth--- "remote"
"""
import ctypes
import errno
import os
import re
import signal
import subprocess

import pytest
from lab import refuse
from lab.control import Control
from lab.guest import Guest
from lab.pasta import children, exchange_tcp, host_agent
from lab.program import assert_clean, binary, gone
from lab.refuse import PLAIN, USER
from lab.topology import REMOTE4
from lab.wait import LIMIT, until

BIND_SERVICE, ADMIN, RAW = 1 << 10, 1 << 12, 1 << 13
# What the engine works with; 0 to 2 are what it was started with.
ENGINE_FD = re.compile(r"(socket|pipe):|anon_inode:\[?(eventpoll|signalfd|pidfd|inotify|timerfd|eventfd)\]?$|pidfd:|/dev/net/tun$|/proc/\d+/status$|"
                       r"/(\d+/status)?$")
WARNING = "Less confined, without "


def field(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return re.search(rf"^{name}:[ \t]*(.*)$", f.read(), re.M).group(1)


def caps(pid, kind):
    return int(field(pid, f"Cap{kind}"), 16)


def namespace(pid, kind):
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def may_look(pid):
    """Only root of the machine may, where the process is in a user namespace without root."""
    return os.getuid() in (0, os.stat(f"/proc/{pid}/fd").st_uid)


def descriptors(pid):
    """What a process has open from 3 on; nothing where we may not look."""
    if not may_look(pid):
        return []
    found = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    return [what for fd, what in found.items() if fd > 2]


def routing_sockets(pid):
    """Sockets in its network namespace that ask the kernel about addresses and routes, or hear of them."""
    with open(f"/proc/{pid}/net/netlink", encoding="ascii") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    return {f"socket:[{row[-1]}]" for row in rows if row[1] == "0"}


def assert_open(pid, *kinds):
    """Of a process of ours beside the engine: these, and nothing of whoever started it."""
    if may_look(pid):
        assert sorted(what.partition(":")[0] for what in descriptors(pid)) == sorted(kinds), descriptors(pid)
        assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)} == {"/dev/null"}


def is_pasta(pid):
    with open(f"/proc/{pid}/comm", encoding="ascii") as f:
        return f.read().startswith("pas")


def agents_of(pid):
    """The other processes of pasta's that are called like it, elsewhere: the namespace's, and perhaps the annex's agent."""
    return [child for child in children(pid) if is_pasta(child) and namespace(child, "net") != namespace(pid, "net")]


def agents_in(inside, engine):
    """
    Those of a daemon, which are nobody's children: the only pasta that is in the network namespace of process inside, and perhaps another
    one that shares only its user namespace.
    """
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            if is_pasta(pid) and namespace(pid, "user") == namespace(inside, "user") and namespace(pid, "net") != namespace(engine, "net"):
                found.append(pid)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            pass
    return sorted(found, key=lambda pid: namespace(pid, "net") != namespace(inside, "net"))


def root_is_empty(pid):
    with open(f"/proc/{pid}/mountinfo", encoding="ascii") as f:
        mounts = f.read().splitlines()
    return len(mounts) == 1 and " / / ro," in mounts[0] and "tmpfs" in mounts[0] and not os.listdir(os.path.join("/proc", str(pid), "root"))


def assert_closed(pid, allowed):
    """No capability but these, and no way to get one."""
    for kind in "Inh", "Prm", "Eff", "Amb":
        assert caps(pid, kind) & ~allowed == 0, f"Cap{kind}"
    assert field(pid, "NoNewPrivs") == "1"


def assert_engine(pid, outside, user, daemon=False):
    """user: started without capabilities, which a user namespace of its own makes up for. daemon: born in a PID namespace."""
    # What says that it is ready comes a little before the last of it.
    until(lambda: field(pid, "Seccomp_filters") == "2", "all filters")
    until(lambda: not [what for what in descriptors(pid) if not ENGINE_FD.match(what)], f"no more descriptors than needed: {descriptors(pid)}")
    assert not routing_sockets(pid).intersection(descriptors(pid))
    assert_closed(pid, 0 if user else BIND_SERVICE)
    own = {"mnt", "ipc", "uts"} | ({"user"} if user else set()) | ({"pid"} if daemon else set())
    assert (field(pid, "NSpid").split()[-1] == "1") == daemon
    assert {kind for kind in ("mnt", "ipc", "uts", "user", "net", "pid") if namespace(pid, kind) != namespace(outside, kind)} == own
    assert root_is_empty(pid)


def assert_agents(agents, annex=True):
    """That of the annex, if this kernel has all that one takes, follows the interface."""
    assert 1 <= len(agents) <= 1 + annex
    for agent, more in zip(agents, (0, ADMIN)):
        assert_closed(agent, BIND_SERVICE | RAW | more)
        assert_open(agent, "socket")
        assert field(agent, "Seccomp_filters") == "1"


def assert_host_agent(pid, engine):
    """Of another user than root, in the network that it watches."""
    until(lambda: field(pid, "Seccomp_filters") == "1", "its filter")
    assert_closed(pid, 0)
    assert_open(pid, "anon_inode", "socket", "socket")
    assert len(routing_sockets(pid).intersection(descriptors(pid))) == may_look(pid)
    assert namespace(pid, "net") == namespace(engine, "net") and field(pid, "Groups") == field(engine, "Groups")


prefixes = pytest.mark.parametrize("prefix", [[], USER], ids=["root", "user"])


@prefixes
@pytest.mark.parametrize("options", [[], ["--vhost-user"]], ids=["stream", "vhost-user"])
def test_passt(net, start, prefix, options):
    p = start("-t", "7000", "-u", "7000", *options, prefix=prefix)
    assert_engine(p.pid, net.host.pid, bool(prefix))
    assert_host_agent(host_agent(p.pid), p.pid)
    assert WARNING not in p.output()


users = pytest.mark.parametrize("prefix", [[], PLAIN], ids=["root", "user"])


@users
@pytest.mark.parametrize("options", [["--config-net"], ["--splice-only"]], ids=["tap", "splice"])
def test_pasta_command(net, pasta, prefix, options):
    p = pasta(*options, prefix=prefix)
    assert_engine(p.pid, net.host.pid, bool(prefix))
    assert_agents(agents_of(p.pid), "--config-net" in options)
    if "--splice-only" not in options:
        assert_host_agent(host_agent(p.pid), p.pid)
    assert WARNING not in p.output()


@prefixes
def test_pasta_process(net, daemon, container, prefix):
    d = daemon("--config-net", container.pid, prefix=prefix)
    assert_engine(d.pid, net.host.pid, bool(prefix), True)
    assert_agents(agents_in(container.pid, d.pid))
    assert WARNING not in d.done.stderr


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT, signal.SIGHUP, signal.SIGKILL], ids=lambda s: s.name)
def test_daemon_ends(daemon, container, sig):
    """As the first process of a PID namespace it sees signals from outside only where it looks for them. The agents, orphans, go with it."""
    d = daemon("--config-net", container.pid)
    agents = agents_in(container.pid, d.pid)
    assert agents
    os.kill(d.pid, sig)
    until(lambda: d.gone() and all(gone(agent) for agent in agents), "all are gone")


def test_daemon_passt(net, tmp_path):
    """Everybody who is told of its number is told that of the host's namespace; and what ignores a signal goes on doing so."""
    words = ["-s", tmp_path / "s", "--pid", tmp_path / "pid", "--log-file", tmp_path / "log", "-c", tmp_path / "control"]
    done = net.host.run("env", "--ignore-signal=HUP", binary(), *words, timeout=60)
    pid = int((tmp_path / "pid").read_text())
    try:
        assert field(pid, "NSpid").split()[-1] == "1"
        assert WARNING not in done.stderr and re.search(r"\((\d+)\) *\n", (tmp_path / "log").read_text()).group(1) == str(pid)
        os.kill(pid, signal.SIGHUP)
        with Control(tmp_path / "control") as c:
            assert c.get("hello")["pid"] == pid
    finally:
        os.kill(pid, signal.SIGTERM)
        until(lambda: gone(pid), "it is gone")


def test_pasta_path(net, daemon, plain):
    d = daemon("--config-net", "--netns", f"/proc/{plain.pid}/ns/net")
    assert_engine(d.pid, net.host.pid, False, True)
    assert_agents(agents_in(plain.pid, d.pid))


@pytest.mark.skipif(os.getuid() != 0, reason="needs to be root")
def test_root_itself(tmp_path):
    """Of the initial user namespace, where the change of user takes capabilities that the namespaces need."""
    with open(tmp_path / "output", "w", encoding="ascii") as out:
        proc = subprocess.Popen([binary(), "-f", "-s", tmp_path / "s"], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        until(lambda: "You can now start" in (tmp_path / "output").read_text() or proc.poll() is not None, "passt is ready")
        assert_engine(proc.pid, os.getpid(), False)
        assert caps(proc.pid, "Bnd") == 0 and WARNING not in (tmp_path / "output").read_text()
    finally:
        proc.terminate()
        assert proc.wait(LIMIT) == 0


def test_memory(net, passt):
    """Not open to somebody who may do more than passt in every other respect, and look into a process that may do the same."""
    look = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", "cat"]
    with net.host.popen("setpriv", "--bounding-set=-all", "--inh-caps=-all", "cat", stdin=subprocess.PIPE) as other:
        until(lambda: field(other.pid, "Name") == "cat", "another process")
        assert net.host.run(*look, f"/proc/{other.pid}/environ", check=False).returncode == 0
        other.stdin.close()
    assert net.host.run(*look, f"/proc/{passt.pid}/environ", check=False).returncode != 0


# Layers that are refused

LIMIT_FILE = "/proc/sys/user/max_{}_namespaces"


def prepared(script, wrapper=""):
    """In a user and mount namespace of its own, which the script changes first; then somebody without capabilities there."""
    return ["unshare", "-U", "-r", "-m", "sh", "-c", f'set -e; {script}; exec {wrapper} {" ".join(USER)} "$@"', "sh"]


def works(net, p, tmp_path):
    g = Guest(p.socket_path)
    g.announce()
    g.close()
    assert_clean(p.output())


ALL = {"user", "mnt", "ipc", "uts"}
NO_NAMESPACES = "user, mount, IPC, UTS namespace and empty root: Operation not permitted; they have to be allowed by sysctls"
LIMITED = "No space left on device; a limit in /proc/sys/user"


def limited(kind):
    return prepared(f"echo 0 >{LIMIT_FILE.format(kind)}")


# How it is started, what is said, and the namespaces that it has all the same.
ENVIRONMENTS = {
    "limit": (limited("user"), [f"user, mount, IPC, UTS namespace and empty root: {LIMITED}"], {"user", "mnt"}),
    "mount-limit": (limited("mnt"), [f"mount namespace and empty root: {LIMITED}"], ALL),
    "ipc-limit": (limited("ipc"), [f"IPC namespace: {LIMITED}"], {"user", "mnt", "uts"}),
    "uts-limit": (limited("uts"), [f"UTS namespace: {LIMITED}"], {"user", "mnt", "ipc"}),
    "chroot": (prepared("mount --rbind / /mnt", "chroot /mnt"), [NO_NAMESPACES], {"user", "mnt"}),
}

# What is refused, and how, to somebody without capabilities; and the same as above.
REFUSED = {
    "unshare": (errno.EPERM, ["unshare"], [NO_NAMESPACES], set()),
    "unknown": (errno.ENOSYS, ["unshare"], ["user, mount, IPC, UTS namespace and empty root: Function not implemented; this takes a kernel"], set()),
    "mount-namespace": (errno.EPERM, [refuse.NEW_MOUNTS], ["mount namespace and empty root: Operation not permitted; they have to be allowed"], ALL - {"mnt"}),
    "mount": (errno.EPERM, ["mount"], ["empty root: Operation not permitted; pivot_root() and mount()"], ALL),
    "pivot_root": (errno.EINVAL, ["pivot_root"], ["empty root: Invalid argument; --chroot-fallback"], ALL),
    "pivot_root-container": (errno.EPERM, ["pivot_root"], ["empty root: Operation not permitted; pivot_root() and mount()"], ALL),
    "memory": (errno.EPERM, [refuse.CLOSED_MEMORY], ["closed memory: Operation not permitted; prctl()"], ALL),
    "seccomp": (errno.EPERM, ["seccomp"], [], ALL),  # there is an older way
    "seccomp-unknown": (errno.ENOSYS, ["seccomp"], [], ALL),
    "filter": (errno.EPERM, refuse.NO_FILTER, ["filter of system calls: Operation not permitted; seccomp() or prctl()"], ALL),
    "filter-kernel": (errno.EINVAL, refuse.NO_FILTER, ["filter of system calls: Invalid argument; this takes a kernel with CONFIG_SECCOMP"], ALL),
    "filter-unknown": (errno.ENOSYS, refuse.NO_FILTER, ["filter of system calls: Function not implemented; this takes a kernel with CONFIG_SECCOMP"], ALL),
    "landlock": (errno.ENOSYS, ["landlock_create_ruleset"], ["Landlock: Function not implemented; this takes Linux 5.13"], ALL),
    "landlock-off": (errno.EOPNOTSUPP, ["landlock_create_ruleset"], ["Landlock: Operation not supported; the kernel has to be started with lsm="], ALL),
    "landlock-container": (errno.EPERM, ["landlock_create_ruleset"], ["Landlock: Operation not permitted; this takes Linux 5.13"], ALL),
    "landlock-self": (errno.EPERM, ["landlock_restrict_self"], ["Landlock: Operation not permitted; this takes Linux 5.13"], ALL),
    "all": (errno.EPERM, refuse.ALL_LAYERS,
            [NO_NAMESPACES, "closed memory: ", "filter of system calls: ", "Landlock: "], set()),
}


def assert_says(text, says):
    """One warning for each."""
    found = [line for line in text.splitlines() if WARNING in line]
    assert len(found) == len(says), text
    for line, want in zip(found, says):
        assert line.partition(WARNING)[2].startswith(want), line


def assert_has(pid, outside, has, filters):
    """These namespaces of its own, this many filters, and no privileges."""
    assert {kind for kind in ALL if namespace(pid, kind) != namespace(outside, kind)} == has
    until(lambda: field(pid, "Seccomp_filters") == str(filters), "the filters")
    assert field(pid, "NoNewPrivs") == "1"


def own_filters(says):
    """One for the start, and one behind it."""
    return 0 if any("filter" in what for what in says) else 2


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environment(net, start, tmp_path, name):
    """One warning for what is refused, by name; the other layers hold, and the program does its work."""
    prefix, says, has = ENVIRONMENTS[name]
    p = start(prefix=prefix)
    assert_says(p.output(), says)
    assert_closed(p.pid, 0)
    assert_has(p.pid, net.host.pid, has, 2)
    works(net, p, tmp_path)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(net, start, tmp_path, name):
    """The same, by a filter as a container has it."""
    err, requests, says, has = REFUSED[name]
    p = start(prefix=[*USER, *refuse.prefix(err, *requests)])
    assert_says(p.output(), says)
    assert_closed(p.pid, 0)
    assert_has(p.pid, net.host.pid, has, 1 + own_filters(says))
    works(net, p, tmp_path)


def landlock_version():
    """Of the kernel's; below 1 it has none."""
    return ctypes.CDLL(None).syscall(444, None, 0, 1)


def test_refused_exception(net, start, tmp_path):
    """The port that the kernel chooses is one, where Landlock keeps ports: they are not kept then, and all else of it holds."""
    p = start(prefix=[*USER, *refuse.prefix(errno.EPERM, "landlock_add_rule")])
    assert_says(p.output(), ["Landlock for TCP ports: Operation not permitted; this takes Linux 5.13"] if landlock_version() >= 4 else [])
    assert_closed(p.pid, 0)
    assert_has(p.pid, net.host.pid, ALL, 3)
    works(net, p, tmp_path)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_pasta(net, pasta, name):
    """The same, and nothing is said twice because the agent is refused it as well. Its command is made without unshare()."""
    err, requests, says, has = REFUSED[name]
    p = pasta("--config-net", prefix=[*PLAIN, *refuse.prefix(err, *requests)])
    agent = agents_of(p.pid)[0]
    assert_says(p.output(), says)
    assert_closed(p.pid, 0)
    assert_closed(agent, BIND_SERVICE | RAW)
    assert_has(p.pid, net.host.pid, has | {"user"}, 1 + own_filters(says))
    assert field(agent, "Seccomp_filters") == str(1 + own_filters(says) // 2)
    exchange_tcp(net.remote, REMOTE4, 0, p.ns, REMOTE4)


@pytest.mark.parametrize("requests,says,has", [
    (["unshare"], ["mount, IPC, UTS namespace and empty root: Operation not permitted; "], set()),
    (refuse.NO_FILTER, ["filter of system calls: Operation not permitted; "], ALL - {"user"}),
], ids=["unshare", "filter"])
def test_refused_root(net, start, tmp_path, requests, says, has):
    """Somebody with privileges has no user namespace, and keeps one of them."""
    p = start(prefix=refuse.prefix(errno.EPERM, *requests))
    assert_says(p.output(), says)
    assert_closed(p.pid, BIND_SERVICE)
    assert_has(p.pid, net.host.pid, has, 1 + own_filters(says))
    works(net, p, tmp_path)


@pytest.mark.parametrize("prefix,says,has", [
    (limited("pid"), f"PID namespace: {LIMITED}", {"user", "mnt", "ipc", "uts"}),
    ([*USER, *refuse.prefix(errno.EPERM, "unshare")], "user, mount, IPC, UTS, PID namespace and empty root: Operation not permitted; ", set()),
], ids=["limit", "unshare"])
def test_daemon_refused(net, tmp_path, prefix, says, has):
    """It is no other process then than it was, and has the rest."""
    done = net.host.run(*prefix, binary(), "-s", tmp_path / "s", "--pid", tmp_path / "pid", timeout=60)
    pid = int((tmp_path / "pid").read_text())
    try:
        assert_says(done.stderr, [says])
        assert {kind for kind in (*ALL, "pid") if namespace(pid, kind) != namespace(net.host.pid, kind)} == has
        g = Guest(str(tmp_path / "s"))
        g.announce()
        g.close()
    finally:
        os.kill(pid, signal.SIGTERM)
        until(lambda: gone(pid), "it is gone")


def test_chroot_fallback(start, net, tmp_path):
    """As in an initramfs, whose root can't be moved."""
    p = start("--chroot-fallback", prefix=[*USER, *refuse.prefix(errno.EINVAL, "pivot_root")])
    assert_says(p.output(), [])
    assert not os.listdir(os.path.join("/proc", str(p.pid), "root"))
    works(net, p, tmp_path)


def test_capability_kept(start, net, tmp_path):
    """CAP_NET_BIND_SERVICE alone counts more than namespaces: a user namespace would take it away."""
    p = start(prefix=["setpriv", "--bounding-set=-all,+net_bind_service", "--inh-caps=-all,+net_bind_service", "--"])
    assert caps(p.pid, "Eff") == BIND_SERVICE
    assert_says(p.output(), ["namespaces and empty root: Operation not permitted; they would take CAP_NET_BIND_SERVICE"])
    works(net, p, tmp_path)
