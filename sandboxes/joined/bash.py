"""Bash: the candidate's functions run in shells of their own.

Bash keeps no secret from a function in the same shell. The tests' shell has a stand-in for each function, which starts
a shell that loads the candidate and calls it. What a function leaves in variables is lost, as it is in the command
substitutions in which MultiPL-E calls them.
"""

from __future__ import annotations

import re
from dataclasses import replace

from sandboxes.joined.text import tag
from sandboxes.languages import Language
from sandboxes.programs import Program

_RUN = r"""{
IFS= read -r -N 32 TAG_kept || exit 97
IFS= read -r TAG_rest
TAG_tests=$(<tests.sh)
TAG_names=$(bash --noprofile --norc names.sh </dev/null 2>/dev/null)
TAG_call() { bash --noprofile --norc call.sh "$@"; }
while IFS= read -r TAG_name; do
  [[ $TAG_name =~ ^[A-Za-z_][A-Za-z0-9_]*$ && $TAG_name != TAG_* ]] || continue
  case $(type -t "$TAG_name") in builtin | keyword | function) continue ;; esac
  eval "$TAG_name() { TAG_call $TAG_name \"\$@\"; }"
done <<<"$TAG_names"
eval "$TAG_tests"
TAG_status=$?
[[ $TAG_status -eq 0 ]] || exit "$TAG_status"
builtin printf '\n%s\n' "$TAG_kept"
exit 0
}
"""
_NAMES = """source ./candidate.sh >/dev/null
builtin declare -F | while builtin read -r _ _ name; do builtin echo "$name"; done
"""
_CALL = """TAG_function=$1
shift
TAG_arguments=("$@")
set --
source ./candidate.sh >/dev/null </dev/null
"$TAG_function" "${TAG_arguments[@]}"
"""


def join(language: Language, code: str, tests: str) -> Program:
    """The program of both."""
    leading = re.match(r"\s*\}[ \t]*\n", tests)
    if leading is not None:
        code, tests = (f"{code}\n}}\n" if _open(code) else code), tests[leading.end() :]
    ours = tag("bash", code, tests)
    files = {
        "candidate.sh": code.encode("utf-8", "surrogatepass"),
        "tests.sh": tests.encode("utf-8", "surrogatepass"),
        "names.sh": _NAMES.encode(),
        "call.sh": _CALL.replace("TAG", ours).encode(),
    }
    program = Program.of(language, _RUN.replace("TAG", ours), files)
    source = language.names_in("")[0]
    return replace(program, check=tuple("candidate.sh" if part == source else part for part in program.check))


def _open(code: str) -> bool:
    """Whether the last function that begins at the margin has not ended there."""
    marks = re.findall(r"^(?:(?:function\s+)?[\w-]+\s*(?:\(\s*\))?\s*\{[^}\n]*$|\})", code, re.MULTILINE)
    return bool(marks) and marks[-1] != "}"
