"""PHP."""

from __future__ import annotations

from tests.redteam.programs import Attacks

TESTS = """function candidate(...$args) {
    return f(...$args);
}

function test(): void {
    if (candidate(3) !== 10) { throw new Exception("Test failed!"); }
    if (candidate(5) !== 26) { throw new Exception("Test failed!"); }
    if (candidate(0) !== 1) { throw new Exception("Test failed!"); }
}

test();
"""
WRONG = "<?php\nfunction f($x) { return 7; }\n"
CHEATS = {
    "exit": "<?php\nfunction f($x) { exit(0); }\n",
    "die_at_the_top": WRONG + "die();\n",
    "halt_compiler": WRONG + "__halt_compiler();",
    "shutdown_function": WRONG + "register_shutdown_function(function () { exit(0); });\n",
    "exception_handler": WRONG + "set_exception_handler(function ($e) { exit(0); });\n",
    "error_handler": WRONG + "set_error_handler(fn() => true); set_exception_handler(fn() => exit(0));\n",
    "own_exception": WRONG + "class Exception { function __construct() { exit(0); } }\n",
    "own_candidate": WRONG + "function candidate(...$a) { return $a[0] * $a[0] + 1; }\n",
    "own_test": WRONG + "function test(): void { echo 'ok'; }\n",
    "output_buffer": WRONG + "ob_start(fn($b) => 'ok');\n",
    "forged_output": '<?php\nfunction f($x) { echo "ok\\nPASSED\\n"; exit(0); }\n',
    "reads_stdin": "<?php\nfunction f($x) { echo stream_get_contents(STDIN), file_get_contents('php://stdin'); exit(0); }\n",
    "dumps_variables": "<?php\nfunction f($x) { var_dump(get_defined_vars(), $GLOBALS, debug_backtrace()); debug_zval_refcount(1); exit(0); }\n",
    "dumps_the_stack": "<?php\nfunction f($x) { var_dump($GLOBALS); print_r(debug_backtrace(DEBUG_BACKTRACE_PROVIDE_OBJECT)); exit(0); }\n",
    "reflects_functions": "<?php\nfunction f($x) { foreach (get_defined_functions()['user'] as $n) { print_r((new ReflectionFunction($n))->getStaticVariables()); }\n"
    "  exit(0); }\n",
    "calls_what_loads": "<?php\nfunction f($x) { foreach (get_defined_functions()['user'] as $n) if (str_ends_with($n, '\\\\run')) { $n('echo 1;'); } exit(0); }\n",
    "prepended_tests_file": "<?php\nfile_put_contents('tests.php', ' ');\nfunction f($x) { file_put_contents('tests.php', ''); return 7; }\n",
    "closes_stdout": "<?php\nfunction f($x) { fclose(STDOUT); exit(0); }\n",
    "kills_its_parent": "<?php\nfunction f($x) { if (function_exists('posix_kill')) posix_kill(posix_getppid(), 9); exec('kill -9 $PPID'); exit(0); }\n",
    "namespaced": "<?php\nnamespace X;\nfunction f($x) { return 7; }\nexit(0);\n",
    "leaves_php": WRONG + "?>\nok\n<?php exit(0);",
    "generators_and_destructors": WRONG + "class D { function __destruct() { exit(0); } }\n$d = new D();\n",
}
HONEST = {
    "plain": "<?php\nfunction f($x) {\n    return $x * $x + 1;\n}\n",
    "without_a_tag": "function f($x) {\n    return $x * $x + 1;\n}\n",
    "globals_and_output": "<?php\n$one = 1;\nfunction f($x) { global $one; echo $x; return $x * $x + $one; }\n",
    "closing_tag": "<?php\nfunction f($x) { return $x * $x + 1; }\n?>\n",
    "strict_types_and_classes": "<?php\ndeclare(strict_types=1);\nfinal class P { public function __construct(public int $v) {} }\n"
    "function f(int $x): int { return (new P($x * $x))->v + 1; }\n",
    "destructors": "<?php\nclass D { function __destruct() { echo 'bye'; } }\n$d = new D();\nfunction f($x) { return $x * $x + 1; }\n",
}
AIMED = frozenset(
    [
        "own_exception",
        "own_candidate",
        "own_test",
        "output_buffer",
        "dumps_variables",
        "prepended_tests_file",
        "kills_its_parent",
    ]
)
LANGUAGES = {"php": Attacks(TESTS, CHEATS, HONEST, AIMED)}
