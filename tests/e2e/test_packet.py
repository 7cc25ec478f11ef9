# SPDX-License-Identifier: MIT
"""
One frame a message: what comes over sequenced packets and datagrams, and who is heard.

    guest (scapy) ---SOCK_SEQPACKET or SOCK_DGRAM--- passt in "host" ---veth--- "remote" (topology.py)
"""
import os
import socket
import subprocess

import pytest
from lab.guest import PacketGuest, Tcp
from lab.program import assert_asleep, binary
from lab.topology import HOST4, REMOTE4, REMOTE6
from lab.wait import LIMIT, until

KINDS = pytest.mark.parametrize("kind", ["seqpacket", "dgram"])


def come(passt, kind, name="guest"):
    """A guest on the program's socket."""
    own = os.path.join(os.path.dirname(passt.socket_path), name)
    if kind == "dgram" and os.path.exists(own):
        os.unlink(own)
    g = PacketGuest(passt.socket_path, own if kind == "dgram" else None)
    g.announce()
    return g


def work(net, guest, remote=REMOTE4):
    """Bytes both ways, and as many as take many messages."""
    with net.remote.listen(remote) as server:
        t = Tcp(guest, remote, server.getsockname()[1])
        t.connect()
        with server.accept()[0] as conn:
            t.send("PA", b"question")
            assert conn.recv(8, socket.MSG_WAITALL) == b"question"
            conn.sendall(bytes(200_000))
            assert t.recv(200_000) == bytes(200_000)


@KINDS
@pytest.mark.parametrize("remote", [REMOTE4, REMOTE6], ids=["v4", "v6"])
def test_tcp(net, start, kind, remote):
    passt = start("--socket-type", kind)
    guest = come(passt, kind)
    work(net, guest, remote)
    guest.close()


@KINDS
def test_the_next_guest(net, start, kind):
    """It comes when the one before has gone, which nobody has to say; by the same name or another one."""
    passt = start("--socket-type", kind)
    for i in range(3):
        guest = come(passt, kind, f"guest{i // 2}")
        work(net, guest)
        guest.close()
        until(lambda n=i: passt.output().count("Client connection closed") == n + 1, "the end is seen")


@KINDS
def test_bad_messages(net, start, kind):
    passt = start("--socket-type", kind)
    guest = come(passt, kind)
    for bad in b"", b"x", b"x" * 13, b"VFKT", b"\xff" * 65536, b"\xff" * 70000, b"\0" * 14:
        guest.send_raw(bad)
    guest.barrier()
    work(net, guest)
    guest.close()


def test_datagrams_of_others(net, start):
    """They are refused while there is a guest; those who can't be answered are no guests."""
    passt = start("--socket-type", "dgram")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless:
        nameless.connect(passt.socket_path)
        nameless.send(bytes(60))
        guest = come(passt, "dgram")
        with pytest.raises(PermissionError):
            nameless.send(bytes(60))
    work(net, guest)
    guest.close()
    assert "Can't answer a guest" in passt.output()


@pytest.mark.parametrize("kind", [socket.SOCK_SEQPACKET, socket.SOCK_DGRAM])
def test_descriptor(net, kind, tmp_path):
    """What kind of socket it is need not be said."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with theirs, ours:
        with net.host.popen(binary(), "-f", "--fd", theirs.fileno(), pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL) as p:
            theirs.close()
            guest = PacketGuest(ours)
            guest.announce()
            work(net, guest)
            if kind == socket.SOCK_DGRAM:
                p.terminate()
            guest.close()
            assert p.wait(LIMIT) == 0


def test_idle(net, start):
    """One look a second for the guest that sends datagrams, and nothing else."""
    passt = start("--socket-type", "dgram", "--no-ra")
    guest = come(passt, "dgram")
    assert_asleep(passt, wakeups=10)
    guest.close()


def run(*words):
    return subprocess.run([binary(), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False)


def test_options():
    assert "Invalid socket type: tcp (--socket-type)" in run("--socket-type", "tcp").stderr
    assert "--vhost-user takes a stream socket" in run("--socket-type", "dgram", "--vhost-user").stderr
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        done = subprocess.run([binary(), "--socket-type", "stream", "--fd", str(theirs.fileno())], pass_fds=[theirs.fileno()],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 1 and "is not a socket of the right type (--fd)" in done.stderr
