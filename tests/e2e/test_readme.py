# SPDX-License-Identifier: MIT
"""
What README and the manual page show is run here as it stands there, by an ordinary user.
"""
import os
import re

import pytest
from lab import servers
from lab.pasta import program
from lab.program import ROOT
from lab.topology import REMOTE4, REMOTE6, Topology

USER = ["unshare", "-U", "--map-user=1000", "--map-group=1000", "--pid", "--fork", "--mount-proc", "--"]
PAGE = b"An example\n"
NSSWITCH = "/etc/nsswitch.conf"


@pytest.fixture(scope="module", params=[REMOTE4, "127.0.0.53"])
def net(tmp_path_factory, request):
    """With the web server that the examples ask, and its name: from a resolver elsewhere, or on the host itself."""
    work = str(tmp_path_factory.mktemp("net"))
    t = Topology(work, resolv=f"nameserver {request.param}\n")
    if os.path.exists(NSSWITCH):
        t.host.bind_file(NSSWITCH, "hosts: files dns\n", f"{work}/nsswitch.conf")
    resolver = (t.remote if request.param == REMOTE4 else t.host).udp(request.param, 53)
    running = [servers.dns_udp(resolver, {"example.org": [REMOTE4, REMOTE6]})]
    running += [servers.http(t.remote.listen(a, 80), PAGE) for a in (REMOTE4, REMOTE6)]
    yield t
    for s in running:
        s.close()
    t.close()


def blocks():
    """The code blocks of README that fetch a page."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        found = re.findall(r"^```\w*\n(.*?)^```$", f.read(), re.M | re.S)
    return [b for b in found if "curl" in b]


@pytest.mark.parametrize("block", blocks(), ids=lambda b: b.split()[0])
def test_readme(net, tmp_path, tun, block):
    """Each fetches the page once, says nothing else, and leaves no pasta behind."""
    path = os.path.dirname(program(tmp_path)) + ":" + os.environ["PATH"]
    script = f"cd {tmp_path}\n{block}\nwait\nwhile pgrep -x pasta >/dev/null; do sleep 0.1; done"
    done = net.host.run(*USER, "env", f"PATH={path}", "bash", "-e", "-c", script, check=False)
    assert done.stdout == PAGE.decode(), done.stderr
    assert [line for line in done.stderr.splitlines() if "Terminated" not in line] == []


def test_readme_has_them():
    assert len(blocks()) == 2
