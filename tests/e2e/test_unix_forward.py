# SPDX-License-Identifier: MIT
"""
Forwards of UNIX sockets: those of the host that lead to a port of the guest, and ports of a namespace that lead to one of the host.

    client ---UNIX--- pasta ---TCP--- server in its namespace        client in the namespace ---TCP--- pasta ---UNIX--- server
    client ---UNIX--- passt ---frames--- guest (scapy)
"""
import contextlib
import os
import pathlib
import socket
import stat
import subprocess
import threading

import pytest
from lab.control import Control, step
from lab.guest import Guest, Tcp
from lab.program import binary
from lab.streams import drain, send_all, told
from lab.topology import GW4
from lab.wait import until
from scapy.layers.inet import TCP

PESTO = pathlib.Path(binary()).parent / "pesto"
NONE = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
MUCH = 9 << 20  # more than fits anywhere on the way


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(str(path))
    return s


def listen(path):
    s = socket.socket(socket.AF_UNIX)
    s.bind(str(path))
    s.listen(64)
    s.settimeout(20)
    return s


@pytest.fixture
def sock(tmp_path):
    return tmp_path / "forward.sock"


@pytest.fixture(params=["in", "out"])
def ends(request, net, pasta, sock):
    """connect() -> (client, server): the two sockets that pasta stands between; .unix is which of them is a UNIX socket."""
    inwards = request.param == "in"
    if inwards:
        p = pasta("--splice-only", *NONE, "-t", f"{sock}:8080")
        listener = p.ns.listen("127.0.0.1", 8080)
    else:
        listener = listen(sock)
        p = pasta("--splice-only", "-t", "none", "-u", "none", "-U", "none", "-T", f"8081:{sock}")
    made = [listener]

    def pair():
        client = connect(sock) if inwards else p.ns.connect("127.0.0.1", 8081)
        server, _ = listener.accept()
        server.settimeout(20)
        made.extend((client, server))
        return client, server

    pair.pasta, pair.inwards = p, inwards
    yield pair
    for s in made:
        s.close()


def settled(ends):
    until(lambda: ends.pasta.fds() < 200, "no descriptors are left")


def test_both_directions_at_once(ends):
    client, server = ends()
    blobs = os.urandom(MUCH), os.urandom(MUCH)
    got = {}
    work = [threading.Thread(target=send_all, args=(s, b)) for s, b in zip((client, server), blobs)]
    work += [threading.Thread(target=lambda s=s, k=k: got.__setitem__(k, drain(s))) for k, s in enumerate((server, client))]
    for t in work:
        t.start()
    for t in work:
        t.join(60)
    assert got == {0: told(blobs[0]), 1: told(blobs[1])}


@pytest.mark.parametrize("first", ["client", "server"])
def test_half_close(ends, first):
    """One side has said all; the other goes on, for words and for more than fits anywhere."""
    pair = ends()
    closes, goes_on = pair if first == "client" else pair[::-1]
    closes.sendall(b"last words")
    closes.shutdown(socket.SHUT_WR)
    assert drain(goes_on)[0] == 10
    for i in range(5):
        goes_on.sendall(b"%d" % i)
        assert closes.recv(10) == b"%d" % i
    blob = os.urandom(MUCH)
    t = threading.Thread(target=send_all, args=(goes_on, blob))
    t.start()
    assert drain(closes) == told(blob)
    t.join(60)


@pytest.mark.parametrize("who", ["client", "server"])
def test_data_before_the_end_is_not_lost(ends, who):
    """Of one who writes and goes at once, however soon."""
    blob = os.urandom(100000)
    for _ in range(20):
        pair = ends()
        goes, other = pair if who == "client" else pair[::-1]
        t = threading.Thread(target=lambda s=goes: (s.sendall(blob), s.close()))
        t.start()
        assert drain(other) == told(blob)
        t.join(20)
        other.close()
    settled(ends)


@pytest.mark.parametrize("who", ["client", "server"])
def test_somebody_is_gone(ends, who):
    """One who goes without reading what came is a reset for the other."""
    pair = ends()
    goes, other = pair if who == "client" else pair[::-1]
    other.sendall(b"nobody reads this")
    until(lambda: goes.recv(100, socket.MSG_PEEK), "data is there")
    goes.close()
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        until(lambda: other.send(b"x") and False, "reset")
    settled(ends)


