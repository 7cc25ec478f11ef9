# SPDX-License-Identifier: MIT
"""
Forwarded ports of pasta, static and automatic, in both directions; and the table of the manual page on what is reached from where.
"""
import pathlib
import re
import time

import pytest
from lab.pasta import exchange_tcp, exchange_udp, listening, program, wait_closed, wait_listening
from lab.program import binary
from lab.topology import GW4, GW6, HOST4, HOST6, REMOTE4, REMOTE6
from lab.wait import until

PESTO = pathlib.Path(binary()).parent / "pesto"
MAPPED4, MAPPED6 = "192.0.2.77", "2001:db8::77"
TARGET4 = "192.0.2.2"
LO4, LO6 = "127.0.0.1", "::1"


def only(**options):
    """Options with no ports but these: only(t="80")."""
    return [w for o in "tuTU" for w in (f"-{o}", options.get(o, "none"))]


EXCHANGE = {"tcp": exchange_tcp, "udp": exchange_udp}

# What the manual page says: (options, server (where, address, port), client (where, source), (address, port), the server's view (peer, own)).
# "*": listens on all addresses. With the host's own addresses in the namespace, "ns" is both.
IN4, IN6 = ("in", "0.0.0.0", 80), ("in", "::", 80)
OUT_LO4, OUT_LO6 = ("host", LO4, 80), ("host", LO6, 80)
BOTH = {"t": "8080:80", "u": "8080:80"}
BACK = {"T": "8080:80", "U": "8080:80"}
TABLE = [
    # Host's loopback address, from the host.
    ("lo", [], BOTH, IN4, ("host", None), (LO4, 8080), (HOST4, HOST4)),
    ("lo6", [], BOTH, IN6, ("host", None), (LO6, 8080), (HOST6, HOST6)),
    ("lo-to-lo", ["--host-lo-to-ns-lo"], BOTH, IN4, ("host", None), (LO4, 8080), (LO4, LO4)),
    ("lo-to-lo6", ["--host-lo-to-ns-lo"], BOTH, IN6, ("host", None), (LO6, 8080), (LO6, LO6)),
    ("lo-only-service", ["--host-lo-to-ns-lo"], BOTH, ("in", LO4, 80), ("host", None), (LO4, 8080), (LO4, LO4)),
    ("lo-only-service6", ["--host-lo-to-ns-lo"], BOTH, ("in", LO6, 80), ("host", None), (LO6, 8080), (LO6, LO6)),
    ("no-splice", ["--no-splice"], BOTH, IN4, ("host", None), (LO4, 8080), (GW4, HOST4)),
    ("no-splice6", ["--no-splice"], BOTH, IN6, ("host", None), (LO6, 8080), (GW6, HOST6)),
    ("target", [], {"t": f"0.0.0.0/8080:{TARGET4}/80", "u": f"0.0.0.0/8080:{TARGET4}/80"}, IN4, ("host", None), (LO4, 8080), (GW4, TARGET4)),
    # Any other address of the host.
    ("outside", [], BOTH, IN4, ("remote", REMOTE4), (HOST4, 8080), (REMOTE4, HOST4)),
    ("outside6", [], BOTH, IN6, ("remote", REMOTE6), (HOST6, 8080), (REMOTE6, HOST6)),
    ("outside-lo-to-lo", ["--host-lo-to-ns-lo"], BOTH, IN4, ("remote", REMOTE4), (HOST4, 8080), (REMOTE4, HOST4)),
    # Loopback of the namespace, from there.
    ("back", [], BACK, OUT_LO4, ("in", None), (LO4, 8080), (LO4, LO4)),
    ("back6", [], BACK, OUT_LO6, ("in", None), (LO6, 8080), (LO6, LO6)),
    ("back-no-splice", ["--no-splice"], BACK, OUT_LO4, ("in", None), (LO4, 8080), (LO4, LO4)),
    # The gateway.
    ("gateway", [], {}, OUT_LO4, ("in", None), (GW4, 80), (LO4, LO4)),
    ("gateway6", [], {}, OUT_LO6, ("in", None), (GW6, 80), (LO6, LO6)),
    ("map-loopback", ["--map-host-loopback", MAPPED4], {}, OUT_LO4, ("in", None), (MAPPED4, 80), (LO4, LO4)),
    # The host itself.
    ("map-guest", ["--map-guest-addr", MAPPED4], {}, ("host", "0.0.0.0", 80), ("in", None), (MAPPED4, 80), (HOST4, HOST4)),
    ("map-guest6", ["--map-guest-addr", MAPPED6], {}, ("host", "::", 80), ("in", None), (MAPPED6, 80), (HOST6, HOST6)),
    # Anything else.
    ("remote", [], {}, ("remote", REMOTE4, 80), ("in", None), (REMOTE4, 80), (HOST4, REMOTE4)),
    ("remote6", [], {}, ("remote", REMOTE6, 80), ("in", None), (REMOTE6, 80), (HOST6, REMOTE6)),
]


