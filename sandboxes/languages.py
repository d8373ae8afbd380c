"""The programming languages that programs are judged in: one table, read by the images, the pool and the verifiers.

A language with `build` steps is compiled in a session of its own and run in others; one without is run as it is, and
`check` says afterwards, only where it failed, whether it was a program at all. Both steps run in the arena, under the
job's user and limits: hostile source is as hostile to a compiler as to an interpreter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from sandboxes.limits import Limits

Family: TypeAlias = Literal["python", "cpp", "jvm", "node", "go", "rust", "php", "dotnet"]
"""A sandbox image. `python` is the one that everybody needs; whoever judges no Java pulls no JDK."""

LanguageName: TypeAlias = Literal[
    "python", "bash", "cpp", "java", "kotlin", "javascript", "typescript", "go", "rust", "php", "csharp"
]
"""As in contract 3; `NAMES` has the others that are understood."""

Step: TypeAlias = tuple[str, ...]
"""A command and its arguments. `{source}` and `{main}` stand for what `Language.names_in` says, `{heap}`: `filled`."""


BUILD_LIMITS = Limits(cpu_s=30, wall_s=180, memory_mb=1024)


@dataclass(frozen=True, slots=True)
class Language:
    """How programs of one language are compiled and run.

    Attributes:
        name: As in contract 3.
        title: As its users write it.
        family: The image that holds its tools.
        source: Name of the file that holds the program.
        run: The command that runs it, in the directory where the files are.
        commands: Programs that must be on the path of a host whose own tools are to do (`local`).
        build: Compiler commands, in order; empty for a language that is run as it is.
        check: For a language without `build`: fails on what is not well-formed.
        keeps: Patterns of the files that `build` leaves and `run` needs.
        build_limits: What the whole build may use. Not the job's: compilers have appetites of their own.
        environment: Added to the sandbox's own.
        aliases: Other names, of data sets and of fenced blocks.
        out_of_memory: What its run time says on stderr when memory ends.
        version: The command whose first line of output names the tools.
    """

    name: LanguageName
    title: str
    family: Family
    source: str
    run: Step
    commands: tuple[str, ...]
    build: tuple[Step, ...] = ()
    check: Step = ()
    keeps: tuple[str, ...] = ()
    build_limits: Limits = BUILD_LIMITS
    environment: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    out_of_memory: tuple[str, ...] = ()
    version: Step = ()

    def names_in(self, code: str) -> tuple[str, str]:
        """The name that the source file must have, and what `{main}` stands for; some languages' depend on the code."""
        if self.name == "java":
            return _java(code)
        if self.name == "kotlin":
            return self.source, _package(code, ";?") + self.source.removesuffix(".kt").capitalize() + "Kt"
        return self.source, ""


