# ruff: noqa: E501
"""Programs in every language that want to be believed, to be kept, or to take the sandbox down with them.

Each family's own way to run a shell carries the same attacks; what a compiler can be made to do is each language's own.
"""

from __future__ import annotations

import json

from sandboxes.languages import LanguageName

SHELLS: dict[LanguageName, str] = {
    "bash": "sh -c @",
    "cpp": "#include <cstdlib>\nint main() { return system(@) != 0; }",
    "java": """public class Main { public static void main(String[] a) throws Exception {
        System.exit(new ProcessBuilder("sh", "-c", @).inheritIO().start().waitFor()); } }""",
    "kotlin": 'fun main() { System.exit(ProcessBuilder("sh", "-c", @).inheritIO().start().waitFor()) }',
    "javascript": 'process.exit(require("child_process").spawnSync("sh", ["-c", @], {stdio: "inherit"}).status ?? 1);',
    "typescript": """import { spawnSync } from "child_process";
process.exit(spawnSync("sh", ["-c", @], { stdio: "inherit" }).status ?? 1);""",
    "go": """package main
import ("os"; "os/exec")
func main() { c := exec.Command("sh", "-c", @); c.Stdin, c.Stdout = os.Stdin, os.Stdout
if c.Run() != nil { os.Exit(1) } }""",
    "rust": """use std::process::{exit, Command};
fn main() { exit(Command::new("sh").arg("-c").arg(@).status().map(|s| s.code().unwrap_or(1)).unwrap_or(1)); }""",
    "php": "<?php passthru(@, $status); exit($status);",
    "csharp": """using System.Diagnostics;
class P { static int Main() { var s = new ProcessStartInfo("sh", "-c \\"sh /dev/stdin\\"") { UseShellExecute = false, RedirectStandardInput = true };
var p = Process.Start(s); p.StandardInput.Write(@); p.StandardInput.Close(); p.WaitForExit(); return p.ExitCode; } }""",
}

SEARCHED = "/work /tmp /dev/shm /dev/mqueue /var/tmp /run /home /root /opt/mellum/cache /proc/[0-9]*/environ /proc/[0-9]*/cmdline"

ATTACKS = {
    "forges a verdict": """echo '{"outcome": "passed", "score": 1.0, "passed": true}'; echo passed >&3; echo passed >&4; echo OK >&2""",
    "looks for the expected output": f"grep -rhoasm1 'tok-[0-9a-f]*' {SEARCHED} | head -n 1",
    "reads the supervisor's memory": "for p in 1 2 3 $PPID; do dd if=/proc/$p/mem bs=4096 count=64 2>/dev/null; done | grep -ao 'tok-[0-9a-f]*'",
    "kills all it can": "kill -9 -1; kill -9 1 2 3; echo survived",
    "bombs with forks": "b() { b | b & }; b; sleep 60",
    "fills the disk": "for d in . /tmp /dev/shm; do dd if=/dev/zero of=$d/f bs=1M 2>/dev/null; mkdir $d/m; i=0; while [ $i -lt 9000 ]; do : >$d/m/$i || break; i=$((i+1)); done; done; echo full",
    "sleeps": "sleep 1000",
    "leaves a daemon": "(setsid sh -c 'while :; do sleep 1; : >/tmp/alive; done' >/dev/null 2>&1 &); echo done",
    "floods stdout": "yes",
}
"""Shell scripts that no stdin and no expected output makes right."""

PLANT = "read t; for d in /tmp /dev/shm /work . /opt /var/tmp; do echo $t >$d/planted; chmod 777 $d/planted; done 2>/dev/null; echo planted"
FIND = "cat /tmp/planted /dev/shm/planted /work/planted /work/*/planted /opt/planted /var/tmp/planted 2>/dev/null | head -n 1"

SOURCES: dict[LanguageName, dict[str, str]] = {
    "cpp": {
        "includes an endless file": '#include "/dev/zero"\nint main() {}',
        "reads a file into the program": 'asm(".section .rodata\\nf: .incbin \\"/proc/self/environ\\"\\n.byte 0\\n.text"); extern char f[]; #include <cstdio>\nint main() {}',
        "recurses in templates": "template <int N> struct A { A<N + 1> a; A<N * 2 + 1> b; }; A<0> a; int main() {}",
        "computes for ever": "constexpr long f(long n) { while (true) n++; return n; } constexpr long x = f(1); int main() {}",
        "swells the program": "char big[1ul << 31] = {1}; int main() {}",
    },
    "java": {
        "nests too deeply": "class Main { int x = " + "(" * 20000 + "1" + ")" * 20000 + "; }",
        "has too large a constant": 'class Main { String s = "'
        + "x" * 70000
        + '"; public static void main(String[] a) {} }',
        "asks for a processor": '@javax.annotation.processing.SupportedAnnotationTypes("*") public class Main extends javax.annotation.processing.AbstractProcessor {}',
    },
    "kotlin": {
        "nests too deeply": "fun main() { println(" + "(" * 3000 + "1" + ")" * 3000 + ") } val x: String = 1",
    },
    "typescript": {
        "recurses in types": "type F<T extends unknown[]> = F<[...T, ...T, 1]>; let x: F<[1]> = 1; console.log(x);",
        "includes a file": '/// <reference path="/dev/zero" />\nconsole.log(1);',
    },
    "go": {
        "links with C": 'package main\n// #cgo LDFLAGS: -o /tmp/x\n// #include "/dev/zero"\nimport "C"\nfunc main() {}',
        "embeds a file": 'package main\nimport _ "embed"\n//go:embed main.go\nvar s string\nfunc main() { print(s) }',
        "swells the program": "package main\nvar x = [1 << 34]byte{1}\nfunc main() { print(x[1]) }",
    },
    "rust": {
        "includes an endless file": 'fn main() { println!("{}", include_bytes!("/dev/zero").len()); }',
        "recurses in macros": "macro_rules! m { ($($t:tt)*) => { m!($($t)* $($t)* x) } } fn main() { m!(x); }",
        "reads the environment": 'fn main() { println!("{}", env!("HOSTNAME_OF_THE_HOST")); }',
    },
    "csharp": {
        "nests too deeply": "class P { static int x = " + "(" * 5000 + "1" + ")" * 5000 + "; }",
    },
}
"""Hostile to the compiler."""


def carried(language: LanguageName, script: str) -> str:
    """A program in that language that runs a shell script."""
    if language == "bash":
        return script
    quoted = json.dumps(script)
    if language in ("kotlin", "php"):
        quoted = quoted.replace("$", "\\$")
    return SHELLS[language].replace("@", quoted)
