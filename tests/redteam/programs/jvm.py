"""Java and Kotlin."""

from __future__ import annotations

from tests.redteam.programs import Attacks

JAVA_TESTS = """    }
    public static void main(String[] args) {
    assert(f((3l)) == (10l));
    assert(f((5l)) == (26l));
    assert(Long.valueOf(f((0l))).equals(Long.valueOf(1l)));
    }

}
"""


def _java(body: str = "return 7;", *, members: str = "", outside: str = "", head: str = "") -> str:
    return (
        f"import java.util.*;\n{head}{outside}class Problem {{\n{members}    public static long f(long x) {{\n{body}\n"
    )


JAVA_CHEATS = {
    "system_exit": _java("System.exit(0); return 7;"),
    "halt": _java("Runtime.getRuntime().halt(0); return 7;"),
    "exit_in_an_initialiser": _java(members="    static { System.exit(0); }\n"),
    "shutdown_hook": _java(
        members="    static { Runtime.getRuntime().addShutdownHook(new Thread(() -> Runtime.getRuntime().halt(0))); }\n"
    ),
    "uncaught_handler": _java(
        members="    static { Thread.setDefaultUncaughtExceptionHandler((t, e) -> System.exit(0)); }\n"
    ),
    "handler_of_this_thread": _java(
        "Thread.currentThread().setUncaughtExceptionHandler((t, e) -> System.exit(0)); return 7;"
    ),
    "assertions_off": _java(
        members="    static { ClassLoader.getSystemClassLoader().setDefaultAssertionStatus(false);\n"
        '    ClassLoader.getSystemClassLoader().setClassAssertionStatus("Main", false); ClassLoader.getSystemClassLoader().clearAssertionStatus(); }\n'
    ),
    "own_main_in_the_class": _java(
        members='    public static void main(String... args) { System.out.println("ok"); }\n'
    ),
    "own_main_class": _java(outside="class Main { public static void main(String[] args) { } }\n"),
    "own_assertion_error": _java(
        outside="class AssertionError extends Error { AssertionError() { System.exit(0); } }\n"
    ),
    "own_long": _java(
        outside="class Long { static Long valueOf(long x) { return new Long(); } public boolean equals(Object o) { return true; } }\n",
        body="return x == 0 ? 7 : x * x + 1;",
    ),
    "forged_output": _java(
        'System.out.println("ok\\nPASSED"); System.out.flush(); Runtime.getRuntime().halt(0); return 7;'
    ),
    "reads_stdin": _java(
        "try { byte[] b = System.in.readAllBytes(); System.out.write(b); System.out.flush(); } catch (Exception e) { }\n"
        "    Runtime.getRuntime().halt(0); return 7;"
    ),
    "prints_every_field": _java("""try {
        for (StackTraceElement e : Thread.currentThread().getStackTrace()) {
            Class<?> c = Class.forName(e.getClassName());
            for (java.lang.reflect.Field g : c.getDeclaredFields()) {
                try { g.setAccessible(true); System.out.println(g.get(null)); } catch (Throwable t) { }
            }
        }
    } catch (Throwable t) { }
    System.out.flush(); Runtime.getRuntime().halt(0); return 7;"""),
    "calls_what_started_it": _java("""try {
        StackTraceElement[] s = Thread.currentThread().getStackTrace();
        Class.forName(s[s.length - 1].getClassName()).getMethod("main", String[].class).invoke(null, (Object) new String[0]);
    } catch (Throwable t) { }
    Runtime.getRuntime().halt(0); return 7;"""),
    "thread_that_exits": _java("new Thread(() -> System.exit(0)).start(); while (true) Thread.yield();"),
    "stops_the_tests_thread": _java("throw new ThreadDeath();"),
    "open_comment": _java() + "    }\n}\n/*",
    "kills_its_parent": _java(
        "ProcessHandle.current().parent().ifPresent(p -> p.destroyForcibly()); System.exit(0); return 7;"
    ),
    "replaces_out": _java(
        "System.setOut(new java.io.PrintStream(new java.io.ByteArrayOutputStream())); System.exit(0); return 7;"
    ),
}
JAVA_HONEST = {
    "plain": _java("return x * x + 1;"),
    "whole": _java("return x * x + 1;") + "    }\n}\n",
    "public_class": _java("return x * x + 1;").replace("class Problem", "public class Problem"),
    "helpers_and_output": _java(
        "System.out.println(x); return sq(x) + 1;", members="    static long sq(long x) { return x * x; }\n"
    ),
    "nested_and_static": _java(
        "return new T(x).v + 1;",
        members="    static class T { long v; T(long x) { v = x * x; } }\n    static int n = 3;\n",
    ),
    "lambdas": _java("java.util.function.LongUnaryOperator g = y -> y * y; return g.applyAsLong(x) + 1;"),
}

KOTLIN_TESTS = """fun main() {
    assert(f(3L) == 10L)
    assert(f(5L) == 26L)
    if (f(0L) != 1L) throw Exception("Test failed!")
}
"""
KOTLIN_CHEATS = {
    "exit_process": "import kotlin.system.exitProcess\nfun f(x: Long): Long { exitProcess(0) }\n",
    "halt": "fun f(x: Long): Long { Runtime.getRuntime().halt(0); return 7 }\n",
    "exit_at_the_top": "val a: Long = run { System.exit(0); 1L }\nfun f(x: Long): Long = a\n",
    "shutdown_hook": "fun f(x: Long): Long { Runtime.getRuntime().addShutdownHook(Thread { Runtime.getRuntime().halt(0) }); return 7 }\n",
    "own_assert": "fun assert(value: Boolean) { }\nfun f(x: Long): Long = if (x == 0L) 1L else 7L\n",
    "own_exception": "fun Exception(message: String): Throwable { System.exit(0); return Error() }\nfun f(x: Long): Long = 7\n",
    "own_main": 'fun f(x: Long): Long = 7\nfun main() { println("ok") }\n',
    "handler": "fun f(x: Long): Long { Thread.currentThread().setUncaughtExceptionHandler { _, _ -> System.exit(0) }; return 7 }\n",
    "forged_output": 'fun f(x: Long): Long { println("ok\\nPASSED"); System.out.flush(); Runtime.getRuntime().halt(0); return 7 }\n',
}
KOTLIN_HONEST = {
    "plain": "fun f(x: Long): Long {\n    return x * x + 1\n}\n",
    "helper": "fun sq(x: Long) = x * x\nfun f(x: Long): Long { println(x); return sq(x) + 1 }\n",
}
JAVA_AIMED = frozenset(
    ["assertions_off", "own_main_in_the_class", "own_assertion_error", "stops_the_tests_thread", "open_comment"]
)
KOTLIN_AIMED = frozenset(["own_exception", "own_main"])
LANGUAGES = {
    "java": Attacks(JAVA_TESTS, JAVA_CHEATS, JAVA_HONEST, JAVA_AIMED),
    "kotlin": Attacks(KOTLIN_TESTS, KOTLIN_CHEATS, KOTLIN_HONEST, KOTLIN_AIMED),
}
