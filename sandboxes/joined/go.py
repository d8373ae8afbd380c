"""Go: candidate, tests and a `main` of ours are files of one package.

The tests run under `testing`, each counted when it has come to its last line; a package of its own, initialised before
any `init` of the candidate's, holds the secret.
"""

from __future__ import annotations

import re
from dataclasses import replace

from sandboxes.joined.text import bare, closed, names, tag
from sandboxes.languages import Language
from sandboxes.programs import Program

_IMPORTS = re.compile(r"^import\s*(?:\((?P<many>[^)]*)\)|(?P<one>[^\n(]*\"[^\n]*))", re.MULTILINE)
_ONE = re.compile(r"""(?P<alias>[\w.]+\s+)?["`](?P<path>[^"`]+)["`]""")
_UNIVERSE = frozenset(
    {
        "append",
        "cap",
        "close",
        "complex",
        "copy",
        "delete",
        "imag",
        "len",
        "make",
        "new",
        "panic",
        "print",
        "println",
        "real",
        "recover",
        "any",
        "bool",
        "byte",
        "comparable",
        "complex64",
        "complex128",
        "error",
        "float32",
        "float64",
        "int",
        "int8",
        "int16",
        "int32",
        "int64",
        "rune",
        "string",
        "uint",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "uintptr",
        "true",
        "false",
        "iota",
        "nil",
    }
)

_KEPT = """package kept

import "syscall"

var kept [33]byte

func init() {
	for at := 0; at < 33; {
		n, err := syscall.Read(0, kept[at:])
		if n <= 0 || err != nil { syscall.Exit(97) }
		at += n
	}
	for i := 0; i < 32; i++ { kept[i] ^= 0x25 }
}

func Emit() {
	text := [34]byte{0: 10, 33: 10}
	for i := 0; i < 32; i++ { text[i+1] = kept[i] ^ 0x25 }
	syscall.Write(1, text[:])
}
"""

_MAIN = """package main

import TAG_t "testing"
import TAG_r "regexp"
import TAG_k "TAG/kept"

func main() {
	done := 0
	TAG_t.Main(TAG_r.MatchString, []TAG_t.InternalTest{
CASES		{Name: "TAG", F: func(t *TAG_t.T) { if done == COUNT { TAG_k.Emit() } else { t.Fail() } }},
	}, nil, nil)
}
"""
_CASE = """		{Name: "NAME", F: func(t *TAG_t.T) { NAME(t); if !t.Failed() && !t.Skipped() { done++ } }},
"""


def join(language: Language, code: str, tests: str) -> Program:
    """The program of both."""
    code, tests = closed(code, tests)
    ours = tag("go", code, tests)
    imports = {path: alias for text in (tests, code) for path, alias in _imports(text)}
    code_only = [path for path, _ in _imports(code)]
    code, tests = (_without_head(text) for text in (code, tests))
    code = re.sub(r"^func\s+main\s*\(\s*\)", f"func {ours}_main()", code, flags=re.MULTILINE)
    code_text, tests_text = bare(code), bare(tests)
    in_code = [
        p
        for p in imports
        if _used(p, imports[p], code_text) or (p in code_only and not _used(p, imports[p], tests_text))
    ]
    in_tests = [p for p in imports if _used(p, imports[p], tests_text)]
    marked = re.findall(r"^func\s+(Test\w*)\s*\(\s*\w+\s+\*testing\.T\s*\)", tests_text, re.MULTILINE)
    cases = "".join(_CASE.replace("NAME", name) for name in marked)
    main = _MAIN.replace("CASES", cases).replace("COUNT", str(max(1, len(marked)))).replace("TAG", ours)
    files = {
        "candidate.go": _file(in_code, imports, code),
        "tests.go": _file(in_tests, imports, tests),
        "kept.go": _KEPT.encode(),
    }
    program = Program.of(language, main, files)
    source = language.names_in(main)[0]
    compile_, link = program.build
    known = compile_[compile_.index("-importcfg") + 1]
    config, kept = f"{ours}.cfg", f"{ours}.a"

    def mine(step: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(config if part == known else part for part in step)

    build = (
        ("sh", "-c", f"cat {known} >{config} && echo packagefile {ours}/kept={kept} >>{config}"),
        (compile_[0], "-p", f"{ours}/kept", "-complete", "-importcfg", known, "-o", kept, "kept.go"),
        (*(part for part in mine(compile_) if part != source), source, "candidate.go", "tests.go"),
        mine(link),
    )
    return replace(program, build=build)


def shadowed(code: str, tests: str) -> str:
    """The first name of the language itself that the tests use and the candidate declares for the whole package.

    '' if there is none.
    """
    used = _UNIVERSE & set(names(tests))
    text, level, start, outside = bare(code), 0, 0, []
    for place, character in enumerate(text):
        if character == "{":
            outside.append(text[start:place] if level == 0 else "")
            level += 1
        elif character == "}":
            level -= 1
            start = place + 1
    outside.append(text[start:] if level <= 0 else "")
    declared: set[str] = set()
    for piece in outside:
        declared |= set(re.findall(r"\b(?:func|type|const|var)\s+(\w+)", piece))
        for group in re.findall(r"\b(?:type|const|var)\s*\(([^)]*)\)?", piece):
            declared |= set(re.findall(r"(?:^|[;,\n])\s*(\w+)", group))
        for many in re.findall(r"\b(?:const|var)\s+([\w\s,]+?)(?:=|\n|$)", piece):
            declared |= set(re.findall(r"\w+", many.split("=")[0])) if "," in many else set()
    return next(iter(sorted(used & declared)), "")


def _imports(source: str) -> list[tuple[str, str]]:
    found = []
    for statement in _IMPORTS.finditer(source):
        lines = statement["many"] if statement["many"] is not None else statement["one"]
        found += [(one["path"], (one["alias"] or "").strip()) for one in _ONE.finditer(lines)]
    return found


def _without_head(source: str) -> str:
    return _IMPORTS.sub("", re.sub(r"^\s*package\s+\w+[ \t]*;?", "", source, count=1, flags=re.MULTILINE))


def _used(path: str, alias: str, text: str) -> bool:
    if alias in (".", "_"):
        return False
    return re.search(rf"\b{re.escape(alias or path.split('/')[-1])}\s*\.", text) is not None


def _file(paths: list[str], aliases: dict[str, str], body: str) -> bytes:
    lines = "".join(f'import {aliases[path]} "{path}"\n' for path in paths)
    return f"package main\n{lines}{body}\n".encode("utf-8", "surrogatepass")
