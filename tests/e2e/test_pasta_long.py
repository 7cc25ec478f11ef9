# SPDX-License-Identifier: MIT
"""
Transfers of ten seconds by iperf3: what the namespace's kernel counts of them. With PASST_TEST_LONG=1 in all cases.
"""
import os
import threading

import pytest
from lab import servers
from lab.topology import REMOTE4, REMOTE6

NONE = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
REMOTE = {"v4": REMOTE4, "v6": REMOTE6}
SECONDS = 10
CASES = [(family, mtu) for family in REMOTE for mtu in (1500, 65520) if os.environ.get("PASST_TEST_LONG") or (family, mtu) in (("v4", 1500), ("v6", 65520))]

# It sent something again; or something was missing when what follows came, which may only be because we have lost it.
NEVER = ["TcpRetransSegs", "TcpExtTCPSynRetrans", "TcpExtTCPTimeouts", "TcpExtTCPLostRetransmit", "TcpExtTCPFastRetrans", "TcpExtTCPOFOQueue",
         "TcpExtTCPRcvQDrop", "TcpExtTCPBacklogDrop", "TcpExtTCPZeroWindowDrop", "TcpInErrs"]


class Watch:
    """What ss(8) says about the connection in the namespace, all the time."""

    def __init__(self, ns):
        self.seen, self.wrong = 0, []
        self._ns = ns
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._end.wait(0.7):
            for line in self._ns.run("ss", "-HOtni", "state", "established", "dport = :5201").stdout.splitlines():
                self.seen += 1
                if " retrans:" in line or " lost:" in line:
                    self.wrong.append(line)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("family,mtu", CASES)
def test_nothing_is_sent_twice(net, pasta, family, mtu, direction):
    """What happens between us and the remote side is another matter: on a veth(4) of the test, segments may pass each other."""
    p = pasta("--config-net", "--no-handover", "-m", mtu, *NONE)
    p.ns.be_patient()
    before = p.ns.counters()
    with Watch(p.ns) as watch:
        end = servers.iperf3(net.remote, p.ns, REMOTE[family], "-t", SECONDS, *(["-R"] if direction == "down" else []))
    after = p.ns.counters()
    assert {name: after[name] - before[name] for name in NEVER if after[name] != before[name]} == {}
    assert watch.seen and not watch.wrong, watch.wrong
    assert end["sum_received"]["bytes"] > 1 << 20 and end["sum_received"]["seconds"] > SECONDS - 1
