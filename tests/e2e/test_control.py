# SPDX-License-Identifier: MIT
"""
The control socket: what it tells, and what it changes while the program runs.

    client ---control socket--- passt or pasta in "host" ---veth--- "remote" (topology.py)
"""
import os
import shutil
import socket
import stat
import struct
import subprocess
import tempfile
import threading

import pytest
from lab.control import Control, step
from lab.guest import Guest, Tcp
from lab.pasta import exchange_tcp, exchange_udp, listening, wait_closed, wait_listening
from lab.netns import PYTHON
from lab.program import binary
from lab.topology import HOST4, REMOTE4
from lab.wait import LIMIT, until

LO4 = "127.0.0.1"
PASTA = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]


@pytest.fixture
def control(start, tmp_path):
    """control(*options): (passt, client)"""
    path = tmp_path / "control"
    clients = []

    def begin(*options):
        passt = start("-c", path, *options)
        clients.append(Control(path))
        return passt, clients[-1]

    yield begin
    for c in clients:
        c.close()


@pytest.fixture
def control_ns(pasta, tmp_path):
    """The same with pasta: (pasta, client)"""
    path = tmp_path / "control"
    clients = []

    def begin(*options):
        p = pasta("-c", str(path), *options)
        clients.append(Control(path))
        return p, clients[-1]

    yield begin
    for c in clients:
        c.close()


def test_hello(control):
    passt, c = control()
    hello = c.get("hello", id="x")
    version = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    assert hello == {"id": "x", "ok": True, "protocol": 1, "program": "passt", "version": version, "pid": passt.pid, "tables": ["in"]}


def test_only_for_its_user(control, tmp_path):
    control()
    mode = os.stat(tmp_path / "control").st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


CONNECT = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
try:
    s.connect(sys.argv[1])
except PermissionError:
    sys.exit("no way to it")
try:
    s.sendall(b'{"do": "hello"}\\n')
    said = s.recv(1000)
except (BrokenPipeError, ConnectionResetError):
    said = b""
print("in" if said.startswith(b'{"ok":true') else "out" if not said else said)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs to be root, who may be any user")
def test_users():
    """Somebody else is kept out even where the file lets everybody write, by a program that has gone to a user namespace of its own."""
    def come(user):
        argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", PYTHON, "-c", CONNECT, f"{place}/control"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=False)
        return done.stdout.strip() or done.stderr.strip()

    with tempfile.TemporaryDirectory() as place, open(f"{place}/output", "w+", encoding="utf-8") as out:
        os.chmod(place, 0o755)
        os.chown(place, 1000, 1000)
        shutil.copy(binary(), f"{place}/passt")
        user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]
        argv = [*user, f"{place}/passt", "-f", "-s", f"{place}/socket", "-c", f"{place}/control"]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out) as proc:
            try:
                until(lambda: "You can now start" in open(out.name, encoding="utf-8").read() or proc.poll() is not None, "passt is ready")
                assert os.readlink(f"/proc/{proc.pid}/ns/user") != os.readlink("/proc/self/ns/user")
                assert [come(user) for user in (1000, 0, 1001)] == ["in", "in", "no way to it"]
                os.chmod(f"{place}/control", 0o666)
                assert [come(user) for user in (1000, 1001, 1000)] == ["in", "out", "in"]
                assert "Control socket: refused user" in open(out.name, encoding="utf-8").read()
            finally:
                proc.terminate()
            assert proc.wait(LIMIT) == 0


def test_stale_and_live_sockets(control, start, tmp_path):
    passt, c = control()
    other = start("-c", tmp_path / "control", wait=False)
    assert other.process.wait(60) == 1
    other.ended = True
    assert f"Control socket path {tmp_path / 'control'} already in use" in other.output()
    assert c.get("hello")["pid"] == passt.pid
    passt.process.kill()
    passt.process.wait()
    passt.ended = True
    passt, c = control()
    assert c.get("hello")["pid"] == passt.pid


