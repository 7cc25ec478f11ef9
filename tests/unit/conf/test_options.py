# SPDX-License-Identifier: MIT
"""The options of the program, of its help and of its manual pages are the same; and what programs that start it look for in its output.

The program is $PASST, or passt in the build folder named by $BUILD_DIR (default: build).
"""
import itertools
import json
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
PASST = pathlib.Path(os.environ.get("PASST") or ROOT / os.environ.get("BUILD_DIR", "build") / "src/bin/passt")
TABLE = ROOT / "src/conf/opt.c"
MODES = ["passt", "pasta"]


def run(*args, mode="passt"):
    return subprocess.run([mode, *args], executable=PASST, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)


def in_table(mode):
    """{long name: (letter or None, takes a value)} of the entries of the option table for a mode."""
    mode = "IN_" + mode.upper()
    found = {}
    text = TABLE.read_text()
    for m in re.finditer(r'^\t\{ "([a-z0-9-]+)",\s+(0|\'.\'),\s+(IN_\w+)(,\s+"[^"]+")?', text, re.M):
        if m[3] in (mode, "IN_BOTH"):
            found[m[1]] = (None if m[2] == "0" else m[2][1], bool(m[4]))
    return found


def in_help(mode):
    found = {}
    for m in re.finditer(r"^  (?:-(.), |    )--([a-z0-9-]+)( [A-Z]\S*)? ", run("--help", mode=mode).stdout, re.M):
        found[m[2]] = (m[1], bool(m[3]))
    return found


def in_man(mode):
    found = {}
    options = (ROOT / f"doc/{mode}.1.scd").read_text().split("# OPTIONS")[1].split("\n# ")[0]
    for line in options.splitlines():
        if not line.startswith("*-"):
            continue
        letter = None
        for m in re.finditer(r"\*--?([A-Za-z0-9-]+)\*(?: (_[^ ,]+))?", line):
            if len(m[1]) == 1:
                letter = m[1]
                continue
            found[m[1]] = (letter, bool(m[2]))
            letter = None
    return found


@pytest.mark.parametrize("mode", MODES)
def test_same_everywhere(mode):
    table = in_table(mode)
    assert len(table) > 40
    assert in_help(mode) == table
    assert in_man(mode) == table


@pytest.mark.parametrize("mode,other", itertools.permutations(MODES))
def test_options_of_the_other_mode(mode, other):
    """Each is an error by its own name, whatever its value, and whatever else is said."""
    own, strange = in_table(mode), in_table(other)
    assert set(strange) - set(own)
    for name in set(strange) - set(own):
        letter, takes = strange[name]
        forms = [[f"--{name}=x"], [f"--{name}", "x"]] if takes else [[f"--{name}"]]
        if letter:
            forms.append([f"-{letter}x"] if takes else [f"-{letter}"])
        for words in forms:
            r = run("-q", *words, mode=mode)
            assert (r.returncode, r.stdout, r.stderr) == (1, "", f"--{name} is for {other} mode only\n"), words


@pytest.mark.parametrize("mode", MODES)
def test_help_and_version(mode):
    r = run("--help", mode=mode)
    assert (r.returncode, r.stderr) == (0, "")
    assert r.stdout.startswith(f"Usage: {mode} ")
    assert max(map(len, r.stdout.splitlines())) < 150
    assert run("-h", mode=mode).stdout == r.stdout
    r = run("--version", mode=mode)
    assert (r.returncode, r.stderr) == (0, "")
    assert re.fullmatch(mode + r" \d\S*", r.stdout.splitlines()[0])


@pytest.mark.parametrize("mode", MODES)
def test_unknown_option(mode):
    r = run("--no-such-option", "--version", mode=mode)
    assert (r.returncode, r.stdout) == (1, "")
    assert f"{mode}: unrecognized option '--no-such-option'\n" in r.stderr
    assert r.stderr.endswith(run("--help", mode=mode).stdout)


def test_capabilities_and_description():
    """What managers of back end programs look at (docs/interop/vhost-user.json of QEMU): the program itself, and a file about it."""
    r = run("--print-capabilities")
    assert (r.returncode, r.stderr) == (0, "")
    can = json.loads(r.stdout)
    assert can == {"type": "net", "features": []}
    for args in ["--vhost-user"], ["--socket-path=/no/such/directory/socket"], ["--fd=77"]:
        assert run(*args, "--print-capabilities", "--no-such-option").stdout == r.stdout
    description = json.loads((PASST.parent / "50-passt.json").read_text())
    assert description.keys() == {"description", "type", "binary", "features"}
    assert {name: description[name] for name in can} == can
    assert pathlib.Path(description["binary"]).is_absolute()
    r = run("--print-capabilities", mode=description["binary"])
    assert (r.returncode, json.loads(r.stdout)) == (0, can)


def test_option_is_probed_with_version():
    assert run("--host-lo-to-ns-lo", "--version", mode="pasta").returncode == 0


@pytest.mark.parametrize("other, name", [(o, n) for m, o in (MODES, MODES[::-1]) for n in sorted(in_table(o).keys() - in_table(m))])
def test_other_mode(other, name):
    mode = MODES[other == "passt"]
    value = ["1"] if in_table(other)[name][1] else []
    r = run(f"--{name}", *value, mode=mode)
    assert (r.returncode, r.stdout, r.stderr) == (1, "", f"--{name} is for {other} mode only\n")


@pytest.mark.parametrize("name", ["other", "/usr/bin/pasta/other", ""])
def test_other_name(name):
    r = run("--version", mode=name)
    assert (r.returncode, r.stdout) == (1, "")
    assert "it has to be called passt or pasta" in r.stderr


@pytest.mark.parametrize(
    "args, message",
    [
        ("-a 10.0.0.300", "Invalid address: 10.0.0.300 (--address)"),
        ("-a 10.0.0.1/8 -n 8", "Redundant prefix length specification (--address, --netmask)"),
        ("-m 65522", "MTU 65522 too large (max 65521)"),
        ("--runas no-such-user", "Invalid --runas option: no-such-user"),
        ("--log-size 1", "Invalid --log-size: 1 (minimum 40960 bytes)"),
        ("-i no-such-dev", "Invalid interface name: no-such-dev (--interface): No such device"),
        ("word", "Extra non-option argument: word"),
        ("-4 -6", "Options --ipv4-only and --ipv6-only exclude each other"),
        ("--no-udp -u 53", "Port forwarding of UDP, but UDP is disabled: -u 53"),
    ],
)
def test_one_clear_line(args, message):
    r = run("-q", *args.split())
    assert (r.returncode, r.stdout, r.stderr) == (1, "", message + "\n")


@pytest.mark.parametrize(
    "args, message",
    [
        ("--netns x command", "Both --netns and a process or command: command"),
        ("-I lo", "Invalid interface name: lo (--ns-ifname)"),
        ("--no-copy-addrs", "--no-copy-addrs needs --config-net"),
        ("-T 127.0.0.1/80", "Listening address not allowed for -T 127.0.0.1/80"),
        ("--no-udp -U 53", "Port forwarding of UDP, but UDP is disabled: -U 53"),
        ("-t ::1/80 -4 1", "IPv6 forward, but IPv6 not enabled"),
    ],
)
def test_last_line_in_pasta_mode(args, message):
    r = run("-q", *args.split(), mode="pasta")
    assert (r.returncode, r.stdout) == (1, "")
    assert r.stderr.splitlines()[-1] == message
