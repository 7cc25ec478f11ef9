# SPDX-License-Identifier: MIT
"""
pasta where something that it needs is refused: one word of what, why and what to do about it, and no more.

Each case is prepared by root of a user namespace of its own, where limits and files of the kernel can be set as some systems have them.
"""
import pytest
from lab.pasta import mounted, program
from lab.program import assert_clean

LIMITS = "/proc/sys/user/max_{}_namespaces"
FORBIDDEN = "Couldn't create user namespace: Operation not permitted"
# The kernel has no user namespaces for those in a chroot environment.
CHROOT = "mount --rbind / /mnt; set -- chroot /mnt \"$@\""


def sysctl(name, value):
    return f"mount -t tmpfs none /proc/sys/kernel; echo {value} >/proc/sys/kernel/{name}"


def run(net, tmp_path, prepare, *argv):
    script = f'set -e; {prepare}; exec "$@"'
    done = net.host.run("unshare", "-U", "-r", "-m", "sh", "-c", script, "sh", program(tmp_path), *argv, check=False)
    assert_clean(done.stderr)
    return done


@pytest.mark.parametrize("prepare,says", [
    (f"echo 0 >{LIMITS.format('user')}", ["user namespace: No space left", f"{LIMITS.format('user')} is 0"]),
    (f"echo 0 >{LIMITS.format('net')}", ["user namespace: No space left", f"{LIMITS.format('net')} is 0"]),
    (f"echo 1 >{LIMITS.format('net')}; set -- unshare -U -r -n \"$@\"", ["user namespace: No space left", "max_user_namespaces, max_net_namespaces"]),
    (CHROOT, [FORBIDDEN, "Unable to create user namespaces: a security module"]),
    (f"{sysctl('unprivileged_userns_clone', 0)}; {CHROOT}", [FORBIDDEN, "Unable to create user namespaces without privileges: /proc/sys/kernel/unprivileged_userns_clone is 0"]),
    (f"{sysctl('apparmor_restrict_unprivileged_userns', 1)}; {CHROOT}", [FORBIDDEN, "apparmor_restrict_unprivileged_userns is 1"]),
], ids=["no-user", "no-net", "no-more-net", "chroot", "clone-sysctl", "apparmor"])
def test_namespaces(net, tmp_path, prepare, says):
    done = run(net, tmp_path, prepare, "--config-net", "--", "true")
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and len(lines) == len(says), done.stderr
    assert all(want in line for want, line in zip(says, lines)), done.stderr


def test_network_namespace_alone(net, tmp_path):
    drop = "set -- setpriv --bounding-set=-all --inh-caps=-all \"$@\""
    done = run(net, tmp_path, drop, "--netns-only", "--", "true")
    assert done.returncode == 1 and "Couldn't create network namespace: Operation not permitted" in done.stderr
    assert "without --netns-only" in done.stderr and "user namespace:" not in done.stderr


@pytest.mark.parametrize("prepare,says", [
    ("mount -t tmpfs none /dev/net", "Failed to open() /dev/net/tun: No such file or directory (the module tun has to be loaded"),
    ("mount -t tmpfs none /dev/net; : >/dev/net/tun; chmod 0 /dev/net/tun; set -- unshare -U --map-user=1000 --map-group=1000 \"$@\"",
     "Failed to open() /dev/net/tun: Permission denied (the device has to be open to the user"),
], ids=["missing", "closed"])
def test_tun(net, tmp_path, prepare, says):
    done = run(net, tmp_path, prepare, "--config-net", "--", "true")
    assert done.returncode == 1 and says in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_name_of_an_interface_that_is_there(net, tmp_path, container):
    container.ip("link", "add", "there0", "type", "veth")
    done = net.host.run(program(tmp_path), "-I", "there0", container.pid, check=False)
    assert done.returncode == 1
    assert "Couldn't make tap device there0: Invalid argument (there may be an interface of that name: --ns-ifname chooses another" in done.stderr


NO_RIGHTS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]


def test_path_without_its_user_namespace(net, tmp_path, container):
    """The owner of the other user namespace has rights there only."""
    path = mounted(net.host, container, tmp_path / "ns")
    done = net.host.run(*NO_RIGHTS, program(tmp_path), "--netns", path, check=False)
    assert done.returncode == 1
    assert f"Couldn't join network namespace {path}: Operation not permitted (joining the user namespace that it belongs to" in done.stderr
    assert "--userns" in done.stderr


def test_path_of_somebody_else(net, tmp_path, plain):
    path = mounted(net.host, plain, tmp_path / "ns")
    done = net.host.run(*NO_RIGHTS, program(tmp_path), "--netns", path, check=False)
    assert done.returncode == 1
    assert f"Couldn't join network namespace {path}: Operation not permitted (this takes privileges" in done.stderr


def test_small_mtu(pasta):
    """One warning, and IPv4 works; the kernel has no IPv6 on such an interface."""
    p = pasta("--config-net", "-m", "1279", "-t", "none", "-u", "none", "-T", "none", "-U", "none")
    assert [line for line in p.output().splitlines() if line] == ["MTU 1279 is too small for IPv6 (minimum 1280): the namespace's interface has none"]
    assert "mtu 1279" in p.ns.ip("link", "show", "eth0") and p.ns.routes("-4") and not p.ns.addresses("eth0")[1:]
