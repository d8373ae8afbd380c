"""C#: tests in a namespace and class of their own, started by a `Main` of ours.

Names of that namespace's usings come before the candidate's, and its `Debug.Assert` is ours. The secret is a local
variable, out of reach of reflection.
"""

from __future__ import annotations

import re
from dataclasses import replace

from sandboxes.joined.jvm import _closed, _foreign, _holder, _outermost
from sandboxes.joined.text import replace_names, tag
from sandboxes.languages import Language
from sandboxes.programs import Program

_USING = re.compile(r"^[ \t]*using[ \t]+[\w.]+[ \t]*;", re.MULTILINE)

_RUN = """namespace TAG {
    public static class Checked {
        static bool failed;
        public static bool Failed { get { return failed; } }
        public static void Assert(bool holds) { Assert(holds, ""); }
        public static void Assert(bool holds, string what) {
            if (holds) return;
            failed = true;
            throw new global::System.InvalidOperationException("assertion failed: " + what);
        }
        public static void Fail(string what) { Assert(false, what); }
        public static void WriteLine(object what) { }
        public static void Write(object what) { }
    }
    public static class Run {
        public static int Main() {
            var kept = new byte[33];
            var input = global::System.Console.OpenStandardInput();
            var output = global::System.Console.OpenStandardOutput();
            for (int at = 0, n; at < 33; at += n)
                if ((n = input.Read(kept, at, 33 - at)) <= 0) return 97;
            for (int i = 0; i < 32; i++) kept[i] ^= 0x25;
            global::TAG.Tests.CALL;
            if (Checked.Failed) return 134;
            for (int i = 0; i < 32; i++) kept[i] ^= 0x25;
            kept[32] = 10;
            output.WriteByte(10);
            output.Write(kept, 0, 33);
            output.Flush();
            return 0;
        }
    }
}
"""


def join(language: Language, code: str, tests: str) -> Program:
    """The program of both."""
    code, tests, cut = _closed(code, tests)
    ours = tag("csharp", code, tests)
    usings = "".join(dict.fromkeys(f"{found.strip()}\n" for found in _USING.findall(code + "\n" + tests)))
    body = _USING.sub("", tests)
    if cut:
        functions = _foreign(body)
        body = replace_names(body, f"global::{_holder(code, functions)}.", functions)
        body = f"static class Tests {{\n{body}\n}}"
    else:
        body = re.sub(rf"\bclass\s+{_outermost(tests, with_main=True)}\b", "class Tests", body, count=1)
    body = re.sub(
        r"\b(?:private\s+|public\s+|internal\s+)?static\s+(void|int)\s+Main\b", r"public static \1 Main", body
    )
    head = re.search(r"\bMain\s*\(([^()]*)\)", body)
    call = "Main(new string[0])" if head and head[1].strip() else "Main()"
    text = f"namespace {ours} {{\n{usings}using Debug = Checked;\nusing Trace = Checked;\n{body}\n}}\n"
    program = Program.of(language, code)
    (step,) = program.build
    source = language.names_in(code)[0]
    files = {
        source: code.encode("utf-8", "surrogatepass"),
        "tests.cs": text.encode("utf-8", "surrogatepass"),
        f"{ours}.cs": _RUN.replace("TAG", ours).replace("CALL", call).encode(),
    }
    build = (
        *(part for part in step if part != source),
        "-d:DEBUG",
        f"-main:{ours}.Run",
        source,
        "tests.cs",
        f"{ours}.cs",
    )
    return replace(program, files=files, build=(build,))
