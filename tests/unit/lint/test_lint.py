# SPDX-License-Identifier: MIT
"""Each rule of tools/lint fires on a bad snippet, at its line, and stays silent on good ones."""

import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
LINT = os.path.join(TOP, "tools", "lint")
SPDX = "/* SPDX-License-Identifier: MIT */\n"
ONCE = SPDX + "#pragma once\n"

# Headers that the snippets include.
SCENE = {
    "src/base/rd.h": ONCE,
    "src/os/sock.h": ONCE,
    "src/wire/tcp.h": ONCE + '#include "base/rd.h"\n',
    "src/tcp/tcp.h": ONCE,
    "src/core/engine.h": ONCE,
}


def load():
    """The script as a module: starting it anew for each snippet would take ten times as long."""
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("lint", LINT)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("lint", loader))
    loader.exec_module(module)
    return module


MODULE = load()


def lint(root, *args):
    found = MODULE.find_all(MODULE.Tree(str(root)), "--no-format" not in args)
    return [f"{path}:{n}: {what}" for path, n, what in sorted(found)]


def write(root, files):
    for path, text in files.items():
        full = root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(text.encode())


@pytest.fixture(name="tree")
def scene(tmp_path):
    write(tmp_path, SCENE)
    assert lint(tmp_path) == []
    return tmp_path


def func(body, head="void f(void)"):
    return SPDX + head + "\n{\n" + body + "}\n"


def long_func(lines):
    return func("\tg();\n" * (lines - 3))


DEEP = "\tfor (;;) {\n\t\tif (a) {\n\t\t\twhile (b) {\n\t\t\t\tg();\n\t\t\t}\n\t\t}\n\t}\n"
DEEPER = DEEP.replace("g();", "if (c)\n\t\t\t\t\tg();")
MACHINE = "/wo" + "rk/main/x"

