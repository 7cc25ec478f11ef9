# SPDX-License-Identifier: MIT
"""
A guest that is moved to another QEMU, which has a program of its own.

    guest (QEMU, virtio-net) ---vhost-user--- passt in "host" ---veth--- "remote" (tests/lab/topology.py)
      | moves to
    guest (QEMU, virtio-net) ---vhost-user--- passt in "host"
"""
import hashlib
import os

import pytest
from lab import servers
from lab import vm as vms
from lab.program import Passt
from lab.topology import HOST4, REMOTE4, REMOTE6
from lab.transfer import both_ways
from lab.vmconf import OPTIONS, configure
from lab.wait import until

MIB = 1 << 20
PORT, LATER_PORT = 8080, 8090
LATE = 100000  # bytes that the guest's kernel keeps for a program that does not read yet
READER = "until [ -e /tmp/go ]; do sleep 0.1; done; head -c {} | sha256sum >/tmp/sum && touch /tmp/read"
DIRT = "cat $(find /usr /lib -type f) >/tmp/source; until [ -e /tmp/clean ]; do dd if=/tmp/source of=/tmp/dirt bs=1M conv=notrunc 2>/dev/null; done"


def rate(vm, limit, downtime=1):
    """Bytes a second that may be copied, and milliseconds that the guest may be stopped for."""
    assert vm.monitor("migrate-set-parameters", **{"max-bandwidth": limit, "downtime-limit": downtime})


def copied_once(vm, left=0):
    """All but so many bytes."""
    ram = vm.moving().get("ram", {})
    return ram.get("dirty-sync-count", 0) > 1 or ram.get("remaining", left) < left


@pytest.fixture
def places(net, tmp_path):
    """begin(name, *options, waits): one of the two places: (program, machine)."""
    running = []

    def begin(name, *options, waits=False):
        work = tmp_path / name
        work.mkdir()
        running.append(Passt(net.host, str(work), *options, "--vhost-user", "--debug"))
        running.append(vms.Vm(vms.VhostUser(running[-1].socket_path), memory=256, waits=waits))
        return running[-2:]

    yield begin
    for p in reversed(running):
        p.close()


def test_guest_is_moved(net, places, tmp_path):
    """
    What the program has written into the guest's memory after that was copied is copied again: the log tells. There is data that nobody
    but the program has touched: in the guest, the one whom it is for reads it in the other place.
    """
    passt, vm = places("here", *OPTIONS)
    configure(vm)
    vm.sh(f"printf '{READER.format(LATE)}' >/tmp/reader; echo 50000000 >/proc/sys/net/core/rmem_max")
    vm.start(f"socat TCP6-LISTEN:{PORT},reuseaddr,rcvbuf={4 * LATE} EXEC:'sh /tmp/reader',nofork")
    vm.until(f"netstat -lnt | grep -q :{PORT}", "server in the guest")
    other, there = places("there", *OPTIONS[4:], "-t", LATER_PORT, waits=True)

    # It writes more than can be copied before anybody sees that it has begun anew; then the rate is so low that there is no end.
    vm.start(DIRT)
    vm.until("[ -s /tmp/dirt ]", "something to copy")
    rate(vm, 64 * MIB)
    vm.move(there, tmp_path / "road")
    until(lambda: copied_once(vm, 24 * MIB), "most was copied", 120)
    rate(vm, 4 * MIB)
    until(lambda: copied_once(vm), "all was copied", 120)
    rate(vm, 20000)
    data = os.urandom(LATE)
    with net.remote.connect(HOST4, PORT, REMOTE4) as s:
        s.sendall(data)
        vm.until(f"ss -Htn 'sport = :{PORT}' | grep -q '^ESTAB *{LATE} '", "the guest's kernel has it")
        server = servers.http(net.remote.listen(REMOTE6), data)
        vm.sh(f"curl -sS -g -o /tmp/blob http://[{REMOTE6}]:{server.port}/; touch /tmp/clean")
        server.close()
        assert vm.moving()["status"] == "active"
        assert "Request SET_LOG_BASE of the guest's front-end\n" in passt.output()
        rate(vm, 1 << 34, 60000)
        vm.moved(there)
    there.sh("touch /tmp/go")
    there.until("[ -e /tmp/read ]", "the data was read")
    assert there.sh("cat /tmp/sum; sha256sum /tmp/blob").count(hashlib.sha256(data).hexdigest()) == 2

    # The network goes on, in both directions.
    for remote in REMOTE4, REMOTE6:
        both_ways(there, net.remote, remote, 4 * MIB)
    there.start(f"socat TCP6-LISTEN:{LATER_PORT} EXEC:cat")
    there.until(f"netstat -lnt | grep -q :{LATER_PORT}", "server in the guest")
    with net.remote.connect(HOST4, LATER_PORT, REMOTE4) as s:
        s.sendall(data)
        s.shutdown(1)
        assert s.makefile("rb").read() == data
    assert passt.alive() and other.alive()
