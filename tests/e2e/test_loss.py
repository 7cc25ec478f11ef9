# SPDX-License-Identifier: MIT
"""
TCP over a link that loses frames, with a kernel as the guest: content, and what SACK and timestamps are good for. Both are counted, not
timed: what is sent in vain, beside the same transfers of a guest that has been told to do without.

    guest (a namespace) --tap-- wire.c, loses frames --socket-- passt in "host" ---veth--- "remote" (topology.py)

With PASST_TEST_LONG=1 for more of all; bench/matrix shows the figures.
"""
import hashlib
import os
import threading

import pytest
from lab.netns import family_of
from lab.topology import REMOTE4, REMOTE6
from lab.wait import until
from lab.wire import WireGuest

LONG = bool(os.environ.get("PASST_TEST_LONG"))
REMOTE = {"v4": REMOTE4, "v6": REMOTE6}
MIB = 1 << 20


@pytest.fixture
def lossy(net, start, tmp_path):
    """lossy(loss, syns=0, **sysctl): a guest on a link that loses so many of 1000 frames each way."""
    guests = []

    def begin(loss, syns=0, **sysctl):
        guests.append(WireGuest(net.host, start("-m", "1500"), str(tmp_path), loss, syns, **sysctl))
        return guests[-1]

    yield begin
    for g in guests:
        g.close()


def connect(net, guest, addr):
    """Sockets of the guest and of the remote side."""
    with net.remote.listen(addr) as server:
        server.settimeout(60)
        near = guest.socket(family_of(addr))
        near.settimeout(60)
        near.connect((addr, server.getsockname()[1]))
        far = server.accept()[0]
    far.settimeout(60)
    return near, far


def transfer(net, guest, addr, up, size):
    """What arrives is what was sent."""
    blob = os.urandom(size)
    ends = connect(net, guest, addr)
    source, sink = ends if up else ends[::-1]
    sender = threading.Thread(target=source.sendall, args=(blob,))
    sender.start()
    h = hashlib.sha256()
    while size:
        data = sink.recv(min(size, MIB))
        assert data
        h.update(data)
        size -= len(data)
    sender.join(60)
    assert h.digest() == hashlib.sha256(blob).digest()
    for s in ends:
        s.close()


@pytest.mark.parametrize("loss", [1, 10, 50])
@pytest.mark.parametrize("family", REMOTE)
def test_content_and_no_needless_repeats(record_property, net, lossy, family, loss):
    """Both directions: hardly anything is sent again that was not lost, and the guest is never told that what it was told is gone."""
    size = (16 if LONG else 2) * MIB
    guest = lossy(loss)
    guest.be_patient()
    transfer(net, guest, REMOTE[family], True, size)
    # A guest that does not run for a fifth of a second looks like one that everything was lost for: that does not happen each time.
    for _ in range(3):
        before = guest.received()
        transfer(net, guest, REMOTE[family], False, size)
        received = guest.received() - before
        if received < 1.10 * size:
            break
    count = guest.counters()
    lost = guest.cut()
    record_property("of the guest's frames lost", lost[0])
    record_property("segments it sent again", count["TcpRetransSegs"])
    record_property("of the frames for it lost", lost[1])
    record_property("segments it got twice", count["TcpExtDelayedACKLost"])
    assert count["TcpRetransSegs"] <= 1.5 * lost[0] + 10
    assert received < 1.10 * size
    assert count["TcpExtTCPSACKReneging"] == 0
    assert count["TcpExtPAWSEstab"] == 0
    assert count["TcpInCsumErrors"] == 0


# Family, loss, direction, size, number of transfers. Without SACK they take long: what isn't lost again is sent one by one.
GAIN = [("v4", 10, "up", 4, 1), ("v4", 50, "up", 1, 1), ("v6", 50, "down", 1, 5)]
GAIN_LONG = [(f, *c) for f in REMOTE for c in ((1, "down", 64, 4), (10, "up", 32, 2), (10, "down", 8, 12), (50, "up", 4, 4), (50, "down", 2, 12))]


@pytest.mark.parametrize("family,loss,way,mib,times", GAIN_LONG if LONG else GAIN)
def test_gain_of_sack(record_property, net, lossy, family, loss, way, mib, times):
    """Without it, several times as much is sent in vain."""
    vain = {}
    for sack in 1, 0:
        guest = lossy(loss, tcp_sack=sack)
        each = [0]
        for _ in range(times):
            transfer(net, guest, REMOTE[family], way == "up", mib * MIB)
            count = guest.counters()
            each.append(count["TcpRetransSegs" if way == "up" else "TcpExtDelayedACKLost"])
        each = [after - before for before, after in zip(each, each[1:])]
        # The worst with SACK is left out: a guest that does not run for a fifth of a second looks like one that everything was lost for.
        vain[sack] = sum(each) - (max(each) if sack and way == "down" else 0)
        record_property(f"sent in vain {'with' if sack else 'without'} SACK", vain[sack])
    assert vain[0] > 2 * vain[1]


@pytest.mark.parametrize("family", REMOTE if LONG else ["v6"])
def test_gain_of_timestamps(net, lossy, family):
    """
    Whose SYN was lost doesn't know the round trip by its answer, as it may be that to the first one (Karn): the kernel goes on with a
    time-out of three seconds. With timestamps it knows.
    """
    known = {}
    for ts in 1, 0:
        guest = lossy(0, 1, tcp_timestamps=ts)
        ends = connect(net, guest, REMOTE[family])
        info = guest.run("ss", "-Htino", "state", "established").stdout
        known[ts] = " rtt:" in info
        assert (" ts " in info) == bool(ts), info
        for s in ends:
            s.close()
        until(lambda g=guest: g.counter("TcpRetransSegs"), "the SYN was sent again")
    assert known == {1: True, 0: False}