def test_forwards_come_and_go(net, control):
    _, c = control("-t", "8080", "-u", "0.0.0.0/53:5353")
    assert c.specs() == [("in", "tcp", "*/8080", "bound"), ("in", "udp", "0.0.0.0/53:5353", "bound")]
    assert c.verdicts(step("add", "9000-9009:90-99"), step("remove", "8080")) == (True, {
        ("in", "tcp", "*/8080"): "removed",
        ("in", "udp", "0.0.0.0/53:5353"): "kept",
        ("in", "tcp", "*/9000-9009:90-99"): "bound",
    })
    assert listening(net.host, 9004) and not listening(net.host, 8080)
    assert set(c.specs()) == {("in", "tcp", "*/9000-9009:90-99", "bound"), ("in", "udp", "0.0.0.0/53:5353", "bound")}
    # The same words that added it take it out.
    assert c.change(step("remove", "9000-9009:90-99"))["ok"]
    assert not listening(net.host, 9004)
    assert c.change({"clear": "in"}, step("add", "8080"))["ok"]
    assert c.specs() == [("in", "tcp", "*/8080", "bound")]


def test_all_or_nothing(net, control):
    _, c = control("-t", "8080:80", "-t", "8090-8095", "-u", "53")
    before = c.specs()
    with net.host.listen("0.0.0.0", 8100):
        reply = c.change({"clear": "in"}, step("add", "8080:81"), step("add", "8085-8093"), step("add", "8098-8102"), step("add", "53", "udp"))
        assert (reply["ok"], reply["error"]) == (False, "failed")
        by_spec = {(r["proto"], r["spec"]): r for r in reply["results"]}
        assert {k: r["verdict"] for k, r in by_spec.items()} == {
            ("tcp", "*/8080:80"): "undone",
            ("tcp", "*/8090-8095"): "undone",
            ("udp", "*/53"): "kept",
            ("tcp", "*/8080:81"): "undone",
            ("tcp", "*/8085-8093"): "undone",
            ("tcp", "*/8098-8102"): "failed",
        }
        failed = by_spec["tcp", "*/8098-8102"]
        assert (failed["port"], failed["errno"], failed["reason"]) == (8100, "EADDRINUSE", "Address already in use")
        assert c.specs() == before
        assert [p for p in range(8080, 8110) if listening(net.host, p)] == [8080, *range(8090, 8096), 8100]
    # Nothing of it is in the way of the next one.
    assert c.change({"clear": "in"}, step("add", "8080:81"), step("add", "8085-8093"), step("add", "8098-8102"))["ok"]
    assert [p for p in range(8080, 8110) if listening(net.host, p)] == [8080, *range(8085, 8094), *range(8098, 8103)]


def test_another_address_of_the_same_port(net, control):
    """What is bound in the way of a new rule goes first; and is there again if the new one can't be."""
    _, c = control("-t", "0.0.0.0/8080", "-u", "0.0.0.0/8080")
    both = [step(what, spec, proto) for proto in ("tcp", "udp") for what, spec in (("remove", "0.0.0.0/8080"), ("add", f"{HOST4}/8080"))]
    reply = c.change(*both, step("add", "192.0.2.99/1"))
    assert [r["verdict"] for r in reply["results"]] == ["undone"] * 4 + ["failed"]
    assert listening(net.host, 8080, address="0.0.0.0:") and listening(net.host, 8080, udp=True, address="0.0.0.0:")
    assert c.change(*both)["ok"]
    for udp in False, True:
        assert listening(net.host, 8080, udp, HOST4) and not listening(net.host, 8080, udp, "0.0.0.0:8080 ")


