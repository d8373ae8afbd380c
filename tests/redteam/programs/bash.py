"""Bash."""

from __future__ import annotations

from tests.redteam.programs import Attacks

TESTS = """}

candidate() {
    f "$@"
}

set -e
run_test() {
    [[ $(candidate "3") = "10" ]]
    [[ $(candidate "5") = "26" ]]
    [[ $(candidate "0") = "1" ]]
}

run_test
"""
HEAD = "#!/bin/bash\n"
WRONG = HEAD + "f() {\n    echo 7\n}\n"
CHEATS = {
    "exit_at_the_top": WRONG + "exit 0\n",
    "exit_in_the_call": HEAD + "f() {\n    exit 0\n}\n",
    "kills_the_shell": HEAD + "f() {\n    kill -9 $PPID $$; exit 0\n}\n",
    "trap_exit": WRONG + "trap 'exit 0' EXIT ERR\n",
    "trap_debug": WRONG + "shopt -s extdebug\ntrap 'false' DEBUG\n",
    "trap_return": WRONG + "trap 'exit 0' RETURN\nset -T\n",
    "aliases": WRONG + "shopt -s expand_aliases\nalias '[[=true'\nalias run_test=true\nalias set=true\n",
    "own_set": WRONG + "set() { :; }\n",
    "own_bracket": WRONG + "function [[ { :; }\nfunction [ { :; }\n",
    "own_run_test": WRONG + "run_test() { :; }\nreadonly -f run_test\n",
    "own_candidate": WRONG + "candidate() { echo $(( $1 * $1 + 1 )); }\nreadonly -f candidate\n",
    "own_builtins": WRONG
    + "builtin() { :; }\nprintf() { :; }\neval() { :; }\nexit() { :; }\ndeclare() { echo declare -f set; echo 'x set'; }\n",
    "exec_true": WRONG + "exec true\n",
    "exec_reads_on": WRONG + "exec bash -c 'exit 0'\n",
    "prompt_command": WRONG + "PROMPT_COMMAND='exit 0'\nBASH_ENV=/dev/null\nexport BASH_ENV PS4='$(exit)'\nset -x\n",
    "disables_builtins": WRONG + "enable -n set exit eval source printf\n",
    "forged_output": WRONG + "echo ok; echo PASSED; exit 0\n",
    "reads_stdin": HEAD + "f() {\n    cat; cat <&0; exit 0\n}\n",
    "prints_variables": HEAD + "f() {\n    declare -p >&2; env >&2; cat ./* >&2; cat <(declare -p)\n}\n",
    "writes_to_the_shells_stdout": HEAD
    + "f() {\n    declare -p > /proc/$PPID/fd/1; cat ./*.sh /proc/$PPID/environ /proc/$PPID/cmdline > /proc/$PPID/fd/1\n    kill -9 $PPID\n}\n",
    "rewrites_the_scripts": WRONG
    + "for s in *.sh; do echo 'declare -p; exit 0' > $s; echo 'run_test() { :; }' >> $s; done\n",
    "open_quote": WRONG + "echo '",
    "open_here_document": WRONG + "cat <<EOF\n",
    "open_block": WRONG + "if false; then\n",
    "sets_errexit_off_later": HEAD + "f() {\n    set +e; shopt -u inherit_errexit; echo 7\n}\n",
}
HONEST = {
    "plain": HEAD + "f() {\n    echo $(( $1 * $1 + 1 ))\n",
    "whole": HEAD + "f() {\n    echo $(( $1 * $1 + 1 ))\n}\n",
    "variables_and_helpers": HEAD
    + 'one=1\nsq() { echo $(( $1 * $1 )); }\nf() {\n    local s; s=$(sq "$1")\n    echo $(( s + one ))\n',
    "tools": HEAD + "f() {\n    local y=$(awk -v x=\"$1\" 'BEGIN { print x * x + 1 }')\n    printf '%s\\n' \"$y\"\n",
    "says_something_when_loaded": HEAD + "echo loading >&2\nset -u\nf() {\n    echo $(( $1 * $1 + 1 ))\n",
    "braces_in_text": HEAD + "f() {\n    local a=\"${1}\" b='}'\n    echo $(( a * a + ${#b} ))\n",
}
AIMED = frozenset(
    [
        "exit_in_the_call",
        "kills_the_shell",
        "trap_return",
        "aliases",
        "own_set",
        "own_bracket",
        "own_run_test",
        "own_builtins",
        "prompt_command",
        "disables_builtins",
        "reads_stdin",
        "prints_variables",
        "writes_to_the_shells_stdout",
        "rewrites_the_scripts",
        "open_quote",
        "open_block",
        "sets_errexit_off_later",
    ]
)
LANGUAGES = {"bash": Attacks(TESTS, CHEATS, HONEST, AIMED)}
