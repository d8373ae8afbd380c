"""What crosses between the harness's processes: orders and replies, as JSON text and nothing else."""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from mellum_eval import jsonl
from mellum_eval.backends.base import Completion, Failure, Request
from mellum_eval.errors import PrerequisiteMissing
from sandboxes import prepared
from sandboxes.check import CHECK, Answer, CallsCheck, Check
from sandboxes.verdict import Outcome, Verdict

_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
KEPT = 256
KEPT_CHARACTERS = 1 << 20


class CheckTexts:
    """Checks as JSON text. The latest are kept: k answers to a problem cost one writing."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[Check, str]] = OrderedDict()

    def __call__(self, check: Check) -> str:
        """The check's text; the same values exactly, whatever Python objects the check holds.

        Raises:
            ValueError: The check is malformed; names the field.
        """
        known = self._known.get(id(check))
        if known is not None and known[0] is check:
            self._known.move_to_end(id(check))
            return known[1]
        text = _text(check)
        if len(text) <= KEPT_CHARACTERS:
            self._known[id(check)] = (check, text)
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return text


def _text(check: Check) -> str:
    fields = check.model_dump(exclude_none=True)
    if isinstance(check, CallsCheck):
        # In the boundary codec's bytes: JSON has no tuples, and these are encoded already.
        ready = prepared.ready(check)
        for name, entries in (("calls", ready.calls), ("expected", ready.expected)):
            fields.pop(name, None)
            fields.pop(f"{name}_py", None)
            fields[f"{name}_b64"] = base64.b64encode(prepared.pack_entries(entries)).decode("ascii")
    return json.dumps(fields, separators=(",", ":"))


@lru_cache(maxsize=KEPT)
def check_of(text: str) -> Check:
    """The inverse of `CheckTexts`. The latest are kept, and what is prepared of them with them."""
    return CHECK.validate_python(json.loads(text))


def verify_order(check_text: str, answer: Answer) -> str:
    """The order to judge an answer."""
    return json.dumps({"do": "verify", "check": check_text, "answer": answer}, separators=(",", ":"))


def verdict_text(verdict: Verdict) -> str:
    """A verdict's text."""
    return jsonl.dumps(asdict(replace(verdict, parts=dict(verdict.parts), evidence=dict(verdict.evidence))))


def verdict_of(text: str) -> Verdict:
    """The inverse of `verdict_text`."""
    fields: dict[str, Any] = json.loads(text)
    return Verdict(**{**fields, "outcome": Outcome(fields["outcome"])})


def request_text(request: Request, *, ranked: bool) -> str:
    """The order to complete a prompt, or to rank its choices."""
    return json.dumps({"ranked": ranked, "request": asdict(request)}, separators=(",", ":"))


def request_of(text: str) -> tuple[bool, Request]:
    """The inverse of `request_text`: whether choices are ranked, and the request."""
    fields = json.loads(text)
    return bool(fields["ranked"]), _REQUEST.validate_python(fields["request"])


def reply_text(reply: Completion | Failure) -> str:
    """A reply's text. What a model put into its calls is written as the run store writes it, so it always can be."""
    if isinstance(reply, Failure):
        return json.dumps({"failure": reply.message})
    fields = asdict(reply)
    # As Python writes them: minus infinity, which a server may well give, is no JSON.
    return jsonl.dumps({**fields, "loglikelihoods": [repr(float(value)) for value in reply.loglikelihoods]})


def reply_of(text: str) -> Completion | Failure:
    """The inverse of `reply_text`.

    Raises:
        PrerequisiteMissing: The replica's model went away for good.
    """
    fields: dict[str, Any] = json.loads(text)
    if "gone" in fields:
        raise PrerequisiteMissing(fields["gone"], fields["mend"])
    if "failure" in fields:
        return Failure(fields["failure"])
    return Completion(**{**fields, "loglikelihoods": [float(value) for value in fields["loglikelihoods"]]})
