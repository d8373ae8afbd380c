"""MultiPL-E's own rule (`evaluation/src/eval_*.py`), carried out naively: which programs it takes as right.

    python3 multipl_e_reference.py < PROGRAMS > VERDICTS

Run as a file with nothing of ours beside it, in a container without a network that has the language's tools. Input:
[{"language", "program"}], where a program is prompt, completion cut at the stop strings, and tests; output: for each
its status. The rule is: where there is a compiler it ends with 0, and so does the program (C#: and says no `Fail` on
stderr, where a failed `Debug.Assert` is heard). The reference's time limits are 5 to 15 seconds by the clock; here it
is a minute, since the machine is a busy one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

TUPLES = "/usr/share/java/javatuples.jar"
COMMANDS = {
    "js": ("a.js", [], ["node", "a.js"]),
    "php": ("a.php", [], ["php", "a.php"]),
    "sh": ("a.sh", [], ["bash", "a.sh"]),
    "cs": ("a.cs", [["mcs", "-d:DEBUG", "-r:System.Numerics.dll", "a.cs", "-out:a.exe"]], ["mono", "a.exe"]),
    "rs": ("a.rs", [["rustc", "a.rs", "-o", "a"]], ["./a"]),
    "ts": ("a.ts", [["tsc", "--target", "esnext", "a.ts"]], ["node", "a.js"]),
    "java": ("Problem.java", [["javac", "-encoding", "UTF8", "-cp", TUPLES, "-d", ".", "Problem.java"]],
             ["java", "-ea", "-cp", f".:{TUPLES}", "Problem"]),
    "cpp": ("a.cpp", [["g++", "a.cpp", "-o", "a", "-std=c++17"]], ["./a"]),
}  # fmt: skip
LIMIT_S = 60


def status(language: str, program: str) -> str:
    """What the reference's `eval_script` calls it."""
    source, builds, run = COMMANDS[language]
    environment = {**os.environ, "MONO_TRACE_LISTENER": "Console.Error"}
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/{source}", "w", encoding="utf-8") as file:
            file.write(program)
        try:
            for build in builds:
                if subprocess.run(build, cwd=folder, capture_output=True, timeout=LIMIT_S, check=False).returncode:
                    return "SyntaxError"
            done = subprocess.run(
                run, cwd=folder, capture_output=True, timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL,
                env=environment,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "Timeout"
    if done.returncode != 0 or (language == "cs" and b"Fail" in done.stderr):
        return "Exception"
    return "SyntaxError" if language == "php" and b"PHP Parse error" in done.stdout else "OK"


def main() -> None:
    """Judge and print."""
    verdicts = [status(given["language"], given["program"]) for given in json.load(sys.stdin)]
    print(json.dumps(verdicts))


if __name__ == "__main__":
    main()
