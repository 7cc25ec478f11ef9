# SPDX-License-Identifier: MIT
"""A client of the control socket (docs/control.md)."""
import json
import socket


def step(what, spec, proto="tcp", table="in"):
    return {what: {"table": table, "proto": proto, "spec": spec}}


class Control:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        # With a time limit it would not wait for a place in the queue.
        self.sock.settimeout(None)
        self.sock.connect(str(path))
        self.sock.settimeout(60)
        self._lines = self.sock.makefile("rb")

    def send(self, message, fds=()):
        data = json.dumps(message).encode() + b"\n"
        if fds:
            assert socket.send_fds(self.sock, [data], list(fds)) == len(data)
        else:
            self.sock.sendall(data)

    def recv(self):
        """The next reply or event; None at the end."""
        line = self._lines.readline()
        return json.loads(line) if line else None

    def ask(self, what, fds=(), **members):
        self.send({"do": what, **members}, fds)
        return self.recv()

    def get(self, what, fds=(), **members):
        """A request that has to succeed."""
        reply = self.ask(what, fds, **members)
        assert reply["ok"], reply
        return reply

    def change(self, *steps):
        return self.ask("change", steps=list(steps))

    def verdicts(self, *steps):
        """{(table, proto, spec): verdict} of a change, and whether it was made."""
        reply = self.change(*steps)
        return reply["ok"], {(r["table"], r["proto"], r["spec"]): r["verdict"] for r in reply["results"]}

    def specs(self):
        """[(table, proto, spec, state)] of what is in effect."""
        return [(f["table"], f["proto"], f["spec"], f["state"]) for f in self.get("forwards")["forwards"]]

    def flows(self, **members):
        """All of them, page by page."""
        found, at = [], 0
        while at is not None:
            page = self.get("flows", **{"from": at}, **members)
            found += page["flows"]
            at = page["next"]
        return found

    def close(self):
        self._lines.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
