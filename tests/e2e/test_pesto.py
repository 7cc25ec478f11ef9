# SPDX-License-Identifier: MIT
"""
pesto(1) as people, and programs that start containers, call it.

    pesto ---control socket--- passt or pasta in "host" ---veth--- "remote" (topology.py)
"""
import json
import os
import pathlib
import re
import subprocess

import pytest
from lab.guest import Guest, Tcp
from lab.pasta import exchange_tcp, listening
from lab.program import binary
from lab.topology import HOST4, HOST6, REMOTE4, REMOTE6
from lab.wait import until

PESTO = pathlib.Path(binary()).parent / "pesto"
PASTA = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
MANUAL = pathlib.Path(__file__).parents[2] / "doc" / "pesto.1.scd"


def run(*args, check=None):
    done = subprocess.run([PESTO, *(str(a) for a in args)], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert check is None or done.returncode == check, done
    return done


@pytest.fixture
def path(tmp_path):
    return tmp_path / "control"


@pytest.fixture
def shown(path):
    """The rules that pesto shows: ["TCP */80", ...]"""

    def lines():
        out = run(path, check=0).stdout.splitlines()
        assert out[0] == f"passt/pasta configuration ({path})"
        return [line.strip() for line in out if line.startswith("    ")]

    return lines


def test_version_and_help():
    done = run("--version", check=0)
    assert re.match(r"pesto \S+\n", done.stdout) and not done.stderr
    for name in "-h", "--help":
        done = run(name, check=0)
        assert done.stdout.startswith("Usage: pesto ") and not done.stderr


def test_help_and_manual_agree():
    """All options and commands of one are in the other."""
    manual = MANUAL.read_text()
    text = run("--help", check=0).stdout
    names = set(re.findall(r"--[a-z-]+", text)) - {"--conf-path"}
    assert names == {n.rstrip("*") for n in re.findall(r"--[a-z-]+", manual)} - {"--conf-path"}
    assert set(re.findall(r" (-[A-Za-z]), ", text)) == set(re.findall(r"\*(-[A-Za-z])\*, \*--", manual))
    assert set(re.findall(r"pesto ([a-z]+) ", text)) == set(re.findall(r"^\*([a-z]+)\*$", manual, re.M))


@pytest.mark.parametrize("args", [[], ["--nonsense", "x"], ["-A"], ["one", "two"], ["-t"], ["-C", "GUEST", "x"], ["flows", "a", "b"], ["stats", "--watch", "x"]])
def test_wrong_usage(args):
    done = run(*args, check=1)
    assert done.stderr and not done.stdout


def test_nobody_there(path):
    done = run("-A", "-t", "80", path, check=1)
    assert f"Couldn't connect to {path}" in done.stderr
    assert run("x" * 200, check=1).stderr


def test_add_and_delete_as_podman_does(net, start, path, shown):
    """Long options, one specifier for each family, a target without brackets; deleted by the same words."""
    start("-c", path)
    old = ["--tcp-ports", "0.0.0.0/8080", "--tcp-ports", "[::]/8080", "--udp-ports", "127.0.0.1/9000-9002"]
    new = ["-t", "0.0.0.0/8081:192.0.2.2/80", "-t", "[::]/8081:2001:db8::2/80"]
    for words in old, new:
        assert not run("--add", *words, path, check=0).stdout
        assert shown()
        assert run("--add", *words, path, check=1).stderr.startswith("Forwarding configuration conflict: ")
        run("--delete", *words, path, check=0)
        assert not shown()
        assert "Couldn't find forwarding rule to delete" in run("--delete", *words, path, check=1).stderr
    for port in 8080, 8081, 9000:
        assert not listening(net.host, port)


def test_as_rootlesskit_does(start, path, shown):
    start("-c", path)
    run("-A", "--tcp-ports=::/8080:80", path, check=0)
    run("-A", "--udp-ports=127.0.0.1/8080:80", path, check=0)
    assert shown() == ["TCP [::]/8080:80", "UDP 127.0.0.1/8080:80"]
    run("-D", "--tcp-ports=::/8080:80", path, check=0)
    assert shown() == ["UDP 127.0.0.1/8080:80"]


def test_replaces_by_default(start, path, shown):
    start("-c", path, "-t", "8080", "-u", "8080")
    run("-t", "8081", "-t", "8082", path, check=0)
    assert shown() == ["TCP */8081", "TCP */8082"]
    # In order: what comes before -A replaces, what comes behind it does not.
    run("-u", "53:5353", "-A", "-t", "8083", "-D", "-t", "8083", path, check=0)
    assert shown() == ["UDP */53:5353"]
    done = run("-s", "-C", "HOST", "-A", "-t", "8090", path, check=0)
    assert done.stdout.split("Updated configuration")[0].startswith(f"Previous configuration ({path})\nInbound forwarding rules (HOST):\n    UDP */53:5353\n")
    assert done.stdout.endswith(f"Updated configuration ({path})\nInbound forwarding rules (HOST):\n    TCP */8090\n")
    run("-t", "none", path, check=0)
    assert not shown()


def test_a_port_that_cannot_be_bound(net, start, path, shown):
    start("-c", path, "-t", "8079")
    with net.host.listen("0.0.0.0", 8080):
        done = run("-t", "8078-8082:1-5", path, check=1)
    assert done.stderr == "Listen failed for HOST TCP port */8080: Address already in use\nCouldn't listen on requested ports\n"
    assert shown() == ["TCP */8079"]
    assert listening(net.host, 8079) and not listening(net.host, 8081)


def test_mismatched_delete(start, path, shown):
    start("-c", path, "-t", "8080-8081")
    done = run("-D", "-t", "8080", path, check=1)
    assert done.stderr == "Forwarding rule */8080 conflicts with rule */8080-8081, but doesn't match it, can't delete\n"
    assert "Only pasta" in run("-A", "-T", "80", path, check=1).stderr
    assert "Invalid port specifier" in run("-A", "-t", "80x", path, check=1).stderr
    assert shown() == ["TCP */8080-8081"]


@pytest.mark.parametrize("at,to,source", [("0.0.0.0", HOST4, REMOTE4), ("::", HOST6, REMOTE6)])
def test_pasta_shows_the_true_source(net, pasta, path, at, to, source):
    p = pasta("-c", path, "--config-net", *PASTA)
    address = f"[{at}]" if ":" in at else at
    run("--add", "-t", f"{address}/8080:80", "-T", "7000:70", path, check=0)
    assert exchange_tcp(p.ns, at, 80, net.remote, to, 8080, source)[0] == source
    exchange_tcp(net.host, "127.0.0.1", 70, p.ns, "127.0.0.1", 7000)
    assert run(path, check=0).stdout.splitlines()[1:] == [
        "Inbound forwarding rules (HOST):", f"    TCP {address}/8080:80", "Outbound forwarding rules (SPLICE):", "    TCP */7000:70"]
    run("--delete", "-t", f"{address}/8080:80", "-T", "7000:70", path, check=0)
    net.host.listen(at, 8080).close()


def test_flows_stats_capture(net, start, path, tmp_path):
    passt = start("-c", path, "-t", "8080:80")
    guest = Guest(passt.socket_path)
    guest.announce()
    file = tmp_path / "frames.pcap"
    run("capture", path, file, check=0)
    assert run("capture", path, tmp_path / "other", check=1).stderr == "There is a capture already\n"
    with net.remote.connect(HOST4, 8080) as s:
        t = Tcp.accept(guest, 80)
        s.sendall(b"hello")
        assert t.recv(5) == b"hello"
        lines = run("flows", path, check=0).stdout.splitlines()
        peer = "{}:{}".format(*s.getsockname())
        assert len(lines) == 2
        assert lines[1].split()[:7] == ["tcp", "established", "host", f"{guest.addr4}:80", peer, f"{HOST4}:8080", peer]
        flow = json.loads(run("flows", "--json", path, check=0).stdout)
        assert flow["to_guest"]["bytes"] == 5
        stats = json.loads(run("stats", "--json", path, check=0).stdout)
        assert stats["gauges"]["flows"] == 1 and stats["counters"]["loop_turns"] > 0
        assert re.search(r"^flows +1$", run("stats", path, check=0).stdout, re.M)
        text = run("stats", "--prometheus", path, check=0).stdout
        assert "# TYPE passt_flows gauge\npasst_flows 1\n" in text and "# TYPE passt_loop_turns counter\n" in text
    run("capture", "--stop", path, check=0)
    assert run("capture", "--stop", path, check=1).stderr == "There is no capture\n"
    out = subprocess.run(["tcpdump", "-nr", file, "tcp"], capture_output=True, text=True, check=True).stdout
    assert "length 5" in out
    guest.close()


def test_watch_and_events(start, path, tmp_path):
    passt = start("-c", path)
    out = tmp_path / "events"
    with open(out, "wb") as f, subprocess.Popen([PESTO, "events", path], stdout=f) as events, \
            subprocess.Popen([PESTO, "flows", "--watch", path], stdout=subprocess.PIPE, text=True) as watch:
        for _ in range(2):
            assert watch.stdout.readline().split()[:2] == ["STATE", "FROM"]
        watch.terminate()
        until(lambda: out.read_text() == '{"event":"ready"}\n', "ready")
        run("-t", "8080", path, check=0)
        assert passt.stop() == 0
        assert events.wait(60) == 0
    assert [json.loads(line)["event"] for line in out.read_text().splitlines()] == ["ready", "forwards", "exit"]
    assert os.path.exists(path)