# path, text, line, part of the message
BAD = [
    ("src/wire/a.c", SPDX + '#include "os/sock.h"\n', 2, 'wire/ may not include "os/sock.h"'),
    ("src/tcp/a.c", SPDX + '#include "core/engine.h"\n', 2, "may not include"),
    ("src/base/a.h", ONCE + '#include "wire/tcp.h"\n', 3, "may not include"),
    ("src/link/vhost/a.c", SPDX + '#include "wire/tcp.h"\n', 2, 'link/ may not include "wire/tcp.h"'),
    ("src/wire/a.c", SPDX + '#include "tcp.h"\n', 2, 'not written as "layer/file.h"'),
    ("src/wire/a.c", SPDX + '#include "wire/nothing.h"\n', 2, "does not exist"),
    ("src/other/a.c", SPDX, 1, "in no layer"),
    ("src/wire/a.c", SPDX + "\n" * 800, 801, "file has 801 lines"),
    ("src/wire/a.c", long_func(81), 2, "f() has 81 lines"),
    ("src/wire/a.c", func("", "void f(struct x *x, int a, int b, int c, int d, int e)"), 2, "f() has 5 parameters"),
    ("src/wire/a.c", func("", "int f(int a, int b, int c, int d, int e)"), 2, "f() has 5 parameters"),
    ("src/wire/a.c", func(DEEPER), 7, "nested deeper than 3"),
    ("src/wire/a.c", SPDX + "#include <sys/epoll.h>\n", 2, "does no I/O: <sys/epoll.h>"),
    ("src/base/a.c", func('\tprintf("x");\n'), 4, "does no I/O: printf()"),
    ("src/service/a.c", func("\tn = read(fd, buf, len);\n"), 4, "does no I/O: read()"),
    ("src/flow/a.c", func("\tif (send(fd, buf, len, 0) < 0)\n\t\treturn;\n"), 4, "does no I/O: send()"),
    ("src/base/a.c", func("\tclock_gettime(CLOCK_MONOTONIC, &ts);\n"), 4, "reads no clock: clock_gettime()"),
    ("src/tcp/a.c", func("\tnow = time(NULL);\n"), 4, "reads no clock: time()"),
    ("src/wire/frag2.c", func("\tp = mmap(NULL, 1, 2, 3, 4, 5);\n"), 4, "does no I/O: mmap()"),
    ("src/tcp/a.c", func("\tn = recvmsg(fd, &m, 0);\n"), 4, "recvmsg() is called in os/ only"),
    ("src/udp/a.c", func("\tsetsockopt(fd, 1, 2, 3, 4);\n"), 4, "setsockopt() is called in os/ only"),
    ("src/tcp/a.c", func('\tdie("x");\n'), 4, "die() ends the process"),
    ("src/os/a.c", func("\texit(1);\n"), 4, "exit() ends the process"),
    ("src/tcp/a.c", func("\t_exit(1);\n"), 4, "_exit() ends the process"),
    ("src/tcp/a.c", SPDX + "static int count;\n", 2, "mutable variable at file scope"),
    ("src/tcp/a.c", SPDX + "struct x all = {\n\t.a = 1,\n};\n", 2, "mutable variable at file scope"),
    ("src/tcp/a.c", SPDX + 'static const char *name = "x";\n', 2, "mutable variable at file scope"),
    ("src/tcp/a.c", SPDX + 'const char *names[] = { "a", "b" };\n', 2, "mutable variable at file scope"),
    ("src/tcp/a.c", SPDX + "static void (*hook)(const int *x);\n", 2, "mutable variable at file scope"),
    ("src/tcp/a.c", SPDX + "static struct {\n\tint a;\n} state;\n", 2, "mutable variable at file scope"),
    ("src/tcp/a.c", func("\tg();\n") + "\nint last;\n", 7, "mutable variable at file scope"),
    ("src/tcp/a.c", func("\tstatic unsigned calls;\n"), 4, "mutable static variable"),
    ("src/tcp/a.c", func("\tstatic void (*hook)(void);\n"), 4, "mutable static variable"),
    ("src/wire/a.c", func("\tp += 4;\n", "void f(const uint8_t *p)"), 4, "pointer arithmetic on wire data"),
    ("src/wire/a.c", func("\tuint8_t *q = x;\n\n\t*q++ = 0;\n"), 6, "pointer arithmetic on wire data"),
    ("src/wire/a.h", SPDX, 1, "without #pragma once"),
    ("src/wire/a.c", "int f(void);\n", 1, "no line SPDX"),
    ("tools/a.py", "print()\n", 1, "no line SPDX"),
    ("tools/a", "#!/bin/sh\necho\n", 1, "no line SPDX"),
    ("doc/a.md", "one\ntwo \n", 2, "white space at the end"),
    ("doc/a.md", "one\ntwo\t\n", 2, "white space at the end"),
    ("doc/a.md", "one\r\ntwo\n", 1, "CRLF"),
    ("doc/a.md", "one", 1, "no newline at the end"),
    ("doc/a.md", "see\n" + MACHINE + "\n", 2, "path of somebody's machine"),
    ("tests/a.py", "# SPDX-License-Identifier: MIT\nP = '/ho" + "me/me'\n", 2, "path of somebody's machine"),
]
BANNED = ["strcpy(a, b)", "stpcpy(a, b)", "sprintf(a, b)", "vsprintf(a, b, c)", "strcat(a, b)", "strncat(a, b, 1)", "gets(a)"]
BANNED += ["atoi(a)", "atol(a)", "atoll(a)", "alloca(1)", "strtok(a, b)"]
BAD += [("src/core/a.c", func(f"\tx = {call};\n"), 4, call.split("(", maxsplit=1)[0] + "() is banned") for call in BANNED]


@pytest.mark.parametrize("path,text,line,what", BAD, ids=lambda v: v if isinstance(v, str) and "\n" not in v else "")
def test_fires(tree, path, text, line, what):
    write(tree, {path: text})
    found = lint(tree, "--no-format")
    assert len(found) == 1, found
    assert found[0].startswith(f"{path}:{line}: ")
    assert what in found[0]


