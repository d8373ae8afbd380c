"""Java and Kotlin: tests in a file of their own, started by a class of ours.

The library's names are imported there one by one, which no class of the candidate's comes before. The secret is a local
variable, out of reach of reflection.
"""

from __future__ import annotations

import re
from dataclasses import replace

from sandboxes.joined.text import bare, called, closed, depth, names, replace_names, tag
from sandboxes.languages import Language
from sandboxes.programs import Program

_JAVATUPLES = "/usr/share/java/javatuples.jar"
"""MultiPL-E's Java programs import it."""

_PACKAGES = {
    "java.lang": "Object String Boolean Integer Long Double Float Character Byte Short Math StringBuilder System "
    "Exception RuntimeException AssertionError Error Throwable Number Iterable Comparable CharSequence Thread Runnable "
    "IllegalArgumentException IllegalStateException Class Void",
    "java.util": "List ArrayList LinkedList Arrays Collections Map HashMap LinkedHashMap TreeMap Set HashSet "
    "LinkedHashSet TreeSet Optional Objects Iterator Deque ArrayDeque Queue PriorityQueue Random Scanner Collection",
    "java.util.stream": "Collectors Stream IntStream LongStream DoubleStream",
    "java.math": "BigInteger BigDecimal",
    "org.javatuples": "Pair Triplet Quartet Unit",
}
_KOTLIN = {
    "kotlin": "assert check require error Pair Triple String Int Long Double Boolean Char Float Byte Short Any Unit "
    "Array Exception AssertionError IllegalStateException IllegalArgumentException RuntimeException arrayOf",
    "kotlin.collections": "listOf arrayListOf mutableListOf mapOf mutableMapOf hashMapOf setOf mutableSetOf List "
    "MutableList Map MutableMap Set ArrayList HashMap",
}
_KEYWORDS = frozenset(
    {"if", "for", "while", "switch", "catch", "synchronized", "return", "new", "super", "this", "assert", "try", "main"}
)
_IMPORT = re.compile(r"^[ \t]*import[ \t]+[^\n;]+;?", re.MULTILINE)

_RUN = """package TAG;

public class Run {
    public static void main(String[] arguments) throws Throwable {
        byte[] kept = new byte[33];
        for (int at = 0, n; at < 33; at += n)
            if ((n = System.in.read(kept, at, 33 - at)) <= 0) Runtime.getRuntime().halt(97);
        java.io.FileOutputStream out = new java.io.FileOutputStream(java.io.FileDescriptor.out);
        for (int i = 0; i < 32; i++) kept[i] ^= 0x25;
        java.lang.reflect.Method tests;
        Class<?> held = Class.forName("TESTS");
        try {
            tests = held.getDeclaredMethod("main", String[].class);
        } catch (NoSuchMethodException none) {
            tests = held.getDeclaredMethod("main");
        }
        tests.setAccessible(true);
        try {
            if (tests.getParameterCount() == 1) tests.invoke(null, (Object) new String[0]);
            else tests.invoke(null);
        } catch (java.lang.reflect.InvocationTargetException error) {
            throw error.getCause();
        }
        for (int i = 0; i < 32; i++) kept[i] ^= 0x25;
        kept[32] = 10;
        out.write(10);
        out.write(kept);
    }
}
"""


def java(language: Language, code: str, tests: str) -> Program:
    """The program of both."""
    code, tests, cut = _closed(code, tests)
    ours = tag("java", code, tests)
    imports = [_imports(code), _known(tests, _PACKAGES, code)]
    if cut:
        holder = f"{ours}_tests"
        tests = (
            f"class {holder} {{\n{replace_names(tests, f'{_holder(code, _foreign(tests))}.', _foreign(tests))}\n}}\n"
        )
    else:
        holder = _outermost(tests, with_main=True)
    own = "".join(f"{found}\n" for found in _IMPORT.findall(tests))
    program = Program.of(language, code)
    candidate = language.names_in(code)[0]
    file = (
        language.names_in(tests)[0]
        if re.search(r"\bpublic\s+(?:final\s+)?class\b", bare(tests))
        else f"{ours}_tests.java"
    )
    if file == candidate or f"{holder}.java" == candidate:
        candidate = "Candidate_.java" if file == candidate and "public" not in bare(code).split("{")[0] else candidate
    text = "".join(imports) + own + _IMPORT.sub("", tests)
    files = {
        candidate: code.encode("utf-8", "surrogatepass"),
        file: text.encode("utf-8", "surrogatepass"),
        f"{ours}/Run.java": _RUN.replace("TAG", ours).replace("TESTS", holder).encode(),
    }
    (step,) = program.build
    build = (*step[:-1], "-cp", f".:{_JAVATUPLES}", *sorted(files))
    run = (program.run[0], "-ea", *program.run[1:-3], "-cp", f".:{_JAVATUPLES}", f"{ours}.Run")
    return replace(program, files=files, build=(build,), run=run)