def test_urgent_data_is_data(ends):
    """To where there is nothing urgent it goes like any other."""
    if ends.inwards:
        client, server = ends()[::-1]
    else:
        client, server = ends()
    client.sendall(b"before")
    client.send(b"!", socket.MSG_OOB)
    client.sendall(b"behind")
    client.shutdown(socket.SHUT_WR)
    got = b""
    while more := server.recv(100):
        got += more
    assert got == b"before!behind"


def test_refused_in_the_namespace(pasta, sock):
    """Nobody listens there: the client sees the end, at once."""
    pasta("--splice-only", *NONE, "-t", f"{sock}:8080")
    with connect(sock) as s:
        assert s.recv(1) == b""


def test_nobody_listens_on_the_host(pasta, sock):
    """No such socket: a reset. As soon as there is one, and again after it was replaced, connections get there."""
    p = pasta("--splice-only", "-t", "none", "-u", "none", "-U", "none", "-T", f"8081:{sock}")
    # It may come before connect() has seen that there is a connection.
    with pytest.raises(ConnectionResetError), p.ns.connect("127.0.0.1", 8081) as s:
        s.recv(1)
        raise AssertionError("an end of file instead")
    for word in b"one", b"two":
        with listen(sock) as server, p.ns.connect("127.0.0.1", 8081) as s:
            conn, _ = server.accept()
            with conn:
                conn.sendall(word)
                assert s.recv(3) == word
        sock.unlink()


def test_many_at_once(pasta, sock):
    """More than a server lets wait: they do so elsewhere, and none is lost."""
    p = pasta("--splice-only", "-t", "none", "-u", "none", "-U", "none", "-T", f"8081:{sock}")
    with listen(sock) as server, contextlib.ExitStack() as stack:
        server.listen(0)
        stack.enter_context(connect(sock))  # all that there is room for
        clients = [stack.enter_context(p.ns.connect("127.0.0.1", 8081)) for _ in range(20)]
        for i, s in enumerate(clients):
            s.sendall(b"%02d" % i)
        conns = [stack.enter_context(server.accept()[0]) for _ in range(len(clients) + 1)]
        for conn in conns[1:]:
            word = conn.recv(2)
            conn.sendall(word)
            assert clients[int(word)].recv(2) == word


def test_with_an_interface(net, pasta, sock):
    """Into the namespace it goes to the address of the namespace, as what comes to loopback does."""
    p = pasta("--config-net", *NONE, "-t", f"{sock}:8080", "--no-splice")
    address = p.ns.addresses("eth0")[0].partition("/")[0]
    with p.ns.listen(address, 8080) as server, connect(sock) as s:
        conn, _ = server.accept()
        with conn:
            s.sendall(b"question")
            assert conn.recv(8) == b"question"
            conn.sendall(b"answer")
            assert s.recv(6) == b"answer"


# The socket itself.


def test_the_socket_is_for_its_owner(start, sock):
    start("-t", f"{sock}:80")
    st = sock.stat()
    assert stat.S_ISSOCK(st.st_mode) and stat.S_IMODE(st.st_mode) == 0o600 and st.st_uid == os.getuid()


def test_a_stale_socket_is_replaced(start, sock):
    listen(sock).close()
    start("-t", f"{sock}:80")
    connect(sock).close()


def failed(start, *options):
    p = start(*options, wait=False)
    assert p.wait() == 1
    return p.output()


def test_one_that_is_alive_is_left_alone(start, sock):
    with listen(sock) as server:
        assert f"Listen failed for HOST TCP port {sock}:80: Address already in use" in failed(start, "-t", f"{sock}:80")
        connect(sock).close()
        server.accept()[0].close()


def test_a_failed_start_leaves_no_socket(start, tmp_path, sock):
    failed(start, "-t", f"{sock}:80", "-t", f"{tmp_path}/none/such:80")
    assert not sock.exists()
    failed(start, "-t", f"{sock}:80", "-P", f"{tmp_path}/none/such")
    assert not sock.exists()


