# SPDX-License-Identifier: MIT
"""
What goes wrong around pasta, and must not go wrong in it: ports that are taken, an interface that changes under it, kernels that refuse.
"""
import contextlib

import pytest
from lab import servers
from lab import pasta as lab_pasta
from lab.control import Control
from lab.pasta import wait_closed, wait_listening
from lab.program import assert_idle, descriptors_left
from lab.topology import GW4, HOST4, REMOTE4, Topology
from lab.wait import until

NONE = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
AUTO_UDP = ["--config-net", "-t", "none", "-u", "auto", "-T", "none", "-U", "none"]


def question(client, to, server):
    """A datagram there and back."""
    client.sendto(b"question", to)
    data, peer = server.recvfrom(100)
    assert data == b"question"
    server.sendto(b"answer", peer)
    data, sender = client.recvfrom(100)
    assert data == b"answer" and sender == to


# Shortage.


@pytest.mark.parametrize("direction", ["in", "out"])
def test_many_clients_at_once(net, pasta, direction):
    """More than there are sockets in stock: all are answered, without asking twice."""
    p = pasta("--splice-only", "-t", "none", "-u", "8080", "-T", "none", "-U", "8081")
    there, here, port = (p.ns, net.host, 8080) if direction == "in" else (net.host, p.ns, 8081)
    with there.udp("127.0.0.1", port) as server:
        server.settimeout(20)
        clients = [here.udp("127.0.0.1") for _ in range(150)]
        for i, c in enumerate(clients):
            c.sendto(b"%d" % i, ("127.0.0.1", port))
        for _ in clients:
            data, peer = server.recvfrom(100)
            server.sendto(data + data, peer)
        for i, c in enumerate(clients):
            c.settimeout(20)
            assert c.recv(100) == b"%d%d" % (i, i)
            c.close()


def connection(ns, port, to="127.0.0.1"):
    """None: it was reset at once."""
    try:
        return ns.connect(to, port)
    except ConnectionResetError:
        return None


def served(s):
    """It gets through, if it was not reset."""
    try:
        s.sendall(b"word")
        return s.recv(4) == b"word"
    except (ConnectionResetError, BrokenPipeError):
        return False


@pytest.mark.parametrize("left", [0, 1, 4, 45])
@pytest.mark.parametrize("direction", ["in", "out"])
def test_no_descriptors(net, pasta, tmp_path, direction, left):
    """Connections that can't be taken wait; nobody spins meanwhile, and all is well afterwards, in the other direction as well."""
    p = pasta("--splice-only", "-t", "8080", "-u", "none", "-T", "8081", "-U", "none", "-c", tmp_path / "control")
    ends = {"in": (p.ns, net.host, 8080), "out": (net.host, p.ns, 8081)}
    _, here, port = ends[direction]
    with contextlib.ExitStack() as stack:
        for there, _, at in ends.values():
            stack.callback(servers.tcp_echo(there.listen("127.0.0.1", at)).close)
        with descriptors_left(p, left):
            clients = [c for c in (connection(here, port) for _ in range(60)) if c]
            for c in clients:
                stack.enter_context(c)
            control = stack.enter_context(Control(tmp_path / "control"))
            control.send({"do": "hello"})
            assert_idle(p)
            p.says("connections have to wait: Too many open files")
        assert control.recv()["ok"]
        # While it rests, a second each time, nobody is turned away; who was let in and waits for a socket is after ten.
        got = [served(c) for c in clients]
        assert got.count(True) >= (58 if direction == "in" else 40), got
        for _, here, port in ends.values():
            assert served(stack.enter_context(here.connect("127.0.0.1", port)))


def test_all_ports_and_few_descriptors(net, pasta):
    """As many as possible, with a warning, and as many for one direction as for the other; connections find descriptors as well."""
    p = pasta("--config-net", "-t", "all,~110-119", "-T", "all,~80-89", "-u", "none", "-U", "none", prefix=["prlimit", "--nofile=700:700", "--"])
    p.says("The limit of open files leaves 175 ports to each specifier")
    p.says("Listen failed for HOST TCP port */186-32767: Too many open files")
    p.says("Listen failed for SPLICE TCP port */186-32767: Too many open files")
    for there, here, to in (p.ns, net.host, "127.0.0.1"), (p.ns, net.remote, HOST4), (net.host, p.ns, "127.0.0.1"):
        port = 80 if there == p.ns else 110
        with contextlib.ExitStack() as stack:
            stack.callback(servers.tcp_echo(there.listen("0.0.0.0", port)).close)
            clients = [c for c in (connection(here, port, to) for _ in range(40)) if c]
            for c in clients:
                stack.enter_context(c)
            assert [served(c) for c in clients].count(True) >= 30


