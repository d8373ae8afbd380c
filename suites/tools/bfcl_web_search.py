"""BFCL v4's web search (Patil et al.): questions of several steps, with a search engine and the pages that it names.

Two variants of 100 questions: `base`, and `no_snippet`, where results are titles and addresses only. An answer is right
where a possible one stands in the model's last text. Searches go to a provider whose key the user has, pages to
whatever public address the model names, which is allowed in so many words; without both, nothing is asked.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence

from sandboxes.check import Answer, ContainsCheck
from sandboxes.sandbox import Sandbox
from sandboxes.verifiers.tool_text import Call
from suites.conversation import ModelTurn
from suites.problem import Message, Problem, Prompt
from suites.sampling import Sampling
from suites.sources import DataSource, SourceMissing, read_jsonl
from suites.suite import Suite
from suites.tools.api_conversation import ApiConversation
from suites.tools.bfcl import base_prompt
from suites.tools.bfcl_memory import UNKNOWN
from suites.tools.bfcl_package import WHEEL, prompt_texts
from suites.tools.bfcl_sources import WEB_SEARCH, WEB_SEARCH_ANSWERS, WEB_SEARCH_FUNCTIONS
from suites.tools.schema import openai_tool

KEY_VARIABLE = "SERPAPI_API_KEY"
URL_VARIABLE = "MELLUM_SEARCH_URL"
FETCH_VARIABLE = "MELLUM_WEB_FETCH"
VARIANTS = ("base", "no_snippet")


class BfclWebSearch(Suite):
    """One variant, or both."""

    name = "bfcl_web_search"
    category = "tools"
    version = "1"
    summary = "100 questions of BFCL v4 to the web, each with and without snippets in search results"
    sources = (WEB_SEARCH, WEB_SEARCH_ANSWERS, WEB_SEARCH_FUNCTIONS, WHEEL)
    variants = VARIANTS
    sampling = Sampling(temperature=0.01)

    def data(self) -> tuple[DataSource, ...]:
        """Both variants ask the same."""
        return self.sources

    def require(self) -> None:
        """A provider's key, leave to fetch pages, and what reads them."""
        if not os.environ.get(KEY_VARIABLE):
            raise SourceMissing(
                f"{self.full_name} searches the web by SerpAPI, and there is no key",
                f"set {KEY_VARIABLE}, and {FETCH_VARIABLE}=1 to let the model fetch pages of the public web",
            )
        if os.environ.get(FETCH_VARIABLE) != "1":
            raise SourceMissing(
                f"{self.full_name} fetches whatever public pages the model names, and that is not allowed",
                f"set {FETCH_VARIABLE}=1 to allow it",
            )
        if not all(map(importlib.util.find_spec, ("bs4", "html2text"))):
            raise SourceMissing(
                f"{self.full_name} reads pages by beautifulsoup4 and html2text, which are not installed",
                'run `pip install "mellum-eval[web]"`',
            )

    def problems(self) -> Sequence[Problem]:
        """Ids are BFCL's own. The variants of a question are not independent."""
        possible = {row["id"]: row["ground_truth"] for row in read_jsonl(WEB_SEARCH_ANSWERS)}
        functions = list(read_jsonl(WEB_SEARCH_FUNCTIONS))
        return [
            Problem(
                id=row["id"].replace("web_search", f"web_search_{variant}"),
                ask=row["question"][0][0]["content"],
                check=ContainsCheck(kind="contains", answers=possible[row["id"]], match="words"),
                gold=f"{{'answer': '{possible[row['id']][0]}', 'context': 'I looked it up.'}}",
                cluster=row["id"],
                metadata={"category": f"web_search_{variant}", "variant": variant, "functions": functions},
                wrong=(UNKNOWN,),
            )
            for variant in (VARIANTS if self.variant is None else (self.variant,))
            for row in read_jsonl(WEB_SEARCH)
        ]

    def render(self, problem: Problem, *, chat: bool) -> Prompt:
        """How to answer, and the question."""
        how = prompt_texts()["ADDITIONAL_SYSTEM_PROMPT_FOR_AGENTIC_RESPONSE_FORMAT"]
        messages = (Message("system", how), Message("user", problem.ask))
        tools = tuple(openai_tool(function) for function in problem.metadata["functions"])
        return Prompt(messages=messages, tools=tools) if chat else base_prompt(messages, tools)

    def converse(self, problem: Problem, sandbox: Sandbox | None) -> ApiConversation:
        """One question; the web is asked from here, since nothing in the sandbox reaches it."""
        return Searching(problem)

    def script(self, problem: Problem, text: str) -> Sequence[ModelTurn]:
        """The answer, without a search."""
        return (ModelTurn(text),)


class Searching(ApiConversation):
    """Ends with the last text; a model that had to be stopped gave none."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self._snippets = problem.metadata["variant"] == "base"

    async def _run(self, calls: Sequence[Call]) -> list[str]:
        from suites.tools.web_search import PROVIDER, WebSearchAPI  # loads an HTTP client

        provider = os.environ.get(URL_VARIABLE, PROVIDER)
        web = WebSearchAPI(os.environ[KEY_VARIABLE], show_snippet=self._snippets, provider=provider)
        return [await web.call(call) for call in calls]

    async def _ended(self, text: str) -> Answer:
        return text

    async def _stopped(self, why: str) -> Answer:
        return ""