def test_connections_wait_through_a_change(net, control):
    """A port that leads to somewhere else from now on: what is in its queue, or was accepted, is not lost."""
    passt, c = control("-t", "8080:80")
    guest = Guest(passt.socket_path)
    guest.announce()
    with net.remote.connect(HOST4, 8080) as first:
        t = Tcp.accept(guest, 80)
        assert c.change(step("remove", "8080:80"), step("add", "8080:81"))["ok"]
        with net.remote.connect(HOST4, 8080) as second:
            other = Tcp.accept(guest, 81)
            for s, conn in (first, t), (second, other):
                s.sendall(b"hello")
                assert conn.recv(5) == b"hello"
            # Nor does it end with its rule.
            assert c.change({"clear": "in"})["ok"]
            assert not listening(net.host, 8080)
            for s, conn in (first, t), (second, other):
                conn.send("PA", b"answer")
                assert s.recv(6) == b"answer"
    guest.close()


def test_udp_forwards(net, control):
    passt, c = control("-u", "5000:53")
    guest = Guest(passt.socket_path)
    guest.announce()
    with net.remote.udp(REMOTE4) as s:
        for port, inside in (5000, 53), (5001, 54), (5000, 55):
            if port != 5000 or inside != 53:
                assert c.change({"clear": "in"}, step("add", f"{port}:{inside}", "udp"))["ok"]
            s.sendto(b"question", (HOST4, port))
            q = guest.expect(lambda p, to=inside: p.haslayer("UDP") and p["UDP"].dport == to, f"datagram to {inside}")
            guest.udp(q["IP"].src, q["UDP"].sport, b"answer", sport=inside)
            assert s.recvfrom(100) == (b"answer", (HOST4, port))
        # The flow's sockets do not hold the port.
        assert c.change({"clear": "in"})["ok"]
        net.host.udp("0.0.0.0", 5000).close()
    guest.close()


def test_bad_requests(control):
    _, c = control("-t", "8080")
    for steps, error in (
        ([step("add", "127.0.0.1/8080")], "conflict"),
        ([step("remove", "8081")], "not-found"),
        ([step("add", "80", table="out")], "not-possible"),
        ([step("add", "auto")], "bad-argument"),
        ("all", "bad-argument"),
    ):
        reply = c.ask("change", steps=steps)
        assert (reply["ok"], reply["error"]) == (False, error), reply
    assert c.ask("flows", **{"from": -1})["error"] == "bad-argument"
    assert c.ask("flows", max=1000)["error"] == "bad-argument"
    assert c.ask("log", level="loud")["error"] == "bad-argument"
    assert c.ask("capture", action="start")["error"] == "bad-argument"
    assert c.ask("capture", action="stop")["error"] == "not-possible"
    assert c.specs() == [("in", "tcp", "*/8080", "bound")]


def test_flows(net, control):
    passt, c = control("-t", "8080:80")
    guest = Guest(passt.socket_path)
    guest.announce()
    assert not c.flows()
    with net.remote.connect(HOST4, 8080) as s, net.remote.udp(REMOTE4, 4000) as u:
        t = Tcp.accept(guest, 80)
        s.sendall(b"x" * 1000)
        assert len(t.recv(1000)) == 1000
        t.send("PA", b"y" * 300)
        assert len(s.recv(300, socket.MSG_WAITALL)) == 300
        for _ in range(3):
            guest.udp(REMOTE4, 4000, b"z" * 10, sport=4001)
            data, at = u.recvfrom(100)
        u.sendto(b"w" * 20, at)
        guest.expect_udp(4000, 4001)
        flows = {f["proto"]: f for f in c.flows(max=1)}
        assert sorted(flows) == ["tcp", "udp"]
        tcp, udp = flows["tcp"], flows["udp"]
        peer = list(s.getsockname()[:2])
        assert (tcp["state"], tcp["from"], tcp["guest"], tcp["remote"]) == ("established", "host", [guest.addr4, 80], peer)
        assert (tcp["host"], tcp["peer"]) == ([HOST4, 8080], peer)
        assert (tcp["to_guest"]["bytes"], tcp["to_host"]["bytes"], tcp["rexmit"]) == (1000, 300, 0)
        assert tcp["rtt_us"] > 0 and tcp["age_ms"] >= 0
        assert (udp["state"], udp["from"], udp["guest"], udp["remote"]) == ("answered", "guest", [guest.addr4, 4001], [REMOTE4, 4000])
        assert (udp["host"], udp["peer"]) == (list(at), [REMOTE4, 4000])
        assert (udp["to_host"], udp["to_guest"]) == ({"bytes": 30, "packets": 3}, {"bytes": 20, "packets": 1})
        assert c.get("flows")["count"] == 2
        with net.remote.listen(REMOTE4) as server:
            mine = Tcp(guest, REMOTE4, server.getsockname()[1])
            mine.connect()
            conn, at = server.accept()
            with conn:
                mine.send("PA", b"v" * 50)
                assert len(conn.recv(50, socket.MSG_WAITALL)) == 50
                tcp = [f for f in c.flows() if f["guest"] == [guest.addr4, mine.sport]][0]
                assert (tcp["from"], tcp["host"], tcp["peer"]) == ("guest", list(at), list(server.getsockname()))
                assert (tcp["to_host"]["bytes"], tcp["to_guest"]["bytes"]) == (50, 0)
    guest.close()