def test_more_connections_than_there_may_be(net, pasta):
    """Those that are too many wait for their turn."""
    p = pasta("--splice-only", "-t", "8080", "-u", "none", "-T", "none", "-U", "none", prefix=["prlimit", "--nofile=700:700", "--"])
    with contextlib.closing(servers.tcp_echo(p.ns.listen("127.0.0.1", 8080))):
        clients = [c for c in (connection(net.host, 8080) for _ in range(250)) if c]
        p.says("connections have to wait")
        answered = 0
        for c in clients:
            c.settimeout(20)
            answered += served(c)
            c.close()
        assert answered >= 235  # each time that it is full costs one


# Ports that nobody listens on.


@pytest.mark.parametrize("loopback", ["127.0.0.1", "127.0.0.5", "::1"])
def test_datagram_that_nobody_wants(net, pasta, loopback):
    """Its sender is told as by the host itself, again and again, and somebody who comes is found."""
    p = pasta("--splice-only", "-t", "none", "-u", "none", "-T", "none", "-U", "7001,7002:7003")
    for port, there in (7001, 7001), (7002, 7003):
        with p.ns.udp(loopback) as s:
            s.connect((loopback, port))
            for _ in range(3):
                s.send(b"question")
                with pytest.raises(ConnectionRefusedError):
                    s.recv(100)
            with net.host.udp(loopback, there) as service:
                s.send(b"question")
                data, peer = service.recvfrom(100)
                service.sendto(data, peer)
                assert s.recv(100) == b"question"


# Ports that are the same on both ends.


@pytest.mark.parametrize("to", ["192.0.2.77", "192.0.2.78"], ids=["address", "loopback"])
def test_from_and_to_one_port_of_the_host(net, pasta, to):
    """Nobody is there: an error, not an echo, and whoever comes can have the port."""
    p = pasta("--config-net", *NONE, "--map-guest-addr", "192.0.2.77", "--map-host-loopback", "192.0.2.78")
    with p.ns.udp("0.0.0.0", 7000) as s:
        s.connect((to, 7000))
        s.send(b"hello")
        with pytest.raises(ConnectionRefusedError):
            s.recv(100)
        with net.host.udp("0.0.0.0", 7000) as service:
            s.send(b"question")
            data, peer = service.recvfrom(100)
            assert data == b"question"
            service.sendto(b"answer", peer)
            assert s.recv(100) == b"answer"


# Automatic ports of datagrams.


def test_addresses_of_an_automatic_port(net, pasta):
    """Of many on loopback, the one that was written to answers, and from the first datagram on it is one and the same client."""
    p = pasta(*AUTO_UDP)
    with p.ns.udp("0.0.0.0", 7311) as server, net.host.udp("127.0.0.1") as client:
        wait_listening(net.host, 7311, udp=True)
        peers = set()
        for _ in range(3):
            client.sendto(b"question", ("127.0.0.5", 7311))
            peers.add(server.recvfrom(100)[1])
        assert len(peers) == 1
        server.sendto(b"answer", peers.pop())
        assert client.recvfrom(100) == (b"answer", ("127.0.0.5", 7311))


def test_service_that_starts_again(net, pasta):
    """What a peer has sent does not hold the port when the service has gone; and it is there again when the service is."""
    p = pasta(*AUTO_UDP)
    with net.remote.udp("0.0.0.0") as client:
        for _ in range(3):
            with p.ns.udp("0.0.0.0", 7777) as server:
                wait_listening(net.host, 7777, udp=True)
                question(client, (HOST4, 7777), server)
            wait_closed(net.host, 7777, udp=True)
            assert not net.host.run("ss", "-Hnu", "state", "established", "sport = :7777").stdout
            net.host.udp("0.0.0.0", 7777).close()


def test_service_that_sends_first(net, pasta):
    """It has the port on the host already, for one peer, when the port is to be opened for all."""
    p = pasta(*AUTO_UDP)
    with p.ns.udp("0.0.0.0", 7778) as server, net.remote.udp(REMOTE4) as early, net.remote.udp("0.0.0.0") as late:
        for _ in range(3):
            server.sendto(b"hello", early.getsockname())
            data, peer = early.recvfrom(100)
            assert data == b"hello"
        wait_listening(net.host, 7778, udp=True)
        question(late, (HOST4, 7778), server)
        server.sendto(b"again", early.getsockname())
        data, peer = early.recvfrom(100)
        assert data == b"again" and peer == (HOST4, 7778)
        question(early, (HOST4, 7778), server)