@pytest.mark.parametrize("options,why", [
    (["-t", "./x:80"], "the path of a UNIX socket has to begin at the root"),
    (["-t", "/tmp/" + "x" * 110 + ":80"], "the path of a UNIX socket has to be shorter than 108 bytes"),
    (["-t", "/tmp/x:80-81"], "a UNIX socket goes with one port"),
    (["-t", "/tmp/x"], "a UNIX socket goes with one port"),
    (["-t", "/tmp/x/:80"], "the path of a UNIX socket can't be that of a folder"),
    (["-u", "/tmp/x:80"], "a UNIX socket can be forwarded with TCP only"),
    (["-t", "80:/tmp/x"], "only ports of a namespace can lead to a UNIX socket"),
    (["-t", "/tmp/x:80", "-t", "/tmp/x:81"], "Forwarding configuration conflict: /tmp/x:81 versus /tmp/x:80"),
])
def test_what_makes_no_sense(start, options, why):
    assert why in failed(start, *options)


# passt.


@pytest.fixture
def guest_at(start, sock):
    p = start("-t", f"{sock}:8080", "-c", sock.parent / "control")
    g = Guest(p.socket_path)
    g.announce()
    yield g
    g.close()


def test_to_a_guest(guest_at, sock):
    """It sees a connection from the gateway, as from the host's loopback."""
    with connect(sock) as s:
        s.sendall(b"question")
        t = Tcp.accept(guest_at, 8080)
        assert t.dst == GW4
        assert t.recv(8) == b"question"
        t.send("PA", b"answer")
        assert s.recv(6) == b"answer"
        s.shutdown(socket.SHUT_WR)
        guest_at.expect(lambda p: TCP in p and p[TCP].flags.F, "FIN")
        t.send("PA", b"more")
        assert s.recv(4) == b"more"


def test_without_a_control_socket(start, sock):
    """Nothing will ask for other ports: what is then taken away is not missed."""
    p = start("-t", f"{sock}:8080")
    g = Guest(p.socket_path)
    g.announce()
    for _ in range(3):
        with connect(sock) as s:
            t = Tcp.accept(g, 8080)
            t.send("PA", b"hello")
            assert s.recv(5) == b"hello"
    g.close()


def test_a_guest_that_ends(guest_at, sock):
    with connect(sock) as s:
        t = Tcp.accept(guest_at, 8080)
        t.send("PA", b"word")
        t.send("FA")
        assert s.recv(100) == b"word" and s.recv(1) == b""


def test_two_connections_at_once(guest_at, sock):
    with connect(sock) as a, connect(sock) as b:
        first, second = Tcp.accept(guest_at, 8080), Tcp.accept(guest_at, 8080)
        assert first.dport != second.dport
        a.sendall(b"A")
        b.sendall(b"B")
        assert {first.recv(1), second.recv(1)} == {b"A", b"B"}


# While it runs.