def test_capture(control, tmp_path):
    passt, c = control()
    guest = Guest(passt.socket_path)
    guest.announce()
    path = tmp_path / "capture"
    with open(path, "wb") as f, open(path, "rb") as wrong:
        assert c.ask("capture", [wrong.fileno()], action="start")["error"] == "bad-argument"
        assert c.get("capture", [f.fileno()], action="start")
        assert c.ask("capture", [f.fileno()], action="start")["error"] == "not-possible"
    guest.barrier()
    assert c.get("capture", action="stop")
    size = path.stat().st_size
    guest.barrier()
    assert path.stat().st_size == size
    with open(path, "rb") as f:
        assert struct.unpack("=IHH", f.read(8)) == (0xA1B23C4D, 2, 4)
    assert size > 24 + 2 * (16 + 42)
    guest.close()


def test_log_level(control):
    passt, c = control()
    assert c.get("log") == {"ok": True, "level": "info"}
    assert c.get("log", level="debug")["level"] == "info"
    assert c.get("log")["level"] == "debug"
    Guest(passt.socket_path).close()


def test_events(start, tmp_path):
    passt = start("-c", tmp_path / "control")
    with Control(tmp_path / "control") as c, Control(tmp_path / "control") as other:
        assert c.get("subscribe") == {"ok": True}
        assert c.recv() == {"event": "ready"}
        guest = Guest(passt.socket_path)
        assert c.recv() == {"event": "up"}
        guest.close()
        assert c.recv() == {"event": "down"}
        assert other.change(step("add", "8080"))["ok"]
        assert c.recv() == {"event": "forwards"}
        assert not other.change(step("add", "8080:81"))["ok"]
        assert passt.stop() == 0
        assert c.recv() == {"event": "exit", "status": 0}
        assert c.recv() is None


def test_two_who_change(net, control, tmp_path):
    """One after the other, while one is at work; and everything goes on meanwhile."""
    _, c = control()
    with Control(tmp_path / "control") as other:
        c.send({"do": "change", "steps": [step("add", "20000-29999")]})
        other.send({"do": "change", "steps": [step("add", "30000")]})
        assert [r["verdict"] for r in other.recv()["results"]] == ["kept", "bound"]
        assert [r["verdict"] for r in c.recv()["results"]] == ["bound"]
        # Somebody who is not there any more for the answer.
        c.send({"do": "change", "steps": [step("remove", "20000-29999")]})
    c.close()
    until(lambda: not listening(net.host, 29999), "it is done all the same")



