# SPDX-License-Identifier: MIT
"""
pasta that joins namespaces of others: by process, path and name; and its end.
"""
import os

import pytest
from lab.pasta import Daemon, Process, box, connects, listening, mounted, program
from lab.topology import HOST4, HOST6
from lab.wait import until

PODMAN = ["--config-net", "--dns-forward", "169.254.1.1", "-t", "none", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw", "--quiet"]


# Ways to name it.


def test_process(net, container, daemon):
    daemon("--config-net", "-q", container.pid)
    assert f"{HOST4}/24" in container.addresses("eth0") and f"{HOST6}/64" in container.addresses("eth0")
    connects(net, container)


def test_process_as_an_ordinary_user(net, tmp_path, tun):
    """Nothing but the namespace itself is at our disposal: it is a child of our own user namespace."""
    script = "unshare -U -r -n sleep 1000 & until grep -qx sleep /proc/$!/comm; do sleep 0.01; done\n" \
             '"$1" -q --config-net --pid "$2" $! && nsenter -U -n --preserve-credentials -t $! ip -o address show dev eth0\n' \
             'kill $(cat "$2"); kill $!'
    user = ["unshare", "-U", "--map-user=1000", "--map-group=1000", "--"]
    done = net.host.run(*user, "sh", "-c", script, "sh", program(tmp_path), tmp_path / "pid")
    assert f"{HOST4}/24" in done.stdout, done.stderr


def test_process_where_proc_has_other_numbers(net, tmp_path, tun):
    """A PID is one of ours, also in a PID namespace that still sees the /proc of the one above."""
    inside = 'touch "$1"; until ip -o address show dev eth0 2>/dev/null | grep " inet "; do sleep 0.01; done'
    script = f"unshare -n sh -c '{inside}' sh \"$2\" & until [ -e \"$2\" ]; do sleep 0.01; done\n" \
             '"$1" -q --config-net $! || kill $!; wait $!'
    done = net.host.run("unshare", "-pf", "--", "sh", "-c", script, "sh", program(tmp_path), tmp_path / "ready")
    assert f"{HOST4}/24" in done.stdout, done.stderr


def test_path(net, plain, daemon, tmp_path):
    path = mounted(net.host, plain, tmp_path / "netns")
    d = daemon(*PODMAN, "--netns", path, "--map-guest-addr", "169.254.1.2")
    assert d.done.stdout == "" and d.done.stderr == ""
    assert {f"{HOST4}/24", f"{HOST6}/64"} == set(plain.addresses("eth0"))
    assert "tentative" not in plain.ip("address")
    connects(net, plain)
    net.host.run("umount", path)
    path.unlink()
    until(d.gone, "end with the path")


def test_path_of_a_process(net, plain, daemon):
    """Nothing tells that a file of procfs is gone."""
    b = box(net.host, user=False)
    d = daemon(*PODMAN, "--netns", f"/proc/{b.pid}/ns/net")
    connects(net, b)
    b.close()
    until(d.gone, "end with the process")


def test_name(net, plain, daemon):
    net.host.run("mount", "-t", "tmpfs", "none", "/run")
    try:
        net.host.run("ip", "netns", "attach", "box", plain.pid)
        d = daemon(*PODMAN, "--netns", "box")
        connects(net, plain)
        net.host.run("ip", "netns", "delete", "box")
        until(d.gone, "end with the name")
    finally:
        net.host.run("umount", "-R", "/run", check=False)


def test_pid_file_in_place(net, plain, daemon, tmp_path):
    """A client may give the path of a descriptor: the file is written where it is."""
    d = daemon(*PODMAN, "--netns", f"/proc/{plain.pid}/ns/net")
    first, inode = d.pid, os.stat(d.pid_file).st_ino
    d.close()
    again = Daemon(net.host, os.path.dirname(d.pid_file), *PODMAN, "--netns", f"/proc/{plain.pid}/ns/net")
    assert again.pid != first and os.stat(d.pid_file).st_ino == inode
    again.close()


# Its end.


def test_end_of_the_process(net, daemon, tun):
    """By itself, and the ports are free again."""
    b = box(net.host)
    d = daemon("--config-net", "-q", "-t", "8080", "-u", "8080", "-T", "none", "-U", "none", b.pid)
    assert listening(net.host, 8080) and listening(net.host, 8080, udp=True)
    b.close()
    until(d.gone, "end with the process")
    assert not listening(net.host, 8080) and not listening(net.host, 8080, udp=True)


def test_no_netns_quit(net, daemon, tmp_path, tun):
    b = box(net.host, user=False)
    path = mounted(net.host, b, tmp_path / "netns")
    d = daemon(*PODMAN, "--no-netns-quit", "--netns", path)
    net.host.run("umount", path)
    path.unlink()
    b.close()
    with pytest.raises(AssertionError):
        until(d.gone, "must not end", limit=2)


def test_terminated(net, container, tmp_path):
    p = Process(net.host, str(tmp_path), "-f", "--config-net", "--pid", tmp_path / "pid", container.pid)
    p.wait_pid_file(tmp_path / "pid")
    assert "eth0" in container.ip("link")
    assert p.stop() == 0
    until(lambda: container.run("ip", "link", "show", "eth0", check=False).returncode, "interface is gone")


def test_namespace_outlives_and_can_be_joined_again(net, container, daemon):
    for _ in range(3):
        d = daemon("--config-net", "-q", container.pid)
        connects(net, container)
        d.close()


def test_two_namespaces_side_by_side(net, daemon, tun):
    boxes = [box(net.host) for _ in range(2)]
    for b, port in zip(boxes, (8081, 8082)):
        daemon("--config-net", "-q", "-t", port, "-u", "none", "-T", "none", "-U", "none", b.pid)
    for b, port in zip(boxes, (8081, 8082)):
        with b.listen(HOST4, port) as server, net.remote.connect(HOST4, port):
            server.accept()[0].close()
        connects(net, b)
        b.close()


# Failures.


def test_port_in_use_is_an_error_of_the_parent(net, container, daemon):
    with net.host.listen("0.0.0.0", 8099):
        d = daemon("--config-net", "-q", "-t", "8099", container.pid, check=False)
    assert d.done.returncode == 1 and "Listen failed for HOST TCP port" in d.done.stderr and "Address already in use" in d.done.stderr
    assert container.run("ip", "link", "show", "eth0", check=False).returncode, "interface left behind"


def test_interface_name_in_use(net, container, daemon):
    container.ip("link", "add", "eth0", "type", "veth", "peer", "name", "other")
    d = daemon("--config-net", "-q", container.pid, check=False)
    assert d.done.returncode == 1 and "eth0" in d.done.stderr
