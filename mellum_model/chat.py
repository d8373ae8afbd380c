"""Conversations as text: ChatML turns, reasoning in `<think>`, tools as Hermes calls.

A checkpoint's own template is used where it has one, in a Jinja sandbox: it comes with the weights and is not ours to
trust. `render` is for those without, and for what this repository trains.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ModelError

if TYPE_CHECKING:
    from jinja2 import Template

TURN, END_OF_TURN, END_OF_TEXT = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
THINK, END_OF_THINK = "<think>", "</think>"
CALL, END_OF_CALL = "<tool_call>", "</tool_call>"
RESPONSE, END_OF_RESPONSE = "<tool_response>", "</tool_response>"
SPECIAL_TOKENS = (
    END_OF_TEXT, TURN, END_OF_TURN, THINK, END_OF_THINK, CALL, END_OF_CALL, RESPONSE, END_OF_RESPONSE,
    "<filename>", "<fim_prefix>", "<fim_suffix>", "<fim_middle>",
)  # fmt: skip

_TOOLS = """# Tools

These functions can be called. Each line is the JSON schema of one:
<tools>
{tools}
</tools>

To call a function, write a JSON object with its name and arguments between tags, one pair of tags a call:
<tool_call>
{{"name": NAME, "arguments": OBJECT}}
</tool_call>"""


def render(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] = (),
    *,
    add_generation_prompt: bool = True,
    enable_thinking: bool = True,
) -> str:
    """A conversation as the model reads it.

    Args:
        messages: {"role", "content"}, optionally `tool_calls` ({"name", "arguments"}, or the OpenAI form with
            `function`) and `reasoning_content`. Content is text or a list of {"type": "text", "text"}. Turns of role
            `tool` are shown as one user turn of `<tool_response>` blocks.
        tools: Function schemas, listed in the system turn.
        add_generation_prompt: End with the head of the assistant's turn.
        enable_thinking: False appends an empty reasoning block, so that the answer comes at once.

    Raises:
        ModelError: A message without a known role.
    """
    turns: list[str] = []
    rest = list(messages)
    system = _text(rest.pop(0)) if rest and rest[0].get("role") == "system" else ""
    if tools:
        listed = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
        system = "\n\n".join(filter(None, (system, _TOOLS.format(tools=listed))))
    if system:
        turns.append(_turn("system", system))
    last_question = max((place for place, message in enumerate(rest) if message.get("role") == "user"), default=-1)
    place = 0
    while place < len(rest):
        message = rest[place]
        role = message.get("role")
        if role == "tool":
            blocks = []
            while place < len(rest) and rest[place].get("role") == "tool":
                blocks.append(f"{RESPONSE}\n{_text(rest[place])}\n{END_OF_RESPONSE}")
                place += 1
            turns.append(_turn("user", "\n".join(blocks)))
            continue
        if role == "assistant":
            turns.append(_turn("assistant", _assistant(message, keep_reasoning=place > last_question)))
        elif role in ("user", "system"):
            turns.append(_turn(str(role), _text(message)))
        else:
            raise ModelError(f"message {place}: role {role!r} is not known; system, user, assistant and tool are")
        place += 1
    if add_generation_prompt:
        turns.append(f"{TURN}assistant\n" + ("" if enable_thinking else f"{THINK}\n\n{END_OF_THINK}\n\n"))
    return "".join(turns)


def _turn(role: str, content: str) -> str:
    return f"{TURN}{role}\n{content}{END_OF_TURN}\n"


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(str(part.get("text", "")) for part in content)


def _assistant(message: Mapping[str, Any], *, keep_reasoning: bool) -> str:
    """An assistant's turn. Reasoning is shown only after the last question: earlier turns never see it again."""
    text = _text(message)
    reasoning = message.get("reasoning_content") or ""
    if END_OF_THINK in text:
        head, _, text = text.rpartition(END_OF_THINK)
        reasoning, text = head.partition(THINK)[2] or head, text.lstrip("\n")
    blocks = [text] if text else []
    for call in message.get("tool_calls") or ():
        inner = call.get("function", call)
        arguments = inner.get("arguments", {})
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        body = json.dumps({"name": inner.get("name"), "arguments": arguments}, ensure_ascii=False)
        blocks.append(f"{CALL}\n{body}\n{END_OF_CALL}")
    shown = "\n".join(blocks)
    if keep_reasoning and reasoning.strip():
        return f"{THINK}\n{reasoning.strip()}\n{END_OF_THINK}\n\n{shown}"
    return shown


def own_template() -> str:
    """What `render` writes, as the Jinja template that goes with a checkpoint for those who read it elsewhere.

    Arguments of a tool call that are text already are written as they are; `render` writes them anew.
    """
    return (Path(__file__).parent / "chat_template.jinja").read_text("utf-8")


def render_template(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] = (),
    *,
    add_generation_prompt: bool = True,
    **variables: Any,
) -> str:
    """A conversation by a checkpoint's own Jinja template, in the environment that such templates are written for.

    Raises:
        ModelError: The template is broken or refuses the conversation.
    """
    from jinja2 import TemplateError

    try:
        return _compiled(template).render(
            messages=list(messages), tools=list(tools) or None, add_generation_prompt=add_generation_prompt, **variables
        )
    except (TemplateError, TypeError, ValueError) as error:
        raise ModelError(f"chat template: {error}") from None


@lru_cache(maxsize=8)
def _compiled(template: str) -> Template:
    """Ready to render: compiling takes ten milliseconds, and one that is drawn from asks for thousands of prompts."""
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, indent: int | None = None, ensure_ascii: bool = False) -> str:
        return json.dumps(value, indent=indent, ensure_ascii=ensure_ascii)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    return environment.from_string(template)
