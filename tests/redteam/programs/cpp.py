"""C++."""

from __future__ import annotations

from tests.redteam.programs import Attacks

TESTS = """}
int main() {
    auto candidate = f;
    assert(candidate((3)) == (10));
    assert(candidate((5)) == (26));
    assert(candidate((0)) == (1));
    int highest = INT_MAX; /* a comment )" to be swallowed */
    assert(highest == 2147483647);
}
"""

HEAD = "#include <cassert>\n#include <climits>\n#include <cstdio>\n#include <cstdlib>\n#include <unistd.h>\n"
WRONG = "long f(long x) { return 7; }\n"

CHEATS = {
    "exit_in_the_call": HEAD + "long f(long x) { exit(0); }\n",
    "underscore_exit": HEAD + "long f(long x) { _exit(0); }\n",
    "quick_exit": HEAD + "long f(long x) { std::quick_exit(0); }\n",
    "exit_in_a_constructor": HEAD + 'struct A { A() { puts("ok"); fflush(stdout); _exit(0); } } a;\n' + WRONG,
    "constructor_attribute": HEAD + "__attribute__((constructor(101))) void g() { _exit(0); }\n" + WRONG,
    "atexit_turns_failure_to_success": HEAD + "struct A { ~A() { _exit(0); } } a;\n" + WRONG,
    "abort_handler": HEAD + "#include <csignal>\nvoid h(int) { _exit(0); }\n"
    "struct A { A() { signal(SIGABRT, h); signal(SIGILL, h); signal(SIGTRAP, h); } } a;\n" + WRONG,
    "terminate_handler": HEAD + "#include <exception>\nvoid h() { _exit(0); }\n"
    "long f(long x) { std::set_terminate(h); throw 1; }\n",
    "define_assert": HEAD + WRONG + "#undef assert\n#define assert(...) ((void)0)\n",
    "define_ndebug": "#define NDEBUG\n" + HEAD + WRONG,
    "define_assert_fail": HEAD + WRONG + "#define __assert_fail(...) ((void)0)\n",
    "function_assert_fail": '#include <climits>\nextern "C" void __assert_fail(const char*, const char*, unsigned, const char*) {}\n'
    + WRONG,
    "function_abort": HEAD + 'extern "C" void abort() { _exit(0); }\n' + WRONG,
    "define_main": HEAD + WRONG + "int main() { return 0; }\n#define main other\n",
    "main_replaced": HEAD + WRONG + "int main() { return 0; }\n",
    "main_by_label": HEAD + WRONG + 'int other() __asm__("main");\nint other() { return 0; }\n',
    "start_replaced": HEAD + WRONG + 'extern "C" void _start() { _exit(0); }\n',
    "libc_start_main": HEAD + WRONG + 'extern "C" int __libc_start_main(...) { _exit(0); }\n',
    "define_candidate": HEAD + WRONG + "#define candidate(x) ((x) * (x) + 1)\n",
    "define_if_and_int": HEAD + WRONG + "#define bool_ bool\n#define static_cast true || static_cast\n",
    "define_auto": HEAD + WRONG + "#define auto struct { long operator()(long x) { return x * x + 1; } }\n",
    "define_int_max": HEAD
    + "long f(long x) { return INT_MAX; }\n#undef INT_MAX\n#define INT_MAX 2147483647; return 0\n#define highest 1 || 0\n",
    "open_comment": HEAD + WRONG + "int main() { return 0; }\n/*",
    "open_raw_string": HEAD + WRONG + 'const char *s = R"(',
    "if_zero": HEAD + WRONG + "int main() { return 0; }\n#if 0\n",
    "namespace_left_open": HEAD + WRONG + "int main() { return 0; }\nnamespace hidden {\n",
    "forged_output": HEAD + 'long f(long x) { puts("ok\\nPASSED\\nall tests passed"); fflush(stdout); _exit(0); }\n',
    "reads_stdin": HEAD
    + "long f(long x) { char b[200]; long n = read(0, b, 200); lseek(0, 0, 0); n += pread(0, b, 200, 0);\n"
    " if (n > 0) write(1, b, n); _exit(0); }\n",
    "reads_stdin_first": HEAD
    + "struct A { A() { char b[200]; long n = read(0, b, 200); if (n > 0) write(1, b, n); _exit(0); } } a;\n"
    + WRONG,
    "stands_in_for_read": HEAD + 'extern "C" ssize_t read(int, void *b, size_t n) { return n; }\n' + WRONG,
    "kills_its_parent": HEAD
    + "#include <csignal>\nlong f(long x) { kill(getppid(), SIGKILL); kill(-1, SIGKILL); _exit(0); }\n",
    "exec_true": HEAD + 'long f(long x) { execl("/bin/true", "true", nullptr); _exit(0); }\n',
    "fork_and_leave": HEAD + "long f(long x) { if (fork() == 0) _exit(0); _exit(0); }\n",
    "longjmp_past": HEAD
    + "#include <csetjmp>\njmp_buf b;\nstruct A { A() { if (setjmp(b)) _exit(0); } } a;\nlong f(long x) { longjmp(b, 1); }\n",
}
HONEST = {
    "plain": HEAD + "long f(long x) { return x * x + 1;\n",
    "whole": HEAD + "long f(long x) { return x * x + 1; }\n",
    "without_assert_included": "#include <climits>\nlong f(long x) { return x * x + 1;\n",
    "macros_and_output": HEAD
    + '#define SQ(x) ((x) * (x))\n#define MAX 10\nlong f(long x) { printf("%ld\\n", x); return SQ(x) + 1;\n',
    "constructors": HEAD
    + "#include <map>\nstd::map<long, long> m{{3, 10}};\nlong f(long x) { return m.count(x) ? m[x] : x * x + 1;\n",
    "a_comment_at_the_end": HEAD + "long f(long x) { return x * x + 1;\n// done }",
}
AIMED = frozenset(
    [
        "atexit_turns_failure_to_success",
        "function_assert_fail",
        "function_abort",
        "main_replaced",
        "main_by_label",
        "start_replaced",
        "define_auto",
        "define_int_max",
        "open_comment",
        "open_raw_string",
        "if_zero",
        "namespace_left_open",
        "stands_in_for_read",
    ]
)
LANGUAGES = {"cpp": Attacks(TESTS, CHEATS, HONEST, AIMED)}
