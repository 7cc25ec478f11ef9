# SPDX-License-Identifier: MIT
"""
pasta that joins namespaces of others: by process, path, name and descriptor; as its clients start it; and its end.
"""
import os
import subprocess

import pytest
from lab import netns
from lab.pasta import Daemon, Process, box, listening, program
from lab.program import assert_clean
from lab.topology import HOST4, HOST6, REMOTE4
from lab.wait import until

PODMAN = ["--config-net", "--dns-forward", "169.254.1.1", "-t", "none", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw", "--quiet"]


@pytest.fixture
def container(net, tun):
    """A network namespace in a user namespace of its own."""
    b = box(net.host)
    yield b
    b.close()


@pytest.fixture
def plain(net, tun):
    """A network namespace in the host's user namespace, as a manager has them that sits in one itself."""
    b = box(net.host, user=False)
    yield b
    b.close()


@pytest.fixture
def daemon(net, tmp_path):
    """daemon(*options): pasta in the background."""
    running = []

    def begin(*args, **kw):
        work = tmp_path / f"daemon{len(running)}"
        work.mkdir()
        running.append(Daemon(net.host, str(work), *args, **kw))
        return running[-1]

    yield begin
    for d in running:
        d.close()
        assert_clean(d.done.stderr)


def works(net, ns):
    """A connection out of the namespace."""
    with net.remote.listen(REMOTE4) as server, ns.connect(REMOTE4, server.getsockname()[1]) as s:
        s.sendall(b"out")
        conn, _ = server.accept()
        with conn:
            assert conn.recv(3) == b"out"


def mounted(host, ns, path):
    """Shows the network namespace as a file of the host namespace."""
    path.touch()
    host.run("mount", "--bind", f"/proc/{ns.pid}/ns/net", path)
    return path


# Ways to name it.


def test_process(net, container, daemon):
    daemon("--config-net", "-q", container.pid)
    assert f"{HOST4}/24" in container.addresses("eth0") and f"{HOST6}/64" in container.addresses("eth0")
    works(net, container)


def test_process_as_an_ordinary_user(net, tmp_path, tun):
    """Nothing but the namespace itself is at our disposal: it is a child of our own user namespace."""
    script = "unshare -U -r -n sleep 1000 & while ! ip netns identify $! >/dev/null 2>&1; do :; done; sleep 0.3\n" \
             '"$1" -q --config-net --pid "$2" $! && nsenter -U -n --preserve-credentials -t $! ip -o address show dev eth0\n' \
             'kill $(cat "$2"); kill $!'
    user = ["unshare", "-U", "--map-user=1000", "--map-group=1000", "--"]
    done = net.host.run(*user, "sh", "-c", script, "sh", program(tmp_path), tmp_path / "pid")
    assert f"{HOST4}/24" in done.stdout, done.stderr


def test_path(net, plain, daemon, tmp_path):
    path = mounted(net.host, plain, tmp_path / "netns")
    d = daemon(*PODMAN, "--netns", path, "--map-guest-addr", "169.254.1.2")
    assert d.done.stdout == "" and d.done.stderr == ""
    assert {f"{HOST4}/24", f"{HOST6}/64"} == set(plain.addresses("eth0"))
    assert "tentative" not in plain.ip("address")
    works(net, plain)
    net.host.run("umount", path)
    path.unlink()
    until(d.gone, "end with the path", limit=5)


def test_path_of_a_process(net, plain, daemon):
    """Nothing tells that a file of procfs is gone."""
    b = box(net.host, user=False)
    d = daemon(*PODMAN, "--netns", f"/proc/{b.pid}/ns/net")
    works(net, b)
    b.close()
    until(d.gone, "end with the process", limit=5)


def test_name(net, plain, daemon):
    net.host.run("mount", "-t", "tmpfs", "none", "/run")
    try:
        net.host.run("ip", "netns", "attach", "box", plain.pid)
        d = daemon(*PODMAN, "--netns", "box")
        works(net, plain)
        net.host.run("ip", "netns", "delete", "box")
        until(d.gone, "end with the name", limit=5)
    finally:
        net.host.run("umount", "-R", "/run", check=False)


def test_userns_and_netns_paths(net, container, daemon):
    daemon("--stderr", "--ns-ifname=tap0", "--mtu=65520", "--config-net", "--address=10.0.2.100", "--netmask=24", "--gateway=10.0.2.2",
           "--dns-forward=10.0.2.3", "--no-map-gw", "--ipv4-only", "--tcp-ports=auto", "--udp-ports=auto", "--host-lo-to-ns-lo",
           f"--userns=/proc/{container.pid}/ns/user", f"--netns=/proc/{container.pid}/ns/net")
    assert container.addresses("tap0") == ["10.0.2.100/24"]
    assert container.routes() == ["default via 10.0.2.2 dev tap0"] and container.routes("-6") == []
    assert "mtu 65520" in container.ip("link", "show", "tap0")
    works(net, container)


BUILD = ["--quiet", "--foreground", "--config-net", "--gateway", "169.254.1.1", "--address", "169.254.1.2", "--netmask", "16",
         "--dns-forward", "169.254.1.1", "--gateway", "64:ff9b:1:4b8e:472e:a5c8:a9fe:101", "--address", "64:ff9b:1:4b8e:472e:a5c8:a9fe:102",
         "--dns-forward", "64:ff9b:1:4b8e:472e:a5c8:a9fe:101", "--ns-ifname", "eth0", "--no-netns-quit"]


def test_namespaces_as_standard_descriptors(net, container, tmp_path):
    """A build sandbox: the network namespace as descriptor 0, the user namespace as 1."""
    net_fd, user_fd = (os.open(f"/proc/{container.pid}/ns/{n}", os.O_RDONLY) for n in ("net", "user"))
    p = Process(net.host, str(tmp_path), *BUILD, "--netns", "/proc/self/fd/0", "--userns", "/proc/self/fd/1", stdin=net_fd, stdout=user_fd,
                stderr=subprocess.PIPE)
    os.close(net_fd)
    os.close(user_fd)
    until(lambda: "state UNKNOWN" in container.run("ip", "link", "show", "eth0", check=False).stdout, "interface is up")
    assert set(container.addresses("eth0")) == {"169.254.1.2/16", "64:ff9b:1:4b8e:472e:a5c8:a9fe:102/64"}
    works(net, container)
    p.process.kill()
    said = p.process.stderr.read().decode()
    p.process.stderr.close()
    p.process.wait()
    p.ended = True
    assert "name server" in said and said.count("\n") == 1, "the one thing that is missing here is an IPv6 resolver"


def test_started_with_descriptors_on_null(net, container, tmp_path):
    """As a jail starts it, with its own DHCP turned off."""
    argv = ["-f", "-q", "--no-dhcp", "--no-dhcpv6", "--no-ra", "--config-net", "--no-map-gw", "-a", "10.255.255.2", "-n", "255.255.255.0",
            "-g", "10.255.255.1", "-4", "-I", "vs", "-t", "none", "-u", "none", "-T", "none", "-U", "none", container.pid]
    p = Process(net.host, str(tmp_path), *argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: "default" in str(container.routes()), "network is set up")
    assert container.addresses("vs") == ["10.255.255.2/24"]
    works(net, container)
    assert p.stop() == 0


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
    """Within a second, and the ports are free again."""
    b = box(net.host)
    d = daemon("--config-net", "-q", "-t", "8080", "-u", "8080", "-T", "none", "-U", "none", b.pid)
    assert listening(net.host, 8080) and listening(net.host, 8080, udp=True)
    b.close()
    until(d.gone, "end with the process", limit=2)
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
    p = Process(net.host, str(tmp_path), "-f", "--config-net", container.pid)
    until(lambda: container.run("ip", "link", "show", "eth0", check=False).returncode == 0, "interface")
    assert p.stop() == 0
    until(lambda: container.run("ip", "link", "show", "eth0", check=False).returncode, "interface is gone")


def test_namespace_outlives_and_can_be_joined_again(net, container, daemon):
    for _ in range(3):
        d = daemon("--config-net", "-q", container.pid)
        works(net, container)
        d.close()


def test_two_namespaces_side_by_side(net, daemon, tun):
    boxes = [box(net.host) for _ in range(2)]
    for b, port in zip(boxes, (8081, 8082)):
        daemon("--config-net", "-q", "-t", port, "-u", "none", "-T", "none", "-U", "none", b.pid)
    for b, port in zip(boxes, (8081, 8082)):
        with b.listen(HOST4, port) as server, net.remote.connect(HOST4, port):
            server.accept()[0].close()
        works(net, b)
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


def test_options_of_a_client_that_is_ahead(daemon, container):
    """What it is told is what it looks for before it tries again without the option."""
    d = daemon("--map-guest-addrs", "169.254.1.2", container.pid, check=False)
    assert d.done.returncode == 1 and "unrecognized option '--map-guest-addr" in d.done.stderr


def test_pid_file_on_a_descriptor(net, plain, tmp_path):
    script = ("import os, subprocess, sys\nfd = os.memfd_create('pid')\n"
              "subprocess.run(sys.argv[1:3] + ['--netns', sys.argv[3], '--config-net', '--pid', f'/proc/{os.getpid()}/fd/{fd}'], check=True)\n"
              "pid = int(os.pread(fd, 100, 0))\nos.kill(pid, 15)\nprint(pid)")
    done = net.host.run(netns.PYTHON, "-c", script, program(tmp_path), "--quiet", f"/proc/{plain.pid}/ns/net")
    assert int(done.stdout) > 0 and done.stderr == ""
