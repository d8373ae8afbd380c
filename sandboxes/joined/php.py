"""PHP: a script of ours reads the secret and the tests, loads the candidate, runs the tests, and only then writes.

The secret is a local variable of a function whose frame no other can look into.
"""

from __future__ import annotations

import re
from dataclasses import replace

from sandboxes.joined.text import closed, tag
from sandboxes.languages import Language
from sandboxes.programs import Program

_RUN = r"""<?php
namespace TAG;

(static function (): void {
    $input = \fopen('php://stdin', 'rb');
    $kept = \fgets($input);
    \fclose($input);
    if (\strlen((string) $kept) !== 33) {
        exit(97);
    }
    $output = \fopen('php://stdout', 'wb');
    $tests = \file_get_contents('tests.php');
    $write = \Closure::fromCallable('fwrite');
    load();
    run($tests);
    $write($output, "\n" . $kept);
})();

function load(): void
{
    require 'candidate.php';
    foreach (\get_defined_vars() as $TAG_name => $TAG_value) {
        $GLOBALS[$TAG_name] = $TAG_value;
    }
}

function run(string $TAG_tests): void
{
    eval($TAG_tests);
}
"""


def join(language: Language, code: str, tests: str) -> Program:
    """The program of both."""
    code, tests = closed(code, tests)
    ours = tag("php", code, tests)
    if "<?" not in code:
        code = f"<?php\n{code}"
    files = {
        "candidate.php": code.encode("utf-8", "surrogatepass"),
        "tests.php": re.sub(r"\A\s*<\?php\b", "", tests).encode("utf-8", "surrogatepass"),
    }
    program = Program.of(language, _RUN.replace("TAG", ours), files)
    source = language.names_in("")[0]
    return replace(program, check=tuple("candidate.php" if part == source else part for part in program.check))