@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_pasta(net, control_ns, proto):
    """Both directions, through the same sockets that a start makes."""
    udp = proto == "udp"
    p, c = control_ns("--config-net", *PASTA)
    assert c.get("hello")["tables"] == ["in", "out"] and not c.specs()
    ok, verdicts = c.verdicts(step("add", "8080:80", proto), step("add", "7000:70", proto, "out"), step("add", "7001", proto, "out"))
    assert ok and set(verdicts.values()) == {"bound"}
    assert listening(net.host, 8080, udp) and listening(p.ns, 7000, udp) and listening(p.ns, 7001, udp)
    exchange = exchange_udp if udp else exchange_tcp
    exchange(p.ns, "0.0.0.0", 80, net.host, LO4, 8080)
    exchange(p.ns, "0.0.0.0", 80, net.remote, HOST4, 8080, REMOTE4)
    exchange(net.host, LO4, 70, p.ns, LO4, 7000)
    # Other rules on the same ports, of the host and of the namespace.
    assert c.change({"clear": "in"}, {"clear": "out"}, step("add", "8080:81", proto), step("add", "7000:71", proto, "out"))["ok"]
    exchange(p.ns, "0.0.0.0", 81, net.host, LO4, 8080)
    exchange(net.host, LO4, 71, p.ns, LO4, 7000)
    assert not listening(p.ns, 7001, udp)
    # One that fails on the side of the namespace undoes the other side, too.
    with p.ns.udp(LO4, 7005) if udp else p.ns.listen(LO4, 7005):
        ok, verdicts = c.verdicts({"clear": "in"}, step("add", "8081", proto), step("add", "7003-7008", proto, "out"))
    assert not ok and verdicts["out", proto, "*/7003-7008"] == "failed" and verdicts["in", proto, "*/8081"] == "undone"
    assert [n for n in range(7000, 7010) if listening(p.ns, n, udp)] == [7000]
    exchange(p.ns, "0.0.0.0", 81, net.host, LO4, 8080)
    assert c.change({"clear": "in"}, {"clear": "out"})["ok"]
    assert not listening(net.host, 8080, udp) and not listening(p.ns, 7000, udp)


def test_flows_between_loopbacks(net, control_ns):
    """What takes no way through frames, as seen from both sides."""
    p, c = control_ns("--config-net", "-t", "8080:80", "-u", "8081:81", "-T", "7000:70", "-U", "none")
    with p.ns.listen("0.0.0.0", 80) as inside, net.host.listen(LO4, 70) as outside, p.ns.udp("0.0.0.0", 81) as service, \
            net.host.connect(LO4, 8080) as host, p.ns.connect(LO4, 7000) as guest, net.host.udp(LO4) as client:
        with inside.accept()[0] as in_ns, outside.accept()[0] as on_host:
            for a, b, n in (host, in_ns, 1000), (in_ns, host, 300), (guest, on_host, 20), (on_host, guest, 7):
                a.sendall(b"x" * n)
                assert len(b.recv(n, socket.MSG_WAITALL)) == n
            client.sendto(b"question", (LO4, 8081))
            _, at = service.recvfrom(100)
            service.sendto(b"answer", at)
            assert client.recvfrom(100) == (b"answer", (LO4, 8081))
            flows = {(f["proto"], f["from"]): f for f in c.flows(max=1)}
            assert all(f.pop("spliced") and f.pop("age_ms") >= 0 for f in flows.values())
            assert flows == {
                ("tcp", "host"): {
                    "proto": "tcp", "state": "established", "from": "host", "to_guest": {"bytes": 1000}, "to_host": {"bytes": 300},
                    "host": [LO4, 8080], "peer": [*host.getsockname()], "guest": [*in_ns.getsockname()], "remote": [*in_ns.getpeername()],
                },
                ("tcp", "guest"): {
                    "proto": "tcp", "state": "established", "from": "guest", "to_host": {"bytes": 20}, "to_guest": {"bytes": 7},
                    "guest": [*guest.getsockname()], "remote": [LO4, 7000], "host": [*on_host.getpeername()], "peer": [LO4, 70],
                },
                ("udp", "host"): {
                    "proto": "udp", "state": "answered", "from": "host", "to_guest": {"bytes": 8, "packets": 1},
                    "to_host": {"bytes": 6, "packets": 1}, "host": [LO4, 8081], "peer": [*client.getsockname()],
                    "guest": [HOST4, 81], "remote": [*at],
                },
            }
            assert c.get("flows")["count"] == 3
            host.shutdown(socket.SHUT_WR)
            assert in_ns.recv(1) == b""
            until(lambda: [f["state"] for f in c.flows() if f["proto"] == "tcp"].count("closing") == 1, "one has said all")
    until(lambda: c.get("flows")["count"] == 1, "the connections are over")