def places(net, p):
    return {"host": net.host, "in": p.ns, "remote": net.remote}


@pytest.mark.parametrize("options,ports,server,client,to,seen", [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_reached(net, pasta, options, ports, server, client, to, seen):
    p = pasta("--config-net", *only(**ports), *options)
    where = places(net, p)
    for exchange in EXCHANGE.values():
        assert exchange(where[server[0]], *server[1:], where[client[0]], *to, client[1]) == seen


NOT_REACHED = [
    ("lo-only-service", [], BOTH, ("in", LO4, 80), ("host", None), (LO4, 8080)),
    ("lo-only-service6", [], BOTH, ("in", LO6, 80), ("host", None), (LO6, 8080)),
    ("lo-only-service-outside", ["--host-lo-to-ns-lo"], BOTH, ("in", LO4, 80), ("remote", REMOTE4), (HOST4, 8080)),
    ("no-map-gw", ["--no-map-gw"], {}, OUT_LO4, ("in", None), (GW4, 80)),
    ("no-ports-back", [], {}, OUT_LO4, ("in", None), (LO4, 80)),
    ("no-ports", [], {}, IN4, ("host", None), (LO4, 80)),
    ("by-the-interface", [], BACK, OUT_LO4, ("in", None), (HOST4, 8080)),
    ("splice-only-outside", ["--splice-only"], BOTH, ("in", LO4, 80), ("remote", REMOTE4), (HOST4, 8080)),
]


@pytest.mark.parametrize("options,ports,server,client,to", [row[1:] for row in NOT_REACHED], ids=[row[0] for row in NOT_REACHED])
def test_not_reached(net, pasta, options, ports, server, client, to):
    p = pasta("--config-net", *only(**ports), *options)
    where = places(net, p)
    with where[server[0]].listen(*server[1:]) as s, where[server[0]].udp(*server[1:]) as u:
        try:
            # Where somebody listens but has nobody behind, a connection comes to be, and ends.
            with where[client[0]].connect(*to, source=client[1]) as c:
                assert c.recv(1) == b""
        except (ConnectionRefusedError, ConnectionResetError):
            pass
        with where[client[0]].udp(client[1] or ("::" if ":" in to[0] else "0.0.0.0")) as c:
            c.sendto(b"question", to)
            u.settimeout(0.2)
            with pytest.raises(TimeoutError):
                u.recv(100)
        s.settimeout(0)
        with pytest.raises(BlockingIOError):
            s.accept()


def test_splice_only(net, pasta):
    p = pasta("--splice-only", *only(t="8080:80", u="8080:80", T="8081:81", U="8081:81"))
    for exchange in EXCHANGE.values():
        for lo in LO4, LO6:
            assert exchange(p.ns, lo, 80, net.host, lo, 8080) == (lo, lo)
            assert exchange(net.host, lo, 81, p.ns, lo, 8081) == (lo, lo)


# Specifiers.


@pytest.mark.parametrize("spec,port,inside", [("8080-8083:80-83", 8082, 82), ("127.0.0.1/8080", 8080, 8080), ("127.0.0.1%lo/8080:80", 8080, 80),
                                              ("8000-8010,~8003", 8004, 8004), ("::1/80-80:60-60", 80, 60), ("[::1]/80-80:60-60", 80, 60),
                                              ("7000,8080:80", 8080, 80), ("%lo/8080", 8080, 8080)])
def test_static_in(net, pasta, spec, port, inside):
    p = pasta("--config-net", *only(t=spec, u=spec))
    lo, own = (LO6, HOST6) if ":" in spec.rpartition("/")[0] else (LO4, HOST4)
    for exchange in EXCHANGE.values():
        assert exchange(p.ns, own, inside, net.host, lo, port) == (own, own)


@pytest.mark.parametrize("spec,port,outside", [("8080", 8080, 8080), ("8080-8082:80-82", 8081, 81), ("8000-8010,~8003", 8004, 8004)])
def test_static_out(net, pasta, spec, port, outside):
    p = pasta("--config-net", *only(T=spec, U=spec))
    for exchange in EXCHANGE.values():
        assert exchange(net.host, LO4, outside, p.ns, LO4, port) == (LO4, LO4)


@pytest.mark.parametrize("how", ["given", "auto", "added"])
def test_outbound_ports_are_those_of_the_loopback_interface(net, pasta, tmp_path, how):
    """Nobody outside can get at them by way of a forwarded port."""
    p = pasta("--config-net", *only(T={"given": "8080", "auto": "auto", "added": "none"}[how], t="9090:8080"), "-c", tmp_path / "control")
    with net.host.listen(LO4, 8080) as server, net.host.udp(LO4, 8080):
        if how == "added":
            net.host.run(PESTO, "-A", "-T", "8080", tmp_path / "control")
        wait_listening(p.ns, 8080)
        assert all("%lo:" in line for line in listening(p.ns, 8080)), listening(p.ns, 8080)
        server.settimeout(0.5)
        with pytest.raises((ConnectionRefusedError, ConnectionResetError)), net.remote.connect(HOST4, 9090) as s:
            assert s.recv(1) != b"", "closed"


def test_excluded_ports_are_closed(net, pasta):
    pasta("--config-net", *only(t="8000-8010,~8003-8004", u="8000-8010,~8003-8004"))
    for udp in False, True:
        held = {int(m.group(1)) for line in listening_all(net.host, udp) for m in [re.search(r":(80\d\d)\b", line)] if m}
        assert held == set(range(8000, 8011)) - {8003, 8004}


def listening_all(ns, udp):
    return ns.run("ss", "-Hnlu" if udp else "-Hnlt").stdout.splitlines()


def test_all(net, pasta):
    """All but the ephemeral ports, and but one that is taken."""
    net.host.write("/proc/sys/net/ipv4/ip_local_port_range", "1200 64999")
    try:
        with net.host.listen(LO4, 222):
            p = pasta("--config-net", *only(t="all"))
            held = {int(line.split()[3].rpartition(":")[2]) for line in listening_all(net.host, False)}
            assert set(range(1, 1200)) <= held and 1200 not in held and 65535 in held
        assert exchange_tcp(p.ns, HOST4, 221, net.host, LO4, 221) == (HOST4, HOST4)
    finally:
        net.host.write("/proc/sys/net/ipv4/ip_local_port_range", "32768 60999")


# Automatic ports.


def service(ns, at, port, udp):
    return ns.udp(at, port) if udp else ns.listen(at, port)


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("at", ["0.0.0.0", "::"])
def test_auto_opens_and_closes(net, pasta, direction, udp, at):
    p = pasta("--config-net")
    there, here = (p.ns, net.host) if direction == "in" else (net.host, p.ns)
    to, peer = {("in", "0.0.0.0"): (LO4, HOST4), ("in", "::"): (LO6, HOST6), ("out", "0.0.0.0"): (LO4, LO4), ("out", "::"): (LO6, LO6)}[direction, at]
    for port in 7001, 7002:
        with service(there, at, port, udp):
            wait_listening(here, port, udp=udp)
        wait_closed(here, port, udp=udp)
    with service(there, at, 7003, udp):
        wait_listening(here, 7003, udp=udp)
    # The service is gone and another one takes its place at once, or a moment later.
    wait_closed(here, 7003, udp=udp)
    hold = service(there, at, 7003, udp)
    wait_listening(here, 7003, udp=udp)
    if udp:
        with here.udp(at) as s:
            s.sendto(b"word", (to, 7003))
            data, sender = hold.recvfrom(100)
            assert data == b"word" and sender[0] == peer
    else:
        with here.connect(to, 7003) as s:
            conn, sender = hold.accept()
            assert sender[0] == peer
            conn.sendall(b"word")
            assert s.recv(4) == b"word"
            conn.close()
    hold.close()


@pytest.mark.parametrize("exchange", EXCHANGE)
def test_every_loopback_address_is_its_own(net, pasta, exchange):
    """As a resolver on the host has one that is not the usual one."""
    p = pasta("--config-net", *only(T="5300", U="5300"))
    for lo in "127.0.0.53", LO4, LO6:
        EXCHANGE[exchange](net.host, lo, 5300, p.ns, lo, 5300)


def test_auto_is_open_when_the_command_starts(net, tmp_path, tun):
    """What listens before is there at once, at the first attempt."""
    with net.host.listen("127.0.0.9", 5301), net.host.listen(LO6, 5302):
        for _ in range(5):
            net.host.run(program(tmp_path), "--config-net", "--", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.9/5301 4<>/dev/tcp/::1/5302")


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("at", ["0.0.0.0", "::"])
def test_auto_is_quick(net, pasta, direction, udp, at):
    """The first look after a service comes or goes sees it, be it one that had begun already. How often that is, a unit test knows."""
    p = pasta("--config-net", "--trace")
    there = p.ns if direction == "in" else net.host

    def followed(port, what, change):
        before, mark = len(p.output()), f"Automatic {'UDP' if udp else 'TCP'} port {port}: {what}"
        result = change()
        told = until(lambda: mark in p.output()[before:] and p.output()[before:], mark).partition(mark)[0]
        assert told.count("Automatic ports: looked") <= 1, told
        return result

    for port in range(7100, 7105):
        s = followed(port, "open", lambda port=port: service(there, at, port, udp))
        followed(port, "closed", s.close)


def test_auto_never_loops_back(net, pasta):
    """What pasta listens on itself is nobody's service: both directions automatic, and a service that comes and goes."""
    p = pasta("--config-net")
    with p.ns.listen("0.0.0.0", 7200), net.host.listen(LO4, 7201):
        wait_listening(net.host, 7200)
        wait_listening(p.ns, 7201)
        time.sleep(1)
        assert len(listening(p.ns, 7200)) == 1 and len(listening(net.host, 7201)) == 1, "listens on top of the service"
    wait_closed(net.host, 7200)
    wait_closed(p.ns, 7201)


def test_two_of_them_never_feed_each_other(net, pasta):
    """Ports that one opens on the host are services of the host to the other, but they close again, too."""
    one, two = pasta("--config-net"), pasta("--config-net", "-t", "none", "-u", "none")
    with one.ns.listen("0.0.0.0", 7300):
        wait_listening(net.host, 7300)
        wait_listening(two.ns, 7300)
        assert not any("%lo" in line for line in listening(one.ns, 7300))
    wait_closed(net.host, 7300)
    wait_closed(two.ns, 7300)


def test_auto_of_some_ports(net, pasta):
    p = pasta("--config-net", *only(t="7400-7410,auto", u="auto,~7405"))
    with p.ns.listen("0.0.0.0", 7404), p.ns.listen("0.0.0.0", 7420), p.ns.udp("0.0.0.0", 7405), p.ns.udp("0.0.0.0", 7406):
        wait_listening(net.host, 7404)
        wait_listening(net.host, 7406, udp=True)
        time.sleep(0.5)
        assert not listening(net.host, 7420) and not listening(net.host, 7405, udp=True)
    wait_closed(net.host, 7404)


def test_auto_of_a_service_on_loopback_alone(net, pasta):
    """It can't be reached, so the port stays closed; unless there is a way to it."""
    plain, reaching = pasta("--config-net"), pasta("--config-net", "--host-lo-to-ns-lo")
    with plain.ns.listen(LO4, 7500), reaching.ns.listen(LO4, 7501):
        wait_listening(net.host, 7501)
        time.sleep(0.5)
        assert not listening(net.host, 7500)


def test_auto_next_to_a_service_of_the_host(net, pasta):
    """The port is taken: it opens as soon as it is free."""
    with net.host.listen("0.0.0.0", 7600) as taken:
        p = pasta("--config-net", *only(t="auto"))
        with p.ns.listen("0.0.0.0", 7600) as server:
            time.sleep(0.5)
            taken.close()
            wait_listening(net.host, 7600)
            with net.host.connect(LO4, 7600):
                server.accept()[0].close()


def test_connections_outlive_their_port(net, pasta):
    p = pasta("--config-net")
    server = p.ns.listen("0.0.0.0", 7700)
    wait_listening(net.host, 7700)
    with net.host.connect(LO4, 7700) as s:
        conn, _ = server.accept()
        server.close()
        wait_closed(net.host, 7700)
        with conn:
            conn.settimeout(20)
            s.sendall(b"still here")
            assert conn.recv(100) == b"still here"
