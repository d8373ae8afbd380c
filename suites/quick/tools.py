"""quick_tools: pick the right tool and fill in its arguments; two calls at times, and at times no tool fits."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandboxes.check import Answer, ToolCallCheck
from suites.problem import Message, Problem, Prompt
from suites.quick.generator import TINY, Instance, QuickSuite
from suites.tools.schema import openai_tool

Arguments = dict[str, Any]

CITIES = ("Oslo", "Lima", "Cairo", "Rome", "Delhi", "Quito", "Paris", "Kyoto")
PEOPLE = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn")
ROOMS = ("kitchen", "hall", "attic", "cellar", "studio")
ITEMS = ("apples", "eggs", "pens", "candles", "lamps", "cups")
SONGS = ("Blue Moon", "Stone River", "Night Train", "Open Road", "Red Sky")
TEXTS = ("I am late", "see you soon", "call me", "dinner is ready", "well done")
LANGUAGES = ("French", "Greek", "Hindi", "Polish")
NO_TOOL = "None of the tools fits this request."


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool, and how requests for it are drawn: words and the arguments they mean."""

    name: str
    description: str
    parameters: Mapping[str, str]
    """Argument → type name of BFCL's function documents; all are required."""
    request: Callable[[random.Random], tuple[str, Arguments]]

    def document(self) -> dict[str, Any]:
        """The tool as a function document."""
        return {
            "name": self.name,
            "description": self.description,
            "parameters": {
                "type": "dict",
                "properties": {name: {"type": kind} for name, kind in self.parameters.items()},
                "required": list(self.parameters),
            },
        }


def _weather(rng: random.Random) -> tuple[str, Arguments]:
    city, days = rng.choice(CITIES), rng.randint(1, 9)
    return f"show the weather in {city} for {days} days", {"city": city, "days": days}


def _timer(rng: random.Random) -> tuple[str, Arguments]:
    minutes, room = rng.randint(1, 59), rng.choice(ROOMS)
    return f"set a timer for {minutes} minutes in the {room}", {"minutes": minutes, "room": room}


def _light(rng: random.Random) -> tuple[str, Arguments]:
    room, on, level = rng.choice(ROOMS), rng.choice((True, False)), rng.randint(1, 9)
    return f"turn lamp {level} in the {room} {'on' if on else 'off'}", {"room": room, "lamp": level, "on": on}


def _buy(rng: random.Random) -> tuple[str, Arguments]:
    item, count = rng.choice(ITEMS), rng.randint(2, 40)
    return f"buy {count} {item}", {"item": item, "count": count}


def _message(rng: random.Random) -> tuple[str, Arguments]:
    to, text = rng.choice(PEOPLE), rng.choice(TEXTS)
    return f'tell {to} "{text}"', {"to": to, "text": text}


def _play(rng: random.Random) -> tuple[str, Arguments]:
    title, volume = rng.choice(SONGS), rng.randint(1, 10)
    return f'play "{title}" at volume {volume}', {"title": title, "volume": volume}


def _table(rng: random.Random) -> tuple[str, Arguments]:
    name, people, hour = rng.choice(PEOPLE), rng.randint(2, 9), rng.randint(11, 22)
    return f"book a table for {people} at {hour} for {name}", {"name": name, "people": people, "hour": hour}


def _route(rng: random.Random) -> tuple[str, Arguments]:
    start, end = rng.sample(CITIES, 2)
    return f"find a way from {start} to {end}", {"start": start, "end": end}


def _convert(rng: random.Random) -> tuple[str, Arguments]:
    amount, (source, target) = rng.randint(2, 99), rng.sample(("euros", "dollars", "yen", "pounds"), 2)
    return f"change {amount} {source} into {target}", {"amount": amount, "source": source, "target": target}


def _translate(rng: random.Random) -> tuple[str, Arguments]:
    text, language = rng.choice(TEXTS), rng.choice(LANGUAGES)
    return f'say "{text}" in {language}', {"text": text, "language": language}