def test_automatic_ports_come_and_go(net, control_ns):
    p, c = control_ns("--config-net", *PASTA)
    with p.ns.listen("0.0.0.0", 8085):
        ok, verdicts = c.verdicts(step("add", "auto"))
        assert ok and set(verdicts.values()) == {"auto"}
        wait_listening(net.host, 8085)
        assert c.change({"clear": "in"})["ok"]
        wait_closed(net.host, 8085)
        # From automatic to fixed and back, with the port in use all the time.
        assert c.change(step("add", "8080-8090,auto"))["ok"]
        wait_listening(net.host, 8085)
        assert not listening(net.host, 8084)
        ok, verdicts = c.verdicts({"clear": "in"}, step("add", "8084-8085"))
        assert ok and verdicts["in", "tcp", "*/8084-8085"] == "bound"
        assert c.change({"clear": "in"}, step("add", "8080-8090,auto"))["ok"]
        wait_closed(net.host, 8084)
        wait_listening(net.host, 8085)
    wait_closed(net.host, 8085)


def test_changes_while_data_flows(net, control):
    """A thousand changes of rules lose nothing of a connection's data, nor a connection that comes by a port that stays."""
    passt, c = control("-t", "8080")
    guest = Guest(passt.socket_path)
    guest.announce()
    total = 512 << 10
    with net.remote.connect(HOST4, 8080) as s:
        t = Tcp.accept(guest, 8080)
        done = []

        def changes():
            for i in range(500):
                assert c.change(step("add", f"{9000 + i % 7}"))["ok"]
                assert c.change(step("remove", f"{9000 + i % 7}"))["ok"]
            done.append(True)

        worker = threading.Thread(target=changes)
        sender = threading.Thread(target=lambda: s.sendall(bytes(range(256)) * (total // 256)))
        worker.start()
        sender.start()
        try:
            assert t.recv(total) == bytes(range(256)) * (total // 256)
        finally:
            sender.join()
            worker.join()
        assert done
    assert c.specs() == [("in", "tcp", "*/8080", "bound")]
    guest.close()


def test_hostile_clients(net, control, tmp_path):
    """Half lines, giant lines, nonsense, many at once, and some that don't read: others don't notice."""
    passt, c = control("-t", "8080")
    crowd = []
    for i in range(100):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(None)
        s.connect(str(tmp_path / "control"))
        s.setblocking(False)
        crowd.append(s)
        data = [b'{"do": "hel', b"{" * 100000, b"\x00\xff\n" * 1000, b'{"do": "counters"}\n' * 10000, b'{"a":' * 5000 + b"\n"][i % 5]
        try:
            s.send(data)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass
    with Control(tmp_path / "control") as other:
        assert other.get("hello")["pid"] == passt.pid
        assert other.change(step("add", "8081"))["ok"]
    assert listening(net.host, 8080) and listening(net.host, 8081)
    assert len(os.listdir(f"/proc/{passt.pid}/fd")) < 60
    for s in crowd:
        s.close()
    c.close()
    with Control(tmp_path / "control") as other:
        assert other.get("hello")