def kotlin(language: Language, code: str, tests: str) -> Program:
    """The program of both."""
    code, tests, _ = _closed(code, tests)
    ours = tag("kotlin", code, tests)
    own = "".join(f"{found}\n" for found in _IMPORT.findall(tests))
    text = _imports(code) + own + _known(tests, _KOTLIN, code + own) + _IMPORT.sub("", tests)
    package = re.search(r"^\s*package\s+([\w.]+)", bare(code), re.MULTILINE)
    file = f"{ours}_tests.kt"
    holder = f"{'' if package is None else package[1] + '.'}{file[0].upper()}{file[1:-3]}Kt"
    head = "" if package is None else f"package {package[1]}\n"
    program = Program.of(language, code)
    (step,) = program.build
    source = language.names_in(code)[0]
    run_file = f"{ours}.kt"
    files = {
        source: code.encode("utf-8", "surrogatepass"),
        file: (head + text).encode("utf-8", "surrogatepass"),
        run_file: _KOTLIN_RUN.replace("TAG", ours).replace("TESTS", holder).encode(),
    }
    build = (*(part for part in step if part != source), source, file, run_file)
    run = (program.run[0], "-ea", *program.run[1:-1], f"{ours}.{ours.capitalize()}Kt")
    return replace(program, files=files, build=(build,), run=run)


_KOTLIN_RUN = """package TAG

fun main() {
    val kept = ByteArray(33)
    var at = 0
    while (at < 33) {
        val n = System.`in`.read(kept, at, 33 - at)
        if (n <= 0) Runtime.getRuntime().halt(97)
        at += n
    }
    val out = java.io.FileOutputStream(java.io.FileDescriptor.out)
    for (i in 0..31) kept[i] = (kept[i].toInt() xor 0x25).toByte()
    val held = Class.forName("TESTS")
    val tests = try { held.getDeclaredMethod("main", Array<String>::class.java) }
        catch (none: NoSuchMethodException) { held.getDeclaredMethod("main") }
    tests.isAccessible = true
    try {
        if (tests.parameterCount == 1) tests.invoke(null, arrayOf<String>()) else tests.invoke(null)
    } catch (error: java.lang.reflect.InvocationTargetException) {
        throw error.cause!!
    }
    for (i in 0..31) kept[i] = (kept[i].toInt() xor 0x25).toByte()
    kept[32] = 10
    out.write(10)
    out.write(kept)
}
"""


def _closed(code: str, tests: str) -> tuple[str, str, bool]:
    """As `closed`; where the tests go on inside the answer's class they lose that class's last brace too."""
    whole, rest = closed(code, tests)
    if rest is tests or depth(rest) >= 0:
        return whole, rest, False
    end = rest.rstrip()
    return whole, end.removesuffix("}"), True


def _imports(code: str) -> str:
    return "".join(f"{found}\n" for found in _IMPORT.findall(code) if "static" not in found.split())


def _known(tests: str, packages: dict[str, str], code: str) -> str:
    """Imports of library names that the tests use, but of a package that is there only if the code asks for it."""
    used = set(names(tests))
    lines = []
    for package, known in packages.items():
        if package.startswith(("org.", "java.util.stream", "java.math")) and package not in code:
            continue
        lines += [f"import {package}.{name};\n" for name in known.split() if name in used]
    return "".join(lines)


def _foreign(tests: str) -> list[str]:
    """Functions that the tests call and do not define: the candidate's."""
    text = bare(tests)
    defined = set(re.findall(r"\b[\w<>\[\],.]+\s+(\w+)\s*\([^()]*\)\s*(?:throws[^{]*)?\{", text))
    made = set(re.findall(r"\bnew\s+(\w+)", text))
    return [name for name in called(tests) if name not in defined | made | _KEYWORDS]


def _holder(code: str, functions: list[str]) -> str:
    """The name of the last top-level class that has one of these functions."""
    text = bare(code)
    starts = [m for m in re.finditer(r"\bclass\s+(\w+)", text) if depth(text[: m.start()]) == 0]
    ends = [*(m.start() for m in starts[1:]), len(text)][: len(starts)]
    wanted = re.compile(rf"\w[\w<>\[\],.?]*\s+(?:{'|'.join(map(re.escape, functions)) or '-'})\s*\(")
    holders = [m[1] for m, end in zip(starts, ends, strict=True) if wanted.search(text, m.start(), end)]
    return holders[-1] if holders else _outermost(code)


def _outermost(source: str, *, with_main: bool = False) -> str:
    """The name of the last top-level class before `main`, or of the first one."""
    text = bare(source)
    end = text.find(" main") if with_main else len(text)
    found = [
        m for m in re.finditer(r"\b(?:class|interface|enum|record)\s+(\w+)", text) if depth(text[: m.start()]) == 0
    ]
    if with_main:
        found = [m for m in found if m.start() < end][-1:] or found
    return found[0][1] if found else "Main"