GOOD = [
    ("src/tcp/a.c", SPDX + '#include <sys/epoll.h>\n\n#include "base/rd.h"\n#include "os/sock.h"\n#include "tcp/tcp.h"\n'),
    ("src/core/a.c", SPDX + '#include "tcp/tcp.h"\n#include "wire/tcp.h"\n'),
    ("src/wire/a.c", SPDX + '/*\n#include "os/sock.h"\n*/\n'),
    ("src/wire/a.c", SPDX + "\n" * 799),
    ("src/wire/a.c", long_func(80)),
    # A constant table is data.
    ("src/wire/a.c", func("\tstatic const int t[] = {\n" + "\t\t1,\n" * 100 + "\t};\n" + "\tg();\n" * 70)),
    ("src/wire/a.c", func("", "int f(struct x *x, int a, int b, int c, int d, int *ret_e, int *ret_f)")),
    ("src/wire/a.c", func("", "int f(struct x *x, const void *buf, size_t len, void (*fn)(int, int), int c, int d)")),
    ("src/wire/a.c", func("", "int f(uint8_t p, const struct addr *a, uint16_t aport, const struct addr *b, uint16_t bport, int c)")),
    ("src/wire/a.c", func(DEEP)),
    ("tests/unit/a.c", func(DEEPER + "\tstrcpy(a, b);\n")),
    ("src/wire/a.c", func("\tsnprintf(a, 1, b);\n\tl->read(fd);\n\tops.close(fd);\n\tcsum_open(1);\n")),
    ("src/wire/a.c", func('\tg("read(fd) strcpy(a) exit(1)"); // sprintf(x)\n')),
    ("src/base/log.c", func('\tfprintf(stderr, "x");\n')),
    ("src/base/log.c", SPDX + "static int level;\n"),
    ("src/bin/a.c", SPDX + "static int level;\n" + func("\texit(1);\n")),
    ("src/conf/a.c", func('\tdie("x");\n')),
    ("src/os/a.c", func("\tn = recvmsg(fd, &m, 0);\n\tclock_gettime(1, &ts);\n\t_exit(0);\n")),
    ("src/tcp/a.c", SPDX + "static const int a = 1;\nstatic const char *const names[] = {\n\t\"x\",\n};\nstruct x;\n"),
    ("src/tcp/a.c", SPDX + "struct x {\n\tint a;\n\tstruct {\n\t\tint b;\n\t} y;\n} __attribute__((packed));\nenum e { A, B };\n"),
    ("src/tcp/a.c", SPDX + "typedef int fn(int);\nextern int far;\nint f(int (*g)(int), const char *s);\nint *h(void);\n"),
    ("src/tcp/a.c", SPDX + "static int (*const steps[])(int) = { a, b };\n" + func("\tstatic int (*const s[])(int) = { a };\n")),
    ("src/tcp/a.c", SPDX + "#define M(x) \\\n\tdo { \\\n\t\tstatic int once; \\\n\t} while (0)\n".replace("static int once", "g()")),
    ("src/tcp/a.c", SPDX + "#define LIST \\\n\tint x;\n"),
    ("src/wire/a.c", func("\tn += 4;\n\tr.p += 4;\n\tsum += *p;\n", "void f(const uint8_t *p, size_t n)")),
    ("src/base/a.c", func("\tp += 4;\n", "void f(const uint8_t *p)")),
    ("doc/a.md", "A net" + MACHINE[:5] + " and https://example.org/ho" + "me\n"),
    ("doc/a.bin", "\0 \r\n"),
    ("tests/fuzz/corpus/x/a", "one \r\ntwo"),
]


@pytest.mark.parametrize("path,text", GOOD)
def test_stays_silent(tree, path, text):
    write(tree, {path: text})
    assert lint(tree, "--no-format") == []


def test_ring(tree):
    write(
        tree,
        {
            "src/base/a.h": ONCE + '#include "base/b.h"\n',
            "src/base/b.h": ONCE + '\n#include "base/c.h"\n',
            "src/base/c.h": ONCE + '#include "base/a.h"\n',
        },
    )
    assert lint(tree) == ["src/base/c.h:3: ring of includes: base/a.h -> base/b.h -> base/c.h -> base/a.h"]


@pytest.mark.skipif(not shutil.which("clang-format"), reason="needs clang-format")
def test_format(tree):
    shutil.copy(os.path.join(TOP, ".clang-format"), tree)
    write(tree, {"src/base/a.c": SPDX + "int f( int a );\n", "src/base/b.c": SPDX + "int f(int a);\n"})
    assert lint(tree) == ["src/base/a.c:2: not as clang-format would write it"]
    assert lint(tree, "--no-format") == []


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_ignored_files(tree):
    subprocess.run(["git", "init", "-q", str(tree)], check=True)
    write(tree, {".gitignore": "/build*\n", "build-x/a.c": "int a; \n", "src/base/new.c": SPDX + "int a;\n"})
    assert lint(tree) == ["src/base/new.c:2: mutable variable at file scope"]


def test_any_folder(tmp_path):
    """The script finds its own tree from wherever it is called."""
    here = subprocess.run([LINT], cwd=tmp_path, capture_output=True, text=True, check=False)
    there = subprocess.run([LINT, TOP], cwd=TOP, capture_output=True, text=True, check=False)
    assert here.returncode in (0, 1)
    assert here.stderr == there.stderr == ""


def test_exit_status(tree):
    assert subprocess.run([LINT, str(tree)], check=False).returncode == 0
    write(tree, {"doc/a.md": "one \n", "doc/b.md": "one"})
    run = subprocess.run([LINT, str(tree)], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stdout == "doc/a.md:1: white space at the end of the line\ndoc/b.md:1: no newline at the end\n"


def test_wrong_root(tmp_path):
    run = subprocess.run([LINT, str(tmp_path / "none")], capture_output=True, text=True, check=False)
    assert run.returncode == 2
