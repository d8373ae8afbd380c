"""What is wrong with a check beyond the types of its fields, as far as it can be said before any answer is judged.

For the doors through which checks come from outside. Suites make theirs themselves, and `suites validate` judges them.
"""

from __future__ import annotations

import ast
from typing import Any

from sandboxes.check import (
    ApiStateCheck,
    AssertsCheck,
    CallsCheck,
    Check,
    CheckCheck,
    InstructionsCheck,
    JudgedCheck,
    MathCheck,
    ToolCallCheck,
)
from sandboxes.test_cases import parsed


def complaint(check: Check) -> str:
    """The first thing that is wrong, with the path of its field before it; '' if nothing is."""
    match check:
        case CallsCheck():
            return _entry_point(check.entry_point)
        case CheckCheck():
            return _entry_point(check.entry_point) or _python("prelude", check.prelude) or _defines_check(check.test)
        case AssertsCheck():
            return _python("setup", check.setup) or _asserts(check.tests)
        case InstructionsCheck():
            return _instructions(check)
        case ToolCallCheck():
            return _tools(check.tools) or _possible(check)
        case ApiStateCheck():
            return _apis(check)
        case JudgedCheck(rubric="same_answer" | "false_premise" | "pairwise") if not check.reference.strip():
            return f"reference: the rubric {check.rubric} needs one"
        case MathCheck() if not check.answer.strip():
            return "answer: there is none"
    return ""


def _entry_point(name: str) -> str:
    parts = name.split(".")
    if len(parts) <= 2 and all(part.isidentifier() for part in parts):
        return ""
    return "entry_point: a function's name is wanted, `f` or `Class.method`"


def _python(field: str, source: str) -> str:
    try:
        parsed(source)
    except ValueError as error:
        return f"{field}: {error}"
    return ""


def _defines_check(test: str) -> str:
    wrong = _python("test", test)
    if wrong:
        return wrong
    names = [node for node in ast.walk(parsed(test)) if isinstance(node, (ast.FunctionDef, ast.Name, ast.alias))]
    bound = {getattr(node, "id", None) or getattr(node, "asname", None) or getattr(node, "name", "") for node in names}
    return "" if "check" in bound else "test: defines no function `check`"


def _asserts(tests: list[str]) -> str:
    for number, test in enumerate(tests):
        wrong = _python(f"tests.{number}", test)
        if wrong:
            return wrong
        if not any(isinstance(node, ast.Assert) for node in ast.walk(parsed(test))):
            return f"tests.{number}: holds no assert statement, so it would always pass"
    return ""


def _instructions(check: InstructionsCheck) -> str:
    from sandboxes.verifiers.instructions import RULES, bad_arguments

    for number, (name, given) in enumerate(zip(check.instruction_id_list, check.kwargs, strict=True)):
        if name not in RULES:
            return f"instruction_id_list.{number}: no such rule"
        wrong = bad_arguments(name, given)
        if wrong:
            return f"kwargs.{number}: {wrong}"
    return ""


def _tools(tools: list[dict[str, Any]]) -> str:
    from sandboxes.verifiers.ast_rule import function_of

    for number, tool in enumerate(tools):
        function = function_of(tool)
        if not isinstance(function.get("name"), str):
            return f"tools.{number}: a function with a name is wanted"
        if not isinstance(parameters := function.get("parameters") or {}, dict):
            return f"tools.{number}.parameters: an object is wanted"
        if not isinstance(properties := parameters.get("properties") or {}, dict):
            return f"tools.{number}.parameters.properties: an object is wanted"
        if not all(isinstance(schema, dict) for schema in properties.values()):
            return f"tools.{number}.parameters.properties: an object is wanted for each"
        if not isinstance(parameters.get("required") or [], list):
            return f"tools.{number}.parameters.required: a list is wanted"
    return ""


def _possible(check: ToolCallCheck) -> str:
    from sandboxes.verifiers.ast_rule import function_of, same_name

    offered = [str(function_of(tool)["name"]) for tool in check.tools]
    for number, answer in enumerate(check.answer):
        if len(answer) != 1 or not isinstance(arguments := next(iter(answer.values())), dict):
            return f"answer.{number}: an object of one function and its arguments is wanted"
        name = next(iter(answer))
        if not any(same_name(name, other) for other in offered):
            return f"answer.{number}: its function is not among the tools"
        for argument, values in arguments.items():
            if not isinstance(values, list):
                return f"answer.{number}: a list of possible values is wanted for {argument[:80]!r}"
    return ""


def _apis(check: ApiStateCheck) -> str:
    setting, methods = check.setting, set[str]()
    classes: dict[str, set[str]] = {}
    for module, source in setting.modules.items():
        wrong = _python(f"setting.modules.{module[:80]}", source)
        if wrong:
            return wrong
        body = parsed(source).body
        classes[module] = {node.name for node in body if isinstance(node, ast.ClassDef)}
        methods |= {node.name for node in ast.walk(ast.Module(body, [])) if isinstance(node, ast.FunctionDef)}
    for name, module in setting.classes.items():
        if name not in classes.get(module, ()):
            return f"setting.classes.{name[:80]}: no module of that name defines it"
    for turn, calls in enumerate(check.gold):
        for number, call in enumerate(calls):
            if call.name not in methods:
                return f"gold.{turn}.{number}.name: no class has such a method"
    return ""
