# SPDX-License-Identifier: MIT
"""
What README and the manual page show is run here as it stands there, by an ordinary user.
"""
import os
import re
import subprocess

import pytest
from lab import servers
from lab.pasta import program
from lab.program import ROOT, binary
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
    t.local = request.param != REMOTE4
    yield t
    for s in running:
        s.close()
    t.close()


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def blocks():
    """The code blocks of README that fetch a page."""
    return [b for b in re.findall(r"^```\w*\n(.*?)^```$", read("README.md"), re.M | re.S) if "curl" in b]


def examples():
    """The lines of the manual page that start a command and need no rights."""
    section = read("doc/pasta.1.scd").split("# EXAMPLES")[1].split("# EXIT")[0]
    return [line for line in re.findall(r"^\t(pasta .*)$", section, re.M) if "curl" in line or "nslookup" in line]


def run(net, work, script):
    path = os.path.dirname(program(work)) + ":" + os.environ["PATH"]
    return net.host.run(*USER, "env", f"PATH={path}", "bash", "-e", "-c", f"cd {work}\n{script}", check=False)


@pytest.mark.parametrize("block", blocks(), ids=lambda b: b.split()[0])
def test_readme(net, tmp_path, tun, block):
    """Each fetches the page once, says nothing else, and leaves no pasta behind."""
    done = run(net, tmp_path, f"{block}\nwait\nwhile pgrep -x pasta >/dev/null; do sleep 0.1; done")
    assert done.stdout == PAGE.decode(), done.stderr
    assert [line for line in done.stderr.splitlines() if "Terminated" not in line] == []


@pytest.mark.parametrize("line", examples(), ids=lambda line: line[:50])
def test_manual_page(net, tmp_path, tun, line):
    done = run(net, tmp_path, line)
    if net.local and "-U none" in line:
        assert "Could not resolve" in done.stderr, "as the page says: a resolver of the host is out of reach"
        return
    assert done.stdout == PAGE.decode() if "curl" in line else REMOTE4 in done.stdout, done.stderr


def test_they_are_there():
    assert len(blocks()) == 2 and len(examples()) == 3


@pytest.mark.parametrize("name", ["passt", "pasta"])
def test_options_of_help_and_manual_page(tmp_path, name):
    """Those are the same, with the same letters."""
    os.symlink(binary(), tmp_path / name)
    said = subprocess.run([tmp_path / name, "--help"], capture_output=True, text=True, check=True).stdout
    helped = {(long, short or "") for short, long in re.findall(r"^  (?:-(.),|   ) --([a-z0-9-]+)", said, re.M)}
    told = set()
    for line in re.findall(r"^(\*-.*)$", read(f"doc/{name}.1.scd"), re.M):
        told |= {(long, short or "") for short, long in re.findall(r"(?:\*-(.)\*, )?\*--([a-z0-9-]+)\*", line)}
    assert helped and helped == told
