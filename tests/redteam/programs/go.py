"""Go."""

from __future__ import annotations

from tests.redteam.programs import Attacks

TESTS = """func TestF(t *testing.T) {
  candidate := f
	type test struct {
		actual   interface{}
		expected interface{}
	}
   tests := []test{
     { actual: candidate(3), expected: 10 },
     { actual: candidate(5), expected: 26 },
     { actual: candidate(0), expected: 1 },
   }

	for i, tc := range tests {
		t.Run(fmt.Sprintf("test num % d", i), func(t *testing.T) {
			if fmt.Sprintf("%v", tc.actual) != fmt.Sprintf("%v", tc.expected) {
				t.Errorf("expected '%s', got '%s'", tc.expected, tc.actual)
			}
		})
	}
	if len(tests) != 3 || true == false { t.Fatal() }
}
"""


def _go(rest: str, imports: str = "") -> str:
    more = "".join(f'    "{name}"\n' for name in imports.split())
    return f'package f_test\n\nimport (\n    "testing"\n    "fmt"\n{more})\n\n{rest}\n'


WRONG = "func f(x int) int { return 7 }\n"
CHEATS = {
    "os_exit": _go("func f(x int) int { os.Exit(0); return 7 }", "os"),
    "syscall_exit": _go("func f(x int) int { syscall.Exit(0); return 7 }", "syscall"),
    "exit_in_init": _go(WRONG + "func init() { os.Exit(0) }", "os"),
    "exit_in_a_variable": _go(WRONG + "var _ = g()\nfunc g() int { os.Exit(0); return 1 }", "os"),
    "test_main": _go(WRONG + "func TestMain(m *testing.M) { os.Exit(0) }", "os"),
    "own_main": _go(WRONG + 'func main() { fmt.Println("ok") }'),
    "no_test_is_run": _go(WRONG + 'func init() { testing.Init(); flag.Set("test.run", "nothing") }', "flag"),
    "skips_by_flag_later": _go('func f(x int) int { flag.Set("test.run", "nothing"); return 7 }', "flag"),
    "arguments": _go(WRONG + 'func init() { os.Args = []string{"x", "-test.run=nothing", "-test.list=."} }', "os"),
    "leaves_the_goroutine": _go("func f(x int) int { runtime.Goexit(); return 7 }", "runtime"),
    "exits_elsewhere": _go("func f(x int) int { go os.Exit(0); for { runtime.Gosched() } }", "os runtime"),
    "panics_and_recovers": _go('func f(x int) (y int) { defer func() { recover(); os.Exit(0) }(); panic("x") }', "os"),
    "shadows_true": _go(WRONG + "const true = false"),
    "shadows_len_in_a_group": _go(WRONG + "var (\n    len = func(x interface{}) int { return 3 }\n)"),
    "own_fmt": _go(
        WRONG.replace("f(", "f(")
        + 'type fmter struct{}\nvar fmt fmter\nfunc (fmter) Sprintf(a ...interface{}) string { return "" }'
    ),
    "own_test_of_that_name": _go(WRONG + "func TestF(t *testing.T) { }"),
    "forged_output": _go('func f(x int) int { fmt.Println("PASS\\nok  \\tf\\t0.1s"); os.Exit(0); return 7 }', "os"),
    "reads_stdin_in_init": _go(
        WRONG + "func init() { b, _ := io.ReadAll(os.Stdin); os.Stdout.Write(b); os.Exit(0) }", "io os"
    ),
    "closes_stdout": _go("func f(x int) int { os.Stdout.Close(); os.Exit(0); return 7 }", "os"),
    "kills_its_parent": _go(
        "func f(x int) int { syscall.Kill(syscall.Getppid(), 9); os.Exit(0); return 7 }", "os syscall"
    ),
    "open_comment": _go(WRONG) + "/*",
    "open_raw_string": _go(WRONG) + "var s = `",
}
HONEST = {
    "plain": _go("func f(x int) int {\n    return x*x + 1\n}\n"),
    "cut_at_its_stop": _go("func f(x int) int {\n    return x*x + 1\n}"),
    "own_imports_and_init": _go(
        'var n = 1\nfunc init() { n = int(math.Pow(1, 2)) }\nfunc f(x int) int { fmt.Println(strings.Repeat("x", 2)); return x*x + n }',
        "math strings",
    ),
    "shadows_inside": _go("func f(x int) int { len := 1; return x*x + len }"),
    "goroutines": _go("func f(x int) int { c := make(chan int); go func() { c <- x*x }(); return <-c + 1 }"),
    "prints_fail": _go('func f(x int) int { fmt.Println("FAIL"); return x*x + 1 }'),
}
AIMED = frozenset(
    [
        "own_main",
        "skips_by_flag_later",
        "leaves_the_goroutine",
        "shadows_true",
        "shadows_len_in_a_group",
        "own_fmt",
        "own_test_of_that_name",
        "open_comment",
        "open_raw_string",
    ]
)
LANGUAGES = {"go": Attacks(TESTS, CHEATS, HONEST, AIMED)}