def test_host_changes_its_address(tmp_path, tun):
    """A program that goes on with its peer is heard again, from the new address."""
    t = Topology(str(tmp_path))
    try:
        p = lab_pasta.Pasta(t.host, str(tmp_path), "--config-net", *NONE)
        try:
            with p.ns.udp("0.0.0.0", 5555) as inside, t.remote.udp(REMOTE4) as outside:
                talk_across_change(t.host, inside, outside)
        finally:
            p.close()
    finally:
        t.close()


def talk_across_change(host, inside, outside):
    inside.sendto(b"before", outside.getsockname())
    assert outside.recvfrom(100) == (b"before", (HOST4, 5555))
    host.ip("address", "flush", "dev", "eth0")
    host.ip("address", "add", "192.0.2.99/24", "dev", "eth0")
    host.ip("route", "add", "default", "via", GW4)
    outside.settimeout(0.1)
    peer = until(lambda: heard(inside, outside), "a datagram from the new address")
    assert peer == ("192.0.2.99", 5555)
    outside.sendto(b"answer", peer)
    assert inside.recv(100) == b"answer"


def heard(inside, outside):
    """Says something, and who was heard saying that."""
    inside.sendto(b"after", outside.getsockname())
    try:
        return outside.recvfrom(100)[1]
    except TimeoutError:
        return None


# The interface.


def take(s, size):
    """So many bytes."""
    got = 0
    while got < size:
        data = s.recv(size - got)
        assert data, f"an end after {got} bytes"
        got += len(data)


def exchange(p, listener, size=300000):
    """Some data each way through a new connection, which is given back."""
    client = p.ns.connect(*listener.getsockname())
    server, _ = listener.accept()
    for a, b in (client, server), (server, client):
        a.settimeout(20)
        a.sendall(bytes(size))
        take(b, size)
    return client, server


def test_kernel_without_offloads(net, tmp_path, tun):
    """Frames are plain then, and that is said once."""
    argv = ["strace", "-f", "-qq", "-o", tmp_path / "trace", "-e", "trace=ioctl", "-e", "inject=ioctl:error=EINVAL:when=1",
            lab_pasta.program(tmp_path), "--config-net", "--no-handover", *NONE, "--", "ip", "-d", "link", "show", "eth0"]
    done = net.host.run(*argv)
    with open(tmp_path / "trace", encoding="ascii") as f:
        assert "TUNSETIFF" in f.read()
    assert done.stderr.count("The kernel has no offloads for tap devices") == 1
    assert "vnet_hdr off" in done.stdout


@pytest.mark.parametrize("argv, calls", [(["--", "true"], 1), (["--splice-only", "--", "true"], 0)])
def test_device_goes_with_the_namespace_of_the_command(net, tmp_path, tun, argv, calls):
    """Nobody waits until the kernel has taken the device apart, which takes longer than all the rest of such a run."""
    net.host.run("strace", "-f", "-qq", "-o", tmp_path / "trace", "-e", "trace=ioctl",
                 lab_pasta.program(tmp_path), "--config-net", *NONE, *argv)
    with open(tmp_path / "trace", encoding="ascii") as f:
        assert f.read().count("TUNSETPERSIST, 0x1)") == calls


def test_interface_down_and_up(net, pasta):
    """While it is down, what is on its way waits, and nobody is busy with it; then it arrives."""
    p = pasta("--config-net", *NONE)
    with net.remote.listen(REMOTE4) as listener:
        client, server = exchange(p, listener)
        route = p.ns.ip("route", "show", "default").split()
        p.ns.ip("link", "set", "eth0", "down")
        server.sendall(bytes(1000000))
        assert_idle(p, share=0.1, wakeups=50)
        p.ns.ip("link", "set", "eth0", "up")
        p.ns.ip("route", "replace", "default", "dev", "eth0")
        take(client, 1000000)
        for s in *exchange(p, listener), client, server:
            s.close()


@pytest.mark.parametrize("change", [("mtu", "576"), ("mtu", "65520"), ("address", "02:11:22:33:44:55"), ("txqueuelen", "1"), ("promisc", "on")],
                         ids=" ".join)