def pesto(*args, check=0):
    done = subprocess.run([PESTO, *(str(a) for a in args)], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == check, done
    return done


def test_added_and_deleted_by_pesto(guest_at, tmp_path, sock):
    control, other = tmp_path / "control", tmp_path / "other.sock"
    pesto("-A", "-t", f"{other}:8081", control)
    assert f"TCP {other}:8081" in pesto(control).stdout and f"TCP {sock}:8080" in pesto(control).stdout
    assert stat.S_IMODE(other.stat().st_mode) == 0o600
    with connect(other) as s:
        t = Tcp.accept(guest_at, 8081)
        t.send("PA", b"hello")
        assert s.recv(5) == b"hello"
    assert pesto("-A", "-t", f"{other}:8082", control, check=1).stderr.startswith("Forwarding configuration conflict: ")
    pesto("-D", "-t", f"{other}:8081", control)
    assert not other.exists() and str(other) not in pesto(control).stdout
    # All that there is, once more: it stays as it is.
    pesto("-t", f"{sock}:8080", control)
    connect(sock).close()


def test_what_pesto_can_not_bind(guest_at, tmp_path):
    control, other = tmp_path / "control", tmp_path / "other.sock"
    with listen(other):
        done = pesto("-A", "-t", f"{other}:8081", control, check=1)
        assert done.stderr.splitlines() == [f"Listen failed for HOST TCP port {other}:8081: Address already in use", "Couldn't listen on requested ports"]
        connect(other).close()
    assert "Only one UNIX socket" in pesto("-A", "-t", f"{tmp_path}/a:1", "-t", f"{tmp_path}/b:2", control, check=1).stderr
    # Nor is a socket left that was made in vain.
    pesto("-A", "-t", f"{tmp_path}/c:1", "-t", "192.0.2.99/80", control, check=1)
    pesto("-A", "-t", f"{tmp_path}/d:1", tmp_path / "nobody", check=1)
    pesto("-A", "-t", f"{tmp_path}/e:1", "--no-such-option", control, check=1)
    assert not [name for name in "abcde" if (tmp_path / name).exists()]


def test_out_of_a_namespace_by_pesto(pasta, tmp_path, sock):
    p = pasta("--splice-only", *NONE, "-c", tmp_path / "control")
    with listen(sock) as server:
        pesto("-A", "-T", f"8081:{sock}", tmp_path / "control")
        assert f"TCP */8081:{sock}" in pesto(tmp_path / "control").stdout
        with p.ns.connect("127.0.0.1", 8081) as s:
            conn, _ = server.accept()
            with conn:
                conn.sendall(b"hello")
                assert s.recv(5) == b"hello"
        pesto("-D", "-T", f"*/8081:{sock}", tmp_path / "control")
        with pytest.raises(ConnectionRefusedError):
            p.ns.connect("127.0.0.1", 8081)


def test_port_that_leads_elsewhere_by_pesto(pasta, tmp_path):
    """From the host's port of that number to a UNIX socket, and to another one: it stays open, and what comes is for the new one."""
    p = pasta("--splice-only", *NONE[:4], "-T", "8081", "-U", "none", "-c", tmp_path / "control")
    for name in "first", "second":
        with listen(tmp_path / name) as server:
            pesto("-T", f"8081:{tmp_path / name}", tmp_path / "control")
            with p.ns.connect("127.0.0.1", 8081) as s:
                conn, _ = server.accept()
                with conn:
                    conn.sendall(name.encode())
                    assert s.recv(10) == name.encode()


def test_socket_that_leads_elsewhere_by_pesto(guest_at, tmp_path, sock):
    """To another port: it stays, and who waits there gets to the new one."""
    assert not pesto("-t", f"{sock}:8081", tmp_path / "control").stderr
    assert f"TCP {sock}:8081" in pesto(tmp_path / "control").stdout and "8080" not in pesto(tmp_path / "control").stdout
    with connect(sock) as s:
        t = Tcp.accept(guest_at, 8081)
        t.send("PA", b"hello")
        assert s.recv(5) == b"hello"
    # Back, together with what can't be had: all stays as it is now.
    pesto("-t", f"{sock}:8080", "-t", "192.0.2.99/80", tmp_path / "control", check=1)
    with connect(sock):
        Tcp.accept(guest_at, 8081)


def test_a_descriptor_that_is_something_else(guest_at, tmp_path):
    """The verdict is about the path of the rule: no socket, one elsewhere, or one that doesn't listen, is not that."""
    path = tmp_path / "mine.sock"
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(path))
    with Control(tmp_path / "control") as c, bound, listen(tmp_path / "elsewhere") as elsewhere, open(os.devnull, "rb") as null:
        for fds in [], [bound.fileno()], [elsewhere.fileno()], [null.fileno()]:
            reply = c.ask("change", fds=fds, steps=[step("add", f"{path}:8081")])
            assert not reply["ok"] and [(r["verdict"], r["errno"]) for r in reply["results"] if r["spec"].startswith(str(path))] == [("failed", "EBADF")]
        bound.listen()
        reply = c.ask("change", fds=[bound.fileno()], steps=[step("add", f"{path}:8081")])
        assert reply["ok"] and ("in", "tcp", f"{path}:8081", "bound") in c.specs()
