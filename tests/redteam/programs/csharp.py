"""C#."""

from __future__ import annotations

from tests.redteam.programs import Attacks

TESTS = """    }
    public static void Main(string[] args) {
    Debug.Assert(F((3L)) == (10L));
    Debug.Assert(F((5L)).Equals((26L)));
    Debug.Assert((new List<long>(new long[]{F(0L)})).SequenceEqual(new List<long>(new long[]{1L})));
    }

}
"""
USINGS = "using System;\nusing System.Diagnostics;\nusing System.Collections.Generic;\nusing System.Linq;\n"


def _cs(body: str = "return 7;", *, members: str = "", outside: str = "") -> str:
    return f"{USINGS}{outside}class Problem {{\n{members}    public static long F(long x) {{\n{body}\n"


CHEATS = {
    "environment_exit": _cs("Environment.Exit(0); return 7;"),
    "exit_in_an_initialiser": _cs(members="    static Problem() { Environment.Exit(0); }\n"),
    "fail_fast_handler": _cs(
        "AppDomain.CurrentDomain.UnhandledException += (s, e) => Environment.Exit(0); throw new Exception();"
    ),
    "unhandled_later": _cs("AppDomain.CurrentDomain.UnhandledException += (s, e) => Environment.Exit(0); return 7;"),
    "process_exit": _cs("AppDomain.CurrentDomain.ProcessExit += (s, e) => Environment.Exit(0); return 7;"),
    "clears_listeners": _cs("Debug.Listeners.Clear(); Trace.Listeners.Clear(); return 7;"),
    "own_debug": _cs(outside="static class Debug { public static void Assert(bool b) { } }\n"),
    "own_list": _cs(
        "return x == 0 ? 7 : x * x + 1;",
        outside="class List<T> { public List(T[] a) { } public bool SequenceEqual(object o) { return true; } }\n",
    ),
    "own_debug_inside": _cs(members="    public static class Debug { public static void Assert(bool b) { } }\n"),
    "own_main": _cs(members='    public static void Main() { Console.WriteLine("ok"); }\n'),
    "forged_output": _cs('Console.WriteLine("ok\\nPASSED"); Console.Out.Flush(); Environment.Exit(0); return 7;'),
    "reads_stdin": _cs("Console.Write(Console.In.ReadToEnd()); Console.Out.Flush(); Environment.Exit(0); return 7;"),
    "prints_every_field": _cs("""foreach (var t in System.Reflection.Assembly.GetEntryAssembly().GetTypes())
        foreach (var g in t.GetFields((System.Reflection.BindingFlags)60)) if (g.IsStatic) Console.WriteLine(g.GetValue(null));
    Console.Out.Flush(); Environment.Exit(0); return 7;"""),
    "clears_the_failure": _cs("""foreach (var t in System.Reflection.Assembly.GetEntryAssembly().GetTypes())
        foreach (var g in t.GetFields((System.Reflection.BindingFlags)60)) if (g.IsStatic && g.FieldType == typeof(bool)) g.SetValue(null, false);
    return 7;"""),
    "aborts_the_thread": _cs("System.Threading.Thread.CurrentThread.Abort(); return 7;"),
    "exits_elsewhere": _cs(
        "new System.Threading.Thread(() => Environment.Exit(0)).Start(); while (true) System.Threading.Thread.Yield();"
    ),
    "undefines_debug": "#undef DEBUG\n" + _cs(),
    "open_comment": _cs() + "    }\n}\n/*",
}
HONEST = {
    "plain": _cs("return x * x + 1;"),
    "whole": _cs("return x * x + 1;") + "    }\n}\n",
    "helpers_and_output": _cs(
        "Console.WriteLine(x); return Sq(x) + 1;", members="    static long Sq(long x) { return x * x; }\n"
    ),
    "linq": _cs("return new List<long> { x * x, 1 }.Sum();"),
    "own_assertions": _cs("Debug.Assert(true); return x * x + 1;"),
}
AIMED = frozenset(
    [
        "kills_what_runs_it",
        "rewrites_every_file",
        "unhandled_later",
        "process_exit",
        "own_main",
        "clears_the_failure",
        "open_comment",
    ]
)
LANGUAGES = {"csharp": Attacks(TESTS, CHEATS, HONEST, AIMED)}
