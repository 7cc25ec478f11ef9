# SPDX-License-Identifier: MIT
"""
Transfers of ten seconds: what the namespace's kernel counts of them. With PASST_TEST_LONG=1 for both IP versions in every case.
"""
import json
import os
import threading

import pytest
from lab.topology import REMOTE4, REMOTE6
from lab.wait import until

NONE = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
REMOTE = {"v4": REMOTE4, "v6": REMOTE6}
SECONDS = 10
# Each of both IP versions at one MTU; all of them is for those who have the time.
CASES = [(family, mtu) for family in REMOTE for mtu in (1500, 65520) if os.environ.get("PASST_TEST_LONG") or (family, mtu) in (("v4", 1500), ("v6", 65520))]

# Something was sent again; or came twice, or after a hole, so that the peer, which is pasta, sent it again or too late.
NEVER = ["TcpRetransSegs", "TcpExtTCPSynRetrans", "TcpExtTCPTimeouts", "TcpExtTCPLostRetransmit", "TcpExtTCPOFOQueue", "TcpExtTCPDSACKOldSent",
         "TcpExtTCPDSACKOfoSent", "TcpExtTCPDSACKRecv", "TcpExtTCPRcvQDrop", "TcpExtTCPBacklogDrop", "TcpExtTCPZeroWindowDrop", "TcpInErrs"]


@pytest.fixture(params=REMOTE)
def family(request):
    return request.param


class Watch:
    """What ss(8) says about the connection, all the time."""

    def __init__(self, ns, port):
        self.seen, self.wrong = 0, []
        self._ns, self._port = ns, port
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._end.wait(0.7):
            out = self._ns.run("ss", "-HOtni", "state", "established", f"dport = :{self._port}").stdout
            for line in out.splitlines():
                self.seen += 1
                if " retrans:" in line or " lost:" in line:
                    self.wrong.append(line)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()


@pytest.fixture
def server(net):
    """iperf3 on the remote side."""
    p = net.remote.popen("iperf3", "-s", "-p", "5201", stdout=-3)
    until(lambda: net.remote.run("ss", "-Hnlt", "sport = :5201").stdout, "server listens")
    yield 5201
    p.terminate()
    p.wait()


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("family,mtu", CASES)
def test_nothing_is_sent_twice(pasta, server, family, mtu, direction):
    p = pasta("--config-net", "-m", mtu, *NONE)
    way = ["-R"] if direction == "down" else []
    with Watch(p.ns, server) as watch:
        done = p.ns.run("iperf3", "-J", "-c", REMOTE[family], "-p", server, "-t", SECONDS, *way)
    end = json.loads(done.stdout)["end"]
    counted = {name: n for name, n in p.ns.counters().items() if name in NEVER and n}
    print(f"{family} MTU {mtu} {direction}: {end['sum_received']['bits_per_second'] / 1e9:.2f} Gbit/s")
    assert not counted
    assert watch.seen > 2 and not watch.wrong, watch.wrong
    assert end["sum_received"]["bytes"] > 1 << 20 and end["sum_received"]["seconds"] > SECONDS - 1