def test_interface_changes(net, pasta, change):
    """From inside, without us being asked: both ways go on, for connections from there and to there."""
    p = pasta("--config-net", "-t", "9003", *NONE[2:])
    with net.remote.listen(REMOTE4) as listener, p.ns.listen("0.0.0.0", 9003) as inside:
        old = exchange(p, listener)
        p.ns.ip("link", "set", "eth0", *change)
        # This comes first: whoever has a new MAC is found though no frame of it was seen.
        with net.remote.connect(HOST4, 9003) as client, inside.accept()[0] as server:
            client.sendall(bytes(100000))
            take(server, 100000)
        new = exchange(p, listener)
        old[1].sendall(bytes(100000))
        take(old[0], 100000)
        for s in *new, *old:
            s.close()


def test_interface_removed_by_the_command(net, pasta, tmp_path):
    """It still has its exit status, and the ports on loopback."""
    p = pasta("--config-net", "--host-lo-to-ns-lo", "-t", "9004", *NONE[2:])
    with p.ns.listen("127.0.0.1", 9004) as inside, net.remote.listen(REMOTE4) as outside, net.remote.udp(REMOTE4) as udp:
        client, server = exchange(p, outside)
        with p.ns.udp("0.0.0.0") as s:
            s.sendto(b"word", udp.getsockname())
            peer = udp.recvfrom(100)[1]
        p.ns.ip("link", "delete", "eth0")
        p.says("goes on without a network interface")
        udp.sendto(b"answer", peer)
        server.sendall(bytes(100000))
        with net.host.connect("127.0.0.1", 9004) as c, inside.accept()[0] as s:
            c.sendall(b"word")
            take(s, 4)
        assert_idle(p, share=0.1, wakeups=50)
        client.close()
        server.close()
    argv = [lab_pasta.program(tmp_path), "-q", "--config-net", *NONE, "--", "sh", "-c", "ip link delete eth0; exit 7"]
    assert net.host.run(*argv, check=False).returncode == 7


def test_interface_removed_in_a_namespace_of_others(net, container, daemon):
    """Without it there is nothing to do."""
    d = daemon("--config-net", "-q", *NONE, container.pid)
    container.ip("link", "delete", "eth0")
    until(d.gone, "end with the interface")


ODD_FRAMES = r"""
import random, socket, struct
r = random.Random(1)
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.bind(("eth0", 0))
s.setsockopt(263, 15, 1)  # SOL_PACKET, PACKET_VNET_HDR
mac, taken = s.getsockname()[4], 0
for _ in range(20000):
    proto, n = r.choice((1, 6, 6, 17, 17, 47, 58)), r.choice((0, 1, 7, 100, 1400, 9000, 40000))
    if proto == 6:
        l4 = struct.pack("!HHIIBBHHH", 1000, 9, 1, 1, r.choice((0x50, 0x60, 0xf0, 0x10)), r.choice((2, 4, 0x10, 0x18, 0xff)), 65535, 0, 5)
    else:
        l4 = struct.pack("!HHHH", 1000, r.choice((9, 53, 67, 547)), r.choice((8 + n, 0, 7, 8, 65535)), 0)
    total = r.choice((20 + len(l4) + n,) * 3 + (0, 20, 65535))
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, total & 0xffff, 1, 0, 64, proto, 0, bytes((192, 0, 2, 2)), bytes((198, 51, 100, 1)))
    frame = bytes.fromhex("9a559a559a55") + mac + r.choice((b"", b"", b"\x81\0\0\5")) + b"\x08\0" + ip + l4 + bytes(n)
    if r.random() < 0.1:
        frame = frame[:r.randrange(14, len(frame))]
    flags, gso = r.choice(((0, 0), (0, 0), (1, 0), (1, 1), (1, 4), (1, 5), (1, 0x81), (0, 3), (2, 0), (255, 7)))
    start, offset = r.choice(((34, 16), (34, 6), (34, 6), (0, 0), (65535, 6), (34, 65535)))
    try:
        s.send(struct.pack("=BBHHHH", flags, gso, r.choice((0, 14, 42, 54, 65535)), r.choice((0, 1, 536, 1448, 65535)), start, offset) + frame)
        taken += 1
    except OSError:
        pass
print(taken)
"""


def test_odd_frames(net, pasta):
    """Root in the namespace writes what it likes, offload headers included. The kernel refuses much of it; the rest must do no harm."""
    p = pasta("--config-net", *NONE)
    assert int(p.ns.run(lab_pasta.netns.PYTHON, "-c", ODD_FRAMES).stdout) > 1000
    with net.remote.listen(REMOTE4) as listener:
        for s in exchange(p, listener):
            s.close()