TOOLS = (
    Tool("get_weather", "Weather of a city", {"city": "string", "days": "integer"}, _weather),
    Tool("set_timer", "Start a timer in a room", {"minutes": "integer", "room": "string"}, _timer),
    Tool("set_light", "Switch a lamp", {"room": "string", "lamp": "integer", "on": "boolean"}, _light),
    Tool("buy", "Order things", {"item": "string", "count": "integer"}, _buy),
    Tool("send_message", "Send a text to someone", {"to": "string", "text": "string"}, _message),
    Tool("play_song", "Play a song", {"title": "string", "volume": "integer"}, _play),
    Tool("book_table", "Book a table", {"name": "string", "people": "integer", "hour": "integer"}, _table),
    Tool("find_route", "Way between two cities", {"start": "string", "end": "string"}, _route),
    Tool("convert", "Change money", {"amount": "integer", "source": "string", "target": "string"}, _convert),
    Tool("translate", "Translate a text", {"text": "string", "language": "string"}, _translate),
)


def _instance(template: str, level: int, request: str, offered: Sequence[Tool], calls: Sequence[Call]) -> Instance:
    documents = [tool.document() for tool in offered]
    answer = [{name: {key: [value] for key, value in arguments.items()}} for name, arguments in calls]
    blocks = [
        f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>" for name, arguments in calls
    ]
    names = sorted(tool.name for tool in offered)
    return Instance(
        template=template,
        level=level,
        key=f"{template}:{names}:{request}",
        ask=f"Please {request}.",
        check=ToolCallCheck(kind="tool_call", tools=documents, answer=answer, limits=TINY),
        gold="\n".join(blocks) or NO_TOOL,
        family=request,
    )


Call = tuple[str, Arguments]


def _one_tool(rng: random.Random, number: int) -> Instance:
    tool = rng.choice(TOOLS)
    request, arguments = tool.request(rng)
    return _instance("one_tool", 1, request, [tool], [(tool.name, arguments)])


def _pick(rng: random.Random, number: int) -> Instance:
    offered = rng.sample(TOOLS, 3)
    tool = rng.choice(offered)
    request, arguments = tool.request(rng)
    return _instance("pick", 2, request, offered, [(tool.name, arguments)])


def _none_fits(rng: random.Random, number: int) -> Instance:
    wanted, *offered = rng.sample(TOOLS, 3)
    request, _ = wanted.request(rng)
    return _instance("none_fits", 2, request, offered, [])


def _two_tools(rng: random.Random, number: int) -> Instance:
    offered = rng.sample(TOOLS, 3)
    first, second = rng.sample(offered, 2)
    (one, some), (two, more) = first.request(rng), second.request(rng)
    return _instance("two_tools", 3, f"{one} and {two}", offered, [(first.name, some), (second.name, more)])


def _twice(rng: random.Random, number: int) -> Instance:
    offered = rng.sample(TOOLS, 2)
    tool = rng.choice(offered)
    (one, some), (two, more) = tool.request(rng), tool.request(rng)
    return _instance("twice", 3, f"{one} and {two}", offered, [(tool.name, some), (tool.name, more)])


class QuickTools(QuickSuite):
    """Five templates over ten tools; judged by BFCL's AST rule."""

    name = "quick_tools"
    category = "tools"
    summary = "generated tool calls, some not called for"
    templates = (_one_tool, _pick, _none_fits, _two_tools, _twice)

    def empty_is_right(self, problem: Problem) -> bool:
        """Where no tool fits, saying nothing calls none."""
        return isinstance(problem.check, ToolCallCheck) and not problem.check.answer

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """The request with the tools; base models see them as JSON lines."""
        if not isinstance(problem.check, ToolCallCheck):
            raise TypeError(f"{problem.id} is not a tool-call problem")
        tools = tuple(openai_tool(document) for document in problem.check.tools)
        if chat:
            return Prompt(messages=(Message("user", problem.ask),), tools=tools)
        offered = "\n".join(json.dumps(tool["function"]) for tool in tools)
        return Prompt(text=f"Tools:\n{offered}\nUser: {problem.ask}\nAssistant:", stop=("\nUser:",))

    def answer(self, problem: Problem, text: str, tool_calls: Sequence[dict[str, Any]] = ()) -> Answer:
        """Structured calls where the server parsed them, else the text."""
        return list(tool_calls) or text