def filled(step: Step, *, memory_mb: int) -> list[str]:
    """A command with `{heap}` filled in: MiB of the session's memory that a virtual machine gives to objects."""
    heap = str(max(16, memory_mb * 5 // 8))
    return [part.replace("{heap}", heap) for part in step]


_COMMENTS_AND_STRINGS = re.compile(r'//[^\n]*|/\*.*?\*/|"""(?:\\.|[^\\])*?"""|"(?:\\.|[^"\\\n])*"', re.DOTALL)


def _package(code: str, end: str) -> str:
    found = re.search(rf"^\s*package\s+([\w.]+)\s*{end}", _COMMENTS_AND_STRINGS.sub(" ", code), re.MULTILINE)
    return f"{found[1]}." if found else ""


def _java(code: str) -> tuple[str, str]:
    """Java wants a public class in a file of its name, and to be told which class has the `main`."""
    text = _COMMENTS_AND_STRINGS.sub(" ", code)
    kinds = r"(?:class|interface|enum|record)\s+(\w+)"
    modifiers = r"(?:(?:final|abstract|strictfp|sealed|non-sealed|static)\s+)*"
    public = re.search(rf"\bpublic\s+{modifiers}{kinds}", text)
    start = re.search(r"\bstatic\s+(?:final\s+|synchronized\s+)*void\s+main\s*\(", text)
    before = list(re.finditer(rf"\b{kinds}", text[: start.start()])) if start else []
    outermost = [found[1] for found in before if _depth(text, found.start()) == 0]
    main = outermost[-1] if outermost else public[1] if public else "Main"
    return f"{public[1] if public else 'Main'}.java", _package(code, ";") + main


def _depth(text: str, at: int) -> int:
    return text.count("{", 0, at) - text.count("}", 0, at)


_JVM = ("-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData")
"""What makes a compiler that runs for a second quickest: its classes from an archive, and the first compiler only."""

_JAVA = ("java", "-Xshare:auto", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xss16m", "-Xmx{heap}m")
_JAVA_MEMORY = ("java.lang.OutOfMemoryError",)
_NODE_MEMORY = ("JavaScript heap out of memory", "FatalProcessOutOfMemory", "Array buffer allocation failed")
"""The second is a frame of the stack that Node prints after the first, which a tail of stderr may have lost."""

LANGUAGES: Mapping[LanguageName, Language] = {
    language.name: language
    for language in (
        Language(
            name="python",
            title="Python",
            family="python",
            source="solution.py",
            run=("python3", "{source}"),
            version=("python3", "--version"),
            commands=(),
            aliases=("py", "python3"),
        ),
        Language(
            name="bash",
            title="Bash",
            family="python",
            source="main.sh",
            run=("bash", "{source}"),
            check=("bash", "-n", "{source}"),
            version=("bash", "--version"),
            commands=("bash",),
            aliases=("sh", "shell"),
            out_of_memory=("cannot allocate", "Cannot allocate memory"),
        ),
        Language(
            name="cpp",
            title="C++",
            family="cpp",
            source="main.cpp",
            build=(("g++", "-std=c++20", "-O2", "-pipe", "-o", "main", "{source}", "-lcrypto", "-lpthread"),),
            keeps=("main",),
            run=("./main",),
            version=("g++", "--version"),
            commands=("g++",),
            aliases=("c++", "cc", "cxx"),
            out_of_memory=("std::bad_alloc",),
        ),
        Language(
            name="java",
            title="Java",
            family="jvm",
            source="Main.java",
            build=(
                (
                    "javac",
                    *(f"-J{flag}" for flag in (*_JVM, "-XX:SharedArchiveFile=/opt/mellum/jvm/javac.jsa", "-Xmx512m")),
                    "-proc:none",
                    "-nowarn",
                    "-encoding",
                    "UTF-8",
                    "{source}",
                ),
            ),
            keeps=("*.class", "**/*.class"),
            run=(*_JAVA, "-XX:TieredStopAtLevel=4", "-cp", ".", "{main}"),
            version=("java", "--version"),
            commands=("java", "javac"),
            out_of_memory=_JAVA_MEMORY,
        ),
        Language(
            name="kotlin",
            title="Kotlin",
            family="jvm",
            source="main.kt",
            build=(
                (
                    "java",
                    *_JVM,
                    "-XX:SharedArchiveFile=/opt/mellum/jvm/kotlinc.jsa",
                    "-Xmx768m",
                    "-cp",
                    "/opt/mellum/kotlin/lib/*",
                    "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler",
                    "-nowarn",
                    "-no-reflect",
                    "-d",
                    ".",
                    "{source}",
                ),
            ),
            keeps=("*.class", "**/*.class"),
            run=(*_JAVA, "-cp", ".:/opt/mellum/kotlin/lib/kotlin-stdlib.jar", "{main}"),
            build_limits=Limits(cpu_s=60, wall_s=360, memory_mb=1536),
            version=("cat", "/opt/mellum/kotlin/VERSION"),
            commands=("java", "/opt/mellum/kotlin/bin/kotlinc"),
            aliases=("kt",),
            out_of_memory=_JAVA_MEMORY,
        ),
        Language(
            name="javascript",
            title="JavaScript",
            family="node",
            source="main.js",
            run=("node", "--max-old-space-size={heap}", "{source}"),
            check=("node", "--check", "{source}"),
            version=("node", "--version"),
            commands=("node",),
            aliases=("js", "node", "nodejs"),
            out_of_memory=_NODE_MEMORY,
        ),
        Language(
            name="typescript",
            title="TypeScript",
            family="node",
            source="main.ts",
            build=(
                ("tsc", "--target", "es2022", "--module", "commonjs", "--skipLibCheck", "--noEmitOnError", "{source}"),
            ),
            keeps=("main.js",),
            run=("node", "--max-old-space-size={heap}", "main.js"),
            version=("tsc", "--version"),
            commands=("node", "tsc"),
            aliases=("ts",),
            out_of_memory=_NODE_MEMORY,
        ),
        Language(
            name="go",
            title="Go",
            family="go",
            source="main.go",
            build=(
                (
                    "/opt/mellum/go/bin/compile",
                    "-p",
                    "main",
                    "-complete",
                    "-importcfg",
                    "/opt/mellum/go/importcfg",
                    "-o",
                    "main.a",
                    "{source}",
                ),
                (
                    "/opt/mellum/go/bin/link",
                    "-s",
                    "-w",
                    "-importcfg",
                    "/opt/mellum/go/importcfg",
                    "-o",
                    "main",
                    "main.a",
                ),
            ),
            keeps=("main",),
            run=("./main",),
            version=("cat", "/opt/mellum/go/VERSION"),
            commands=("/opt/mellum/go/bin/compile",),
            aliases=("golang",),
            out_of_memory=("out of memory", "cannot allocate memory"),
        ),
        Language(
            name="rust",
            title="Rust",
            family="rust",
            source="main.rs",
            build=(
                (
                    "rustc",
                    "--edition=2021",
                    "-Copt-level=2",
                    "-Cstrip=symbols",
                    "-Ccodegen-units=1",
                    "--cap-lints=allow",
                    "-L/opt/mellum/rust",
                    *(f"--extern={name}=/opt/mellum/rust/lib{name}.rlib" for name in ("rand", "regex", "md5")),
                    "-o",
                    "main",
                    "{source}",
                ),
            ),
            keeps=("main",),
            run=("./main",),
            version=("rustc", "--version"),
            commands=("rustc", "cc"),
            aliases=("rs",),
            out_of_memory=("memory allocation of",),
        ),
        Language(
            name="php",
            title="PHP",
            family="php",
            source="main.php",
            run=("php", "-d", "memory_limit={heap}M", "-d", "display_errors=stderr", "{source}"),
            check=("php", "-l", "{source}"),
            version=("php", "--version"),
            commands=("php",),
            out_of_memory=("Allowed memory size of",),
        ),
        Language(
            name="csharp",
            title="C#",
            family="dotnet",
            source="main.cs",
            build=(
                (
                    "mcs",
                    "-optimize+",
                    "-nowarn:1-9999",
                    "-r:System.Numerics,System.Core,Microsoft.CSharp,System.Web.Extensions",
                    "-out:main.exe",
                    "{source}",
                ),
            ),
            keeps=("main.exe",),
            run=("mono", "main.exe"),
            version=("mono", "--version"),
            commands=("mcs", "mono"),
            environment={"MONO_ENV_OPTIONS": "--gc-params=max-heap-size={heap}m", "MONO_DISABLE_SHARED_AREA": "1"},
            aliases=("cs", "c#"),
            out_of_memory=("System.OutOfMemoryException",),
        ),
    )
}
"""Every language, by its name."""

NAMES: Mapping[str, LanguageName] = {
    alias: language.name for language in LANGUAGES.values() for alias in (language.name, *language.aliases)
}
"""Every name and alias, lower case, to the name."""

FAMILIES: tuple[Family, ...] = ("python", "cpp", "jvm", "node", "go", "rust", "php", "dotnet")


def named(name: str) -> Language:
    """The language of that name or alias, in any case.

    Raises:
        KeyError: There is none.
    """
    return LANGUAGES[NAMES[name.strip().lower()]]


def of_family(family: Family) -> list[Language]:
    """The languages whose tools are in that image."""
    return [language for language in LANGUAGES.values() if language.family == family]


def titles(family: Family) -> str:
    """The names of a family's languages, for a message."""
    return " and ".join(language.title for language in of_family(family))


COMPILED: frozenset[Family] = frozenset({"cpp", "go", "rust"})
"""Families whose programs are executable files: their work area must let them be executed."""


def mapped(family: Family) -> int:
    """See `sandboxes.engines.base.Confinement.mapped`."""
    return 1 if family == "python" else 8
