# SPDX-License-Identifier: MIT
"""
The UNIX socket: framing, connections that come and go.

    guest (scapy) ---socket--- passt in "host" (topology.py)
"""
import os
import random
import shutil
import socket
import struct

import pytest
from lab.guest import MAC, Guest, connect_again
from lab.program import Passt, binary
from lab.topology import GW4
from lab.wait import Timeout, until
from scapy.layers.l2 import ARP, Ether

REQUEST = bytes(Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=MAC, psrc="192.0.2.2", pdst=GW4))


def framed(frame):
    return struct.pack(">I", len(frame)) + frame


def expect_replies(guest, n):
    for _ in range(n):
        guest.expect(lambda p: ARP in p and p[ARP].op == 2, "ARP reply")


def test_frame_byte_by_byte(guest):
    for b in framed(REQUEST):
        guest.send_raw(bytes([b]))
    expect_replies(guest, 1)


def test_frames_split_at_every_place(guest):
    two = framed(REQUEST) * 2
    for at in range(1, len(two)):
        guest.send_raw(two[:at])
        guest.send_raw(two[at:])
        expect_replies(guest, 2)


def test_many_frames_in_one_write(guest):
    guest.send_raw(framed(REQUEST) * 500)
    expect_replies(guest, 500)


def test_frames_in_random_pieces(guest):
    rnd = random.Random(1)
    data = framed(REQUEST) * 200
    while data:
        n = rnd.randrange(1, 300)
        guest.send_raw(data[:n])
        data = data[n:]
    expect_replies(guest, 200)


def test_largest_frame(guest):
    frame = bytes(Ether(src=MAC, dst="9a:55:9a:55:9a:55", type=0x88B5)) + bytes(65535 - 14)
    guest.send_raw(framed(frame) + framed(REQUEST))
    expect_replies(guest, 1)


@pytest.mark.parametrize("length", [0, 1, 13, 65536, 0x7FFFFFFF, 0xFFFFFFFF])
def test_bad_length_resets_the_connection(passt, length):
    guest = Guest(passt.socket_path)
    guest.send_raw(struct.pack(">I", length))
    guest.wait_closed()
    again = Guest(passt.socket_path)
    again.announce()
    again.close()


def test_second_guest_is_turned_away(passt, guest):
    second = Guest(passt.socket_path)
    second.wait_closed()
    guest.announce()
    for what in "accepted", "discarding":
        assert f"{what} connection from PID {os.getpid()}\n" in passt.output()


def test_reconnect(passt):
    for _ in range(5):
        connect_again(passt).close()


def test_guest_that_leaves_in_the_middle_of_a_frame(passt):
    g = Guest(passt.socket_path)
    g.send_raw(framed(REQUEST)[:20])
    g.close()
    connect_again(passt).close()


def test_one_off_ends_with_its_guest(net, tmp_path):
    p = Passt(net.host, str(tmp_path), "--one-off")
    g = Guest(p.socket_path)
    g.announce()
    g.close()
    assert p.wait() == 0, p.output()


def test_fd(net, tmp_path):
    """A connected socket instead of a path; its end is our end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(True)
    with theirs:
        p = net.host.popen(binary(), "-f", "-q", "--fd", theirs.fileno(), pass_fds=[theirs.fileno()])
    g = Guest(ours)
    g.announce()
    g.close()
    assert p.wait(20) == 0


def test_stale_socket_is_replaced(net, tmp_path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "passt.socket"))
    p = Passt(net.host, str(tmp_path))
    g = Guest(p.socket_path)
    g.announce()
    g.close()
    p.close()


def test_live_socket_is_left_alone(passt, net):
    p = Passt(net.host, os.path.dirname(passt.socket_path), wait=False)
    assert p.wait() == 1
    assert passt.socket_path in p.output() and "in use" in p.output()
    g = Guest(passt.socket_path)
    g.announce()
    g.close()


DEFAULT_PATHS = """
cd "$0" && mount --bind . /mnt && mount -t tmpfs tmp /tmp || exit 9
wait_for() { n=400; until [ -S $1 ]; do n=$((n-1)); [ $n -gt 0 ] || exit 8; sleep 0.05; done; }
/mnt/passt -f -q & p=$!
wait_for /tmp/passt_1.socket
/mnt/passt -f -q & q=$!
wait_for /tmp/passt_2.socket
kill $p $q
wait $p && wait $q
"""


def test_default_path_is_the_first_that_is_free(net, tmp_path):
    """/tmp/passt_1.socket and so on, in a /tmp of our own."""
    shutil.copy(binary(), tmp_path / "passt")
    net.host.run("unshare", "-m", "sh", "-c", DEFAULT_PATHS, tmp_path)
