"""One task of lm-evaluation-harness, in a process of its own: its documents, its prompts, its verdicts.

Run as a file, by a Python that has `lm_eval`, with nothing of ours beside it; orders come as JSON lines on standard
input, one reply each goes to standard output. What a model wrote is read by the task's own filters and
`process_results` and by nothing else. Tasks that run it (`unsafe_code`) are not opened. Once the data is loaded the
environment is emptied, so that no rule sees a token.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import re
import resource
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

FEWSHOT_SEED = 1234
"""What lm-eval draws worked examples with, unless told otherwise."""
BOOTSTRAPS = 1_000
"""Draws for a standard error that has no formula. lm-eval has 100,000 unless told otherwise: minutes for one F1."""
MEANS = ("mean",)
PAIRS = ("f1", "mcc")
"""Metrics of all documents together, each of which brings (gold, predicted)."""
TEXTS = ("word_perplexity", "byte_perplexity", "bits_per_byte")
"""Likewise, each document bringing its text's log-likelihood, and its words or bytes."""
PROBABILITIES = {"bits_per_byte": "byte_probability", "byte_perplexity": "byte_probability"}
"""What is added to them, as a score between 0 and 1: the geometric mean of a byte's probability, else of a word's."""
SINGLE = ("perplexity",)
"""Likewise, of one number a document: the log-likelihood of its continuation."""
OF_ALL = PAIRS + TEXTS + SINGLE
RANKED = ("multiple_choice", "loglikelihood", "loglikelihood_rolling")
"""Output types whose answer is log-likelihoods: of each choice, of the continuation, of the whole text."""
DEFAULT_TOKENS = 256
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR")
MAX_FILE = 256 << 20


class Refused(Exception):
    """The task cannot be run here; the first argument says why, the second is the sort: name, data or kind."""


def main() -> None:
    """Answer orders until there are no more."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # tasks print
    opened: Opened | OpenedGroup | None = None
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if order["do"] == "open":
                opened = _opened(order["task"])
                reply: Any = opened.facts()
                _settle()
            else:
                assert opened is not None, "nothing is open"
                reply = getattr(opened, order["do"])(**order["with"])
                if order["do"] == "judge":
                    reply = {"values": reply, "score": opened.score(reply)}
            answer = {"reply": reply}
        except Refused as error:
            answer = {"refused": error.args[0], "sort": error.args[1]}
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"}
        replies.write(json.dumps(answer) + "\n")
        replies.flush()


def _settle() -> None:
    for name in set(os.environ) - set(KEPT_VARIABLES):
        del os.environ[name]
    os.environ |= {"HF_HUB_OFFLINE": "1", "DISABLE_MULTIPROC": "1"}  # bootstraps are too few for a pool of processes
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE, MAX_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Opened:
    """A task with its documents."""

    def __init__(self, task: Any) -> None:
        self.task = task
        _require_what_can_be_run(self.task)
        # What needs more than sums of log-probabilities, or more than numbers of each document, is left out.
        known = list(self.task._metric_fn_list)
        self.left_out = [metric for metric in known if not self._is_kept(metric)]
        for metric in self.left_out:
            del self.task._metric_fn_list[metric]
        if not self.task._metric_fn_list:
            raise Refused(f"its metrics ({', '.join(known)}) are not made of one number a document", "kind")
        first = next((metric for metric in reversed(TEXTS) if metric in self.task._metric_fn_list), None)
        self.probability = (PROBABILITIES.get(first, "word_probability"), first) if first else None
        if self.task.config.num_fewshot is None:
            self.task.set_config("num_fewshot", 0)
        self.documents = list(self.task.eval_docs)
        if not self.documents:
            raise Refused("it has no documents", "data")
        self.sums = [_sum(document) for document in self.documents]

    def _is_kept(self, metric: str) -> bool:
        ranked = self.task.OUTPUT_TYPE == "multiple_choice"
        if ranked and metric in ("acc_mutual_info", "exact_match"):
            return False
        aggregation = self.task.aggregation().get(metric)
        return metric in OF_ALL or aggregation is None or getattr(aggregation, "__name__", "") in MEANS

    def facts(self) -> dict[str, Any]:
        """What the suite needs to know before any prompt is made."""
        config = self.task.config
        given = dict(config.generation_kwargs or {}) if self.task.OUTPUT_TYPE == "generate_until" else {}
        drawn = bool(given.get("do_sample", float(given.get("temperature") or 0) > 0))
        limit = next((given[key] for key in ("max_gen_toks", "max_new_tokens", "max_tokens") if key in given), None)
        until = given.get("until") or []
        metrics = [*([self.probability[0]] if self.probability else []), *self.task._metric_fn_list]
        return {
            "task": config.task,
            "version": f"lm-eval {version('lm_eval')}, {config.task} {self.task.VERSION}",
            "sha256": hashlib.sha256("".join(self.sums).encode()).hexdigest(),
            "sums": self.sums,
            "filters": [each.name for each in self.task._filters],
            "metrics": metrics,
            "of_all": [metric for metric in metrics if metric in OF_ALL or metric.endswith("_probability")],
            "no_shares": [metric for metric in metrics if metric in TEXTS + SINGLE],
            "left_out": self.left_out,
            "higher_is_better": {metric: self.task.higher_is_better().get(metric, True) for metric in metrics},
            "shots": config.num_fewshot,
            "ids": [str(number) for number in range(len(self.documents))],
            "ranked": self.task.OUTPUT_TYPE in RANKED,
            "greedy": self.task.OUTPUT_TYPE == "loglikelihood",
            "until": [until] if isinstance(until, str) else list(until),
            "temperature": float(given.get("temperature") or 1.0) if drawn else 0.0,
            "top_p": float(given.get("top_p") or 1.0) if drawn else 1.0,
            "top_k": int(given.get("top_k") or 0) if drawn else 0,
            "max_tokens": int(limit or DEFAULT_TOKENS),
        }

    def prompts(self, chat: bool) -> list[dict[str, Any]]:
        """Of each document its context, or messages, and the choices to rank."""

        def as_json(messages: Any, add_generation_prompt: bool = True) -> str:
            if not add_generation_prompt:
                raise Refused(
                    "it begins the answer itself (gen_prefix), which chat models do not take; use --base", "kind"
                )
            return json.dumps(messages)

        if chat and self.task.OUTPUT_TYPE == "loglikelihood_rolling":
            raise Refused("it measures whole texts, which nobody asked of a chat model; use --base", "kind")
        self.task.set_fewshot_seed(seed=FEWSHOT_SEED)
        self.task.build_all_requests(
            apply_chat_template=chat, fewshot_as_multiturn=True, chat_template=as_json if chat else None
        )
        found: list[dict[str, Any]] = [{} for _ in self.documents]
        for instance in self.task.instances:
            mine = found[instance.doc_id]
            if self.task.OUTPUT_TYPE == "loglikelihood_rolling":
                found[instance.doc_id] = {"context": "", "choices": list(instance.args)}
                continue
            context, *rest = instance.args
            if self.task.OUTPUT_TYPE in RANKED:
                # As lm-eval's models have it: blanks that end a context begin what is ranked.
                bare = context if chat else context.rstrip()
                mine.setdefault("contexts", []).append(bare)
                mine.setdefault("choices", []).append(context[len(bare) :] + rest[0])
            else:
                mine["contexts"] = [context]
        for mine in found if self.task.OUTPUT_TYPE != "loglikelihood_rolling" else []:
            if len(set(mine["contexts"])) == 1:
                mine["context"] = mine.pop("contexts")[0]
            elif chat:
                raise Refused("its choices stand in the context, which a chat template has once; use --base", "kind")
            if chat:
                mine["messages"] = json.loads(mine.pop("context"))
        return found

    def judge(self, document: int, sha256: str, answer: Any) -> dict[str, Any]:
        """The task's metrics of one document's answer: by `metric,filter` a number, or what it brings to one of all.

        Args:
            document: Its number.
            sha256: Its sum.
            answer: The text; or the log-likelihood of each choice, and after a continuation's 1 where it is greedy.
        """
        from lm_eval.api.instance import Instance

        if self.sums[document] != sha256:
            raise Refused(f"document {document} is not the one that was asked", "data")
        doc = self.documents[document]
        kind = self.task.OUTPUT_TYPE
        replies: list[Any] = [answer]
        if kind == "multiple_choice":
            kind, replies = "loglikelihood", [(value, False) for value in answer]
        elif kind == "loglikelihood":
            if len(answer) != 2:
                raise Refused("the model does not say whether a text is what greedy decoding gives", "kind")
            replies = [(answer[0], bool(answer[1]))]
        elif kind == "loglikelihood_rolling":
            replies = list(answer)
        made = []
        for place, reply in enumerate(replies):
            made.append(Instance(kind, doc, ("", ""), place, metadata=(self.task.config.task, document, 1)))
            made[-1].resps = [reply]
        for each in self.task._filters:
            each.apply(made)
        values: dict[str, Any] = {}
        for name in made[0].filtered_resps:
            results = self.task.process_results(doc, [instance.filtered_resps[name] for instance in made])
            for metric, value in results.items():
                number = _number(value)
                if number is not None and metric not in self.left_out:
                    values[f"{metric},{name}"] = [number] if metric in SINGLE else number
                if self.probability and metric == self.probability[1] and number is not None:
                    values[f"{self.probability[0]},{name}"] = number
        return values

    def score(self, values: dict[str, Any]) -> float | None:
        """What one document is worth by the task's first metric; None where nothing can be right or wrong in it."""
        known, name = list(self.task._metric_fn_list), self.task._filters[0].name
        first = next((each for each in known if each not in OF_ALL), known[0])
        value = values.get(f"{first},{name}")
        if not isinstance(value, list):
            return value
        return float(value[0] == value[1]) if first in PAIRS else None

    def aggregate(self, values: dict[str, list[list[float]]]) -> dict[str, list[float]]:
        """Value and standard error over all documents, by lm-eval's own rules; without what those cannot make.

        F1 of documents with three labels ends lm-eval itself; here it is missing, and the rest is there.
        """
        return {
            name: [value, 0.0 if error is None else error]
            for name, (value, error) in self._aggregated(
                {name: [pair[0] if len(pair) == 1 else tuple(pair) for pair in pairs] for name, pairs in values.items()}
            ).items()
        }

    def _aggregated(self, values: dict[str, list[Any]]) -> dict[str, tuple[float, float | None]]:
        from lm_eval.evaluator_utils import _compute_task_aggregations

        made: dict[str, tuple[float, float | None]] = {}
        for name, items in values.items():
            metric, _, chosen = name.rpartition(",")
            if self.probability and metric == self.probability[0]:
                made[name] = _likeliness(items), _bootstrapped(_likeliness, items)
                continue
            try:
                found, _ = _compute_task_aggregations(self.task, {(metric, chosen): items}, BOOTSTRAPS)
            except (TypeError, ValueError, ArithmeticError):
                continue
            error = found[f"{metric}_stderr,{chosen}"]
            if metric in TEXTS:
                error = _bootstrapped(self.task.aggregation()[metric], items)
            made[name] = float(found[name]), None if isinstance(error, str) else float(error)
        return made


class OpenedGroup:
    """A group of tasks with a score of its own: their documents one after another, its score by lm-eval's weights."""

    def __init__(self, group: Any) -> None:
        self.group = group
        self.tasks = [Opened(task) for task in group.get_all_tasks()]
        self.names = [opened.task.config.task for opened in self.tasks]
        self.starts = [0]
        for opened in self.tasks:
            self.starts.append(self.starts[-1] + len(opened.documents))

    def facts(self) -> dict[str, Any]:
        """As a task's; they must be the same for all of its tasks."""
        each = [opened.facts() for opened in self.tasks]
        for facts, name in zip(each, self.names, strict=True):
            for key in ("ranked", "greedy", "until", "temperature", "top_p", "top_k", "max_tokens", "shots"):
                if facts[key] != each[0][key]:
                    raise Refused(f"its tasks {self.names[0]} and {name} differ in {key}; name them one by one", "kind")
        sums = [value for facts in each for value in facts["sums"]]
        metrics = list(dict.fromkeys(config.metric for config in self.group.aggregate_metric_list))
        return {
            **each[0],
            "task": self.group.name,
            "version": f"lm-eval {version('lm_eval')}, {self.group.name} {self.group.version}, {len(each)} tasks",
            "sha256": hashlib.sha256("".join(sums).encode()).hexdigest(),
            "sums": sums,
            "ids": [f"{name}/{id}" for facts, name in zip(each, self.names, strict=True) for id in facts["ids"]],
            "metrics": metrics,
            "of_all": metrics,
            "no_shares": [metric for metric in metrics if metric in TEXTS + SINGLE],
            "left_out": list(dict.fromkeys(metric for facts in each for metric in facts["left_out"])),
            "higher_is_better": {metric: each[0]["higher_is_better"].get(metric, True) for metric in metrics},
        }

    def prompts(self, chat: bool) -> list[dict[str, Any]]:
        """As a task's."""
        return [prompt for opened in self.tasks for prompt in opened.prompts(chat)]

    def judge(self, document: int, sha256: str, answer: Any) -> dict[str, Any]:
        """As a task's; each value behind the number of the task it is of."""
        place = self._place(document)
        values = self.tasks[place].judge(document - self.starts[place], sha256, answer)
        return {name: [place, *(value if isinstance(value, list) else [value])] for name, value in values.items()}

    def score(self, values: dict[str, Any]) -> float | None:
        """As a task's."""
        place = next(int(value[0]) for value in values.values())
        return self.tasks[place].score(
            {name: value[1] if len(value) == 2 else value[1:] for name, value in values.items()}
        )

    def aggregate(self, values: dict[str, list[list[float]]]) -> dict[str, list[float]]:
        """The group's score, and those of its tasks as `task:metric,filter`."""
        results: dict[str, dict[str, Any]] = {}
        made: dict[str, list[float]] = {}
        for place, (name, opened) in enumerate(zip(self.names, self.tasks, strict=True)):
            own = {
                metric: [row[1] if len(row) == 2 else tuple(row[1:]) for row in rows if row[0] == place]
                for metric, rows in values.items()
            }
            found = opened._aggregated({metric: rows for metric, rows in own.items() if rows})
            results[name] = {"sample_len": max(map(len, own.values()))}
            for metric, (value, error) in found.items():
                short, _, chosen = metric.rpartition(",")
                results[name] |= {metric: value, f"{short}_stderr,{chosen}": "N/A" if error is None else error}
                made[f"{name}:{metric}"] = [value, error or 0.0]
        judged = {name: result for name, result in results.items() if result["sample_len"]}
        whole = self.group.aggregate(judged)
        for metric in values:
            if metric in whole:
                short, _, chosen = metric.rpartition(",")
                error = whole.get(f"{short}_stderr,{chosen}")
                made[metric] = [float(whole[metric]), float(error) if isinstance(error, (int, float)) else 0.0]
        return made

    def _place(self, document: int) -> int:
        return next(place for place, start in enumerate(self.starts[1:]) if document < start)


def _likeliness(items: list[Any]) -> float:
    """The geometric mean of the probability of a unit, of texts' log-likelihoods and units."""
    return math.exp(sum(value for value, _ in items) / sum(units for _, units in items))


def _bootstrapped(aggregation: Any, items: list[Any]) -> float:
    """The standard error of a perplexity, which lm-eval gives none of: its own aggregation of documents drawn anew."""
    if len(items) < 2:
        return 0.0
    draw = random.Random(FEWSHOT_SEED)
    values = [aggregation(draw.choices(items, k=len(items))) for _ in range(BOOTSTRAPS)]
    middle = sum(values) / len(values)
    return math.sqrt(sum((value - middle) ** 2 for value in values) / (len(values) - 1))


def _opened(name: str) -> Opened | OpenedGroup:
    loaded = _loaded(name)
    return OpenedGroup(loaded) if hasattr(loaded, "get_all_tasks") else Opened(loaded)


def _loaded(name: str) -> Any:
    """The task, or the group with a score of its own, of a name that comes with the package, or of a file."""
    from lm_eval.api.group import Group
    from lm_eval.api.task import Task
    from lm_eval.tasks import TaskManager

    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        found = _file_of(name)
        if found is None:
            raise Refused(_members(name), "name")
        path = found
    elif not path.is_file():
        raise Refused("there is no such file", "name")
    manager = TaskManager(include_path=str(path.parent), include_defaults=False)
    try:
        loaded = manager._load_spec(str(path))
    except (ConnectionError, OSError) as error:
        if isinstance(error, FileNotFoundError) and path.suffix and not path.is_file():
            raise
        raise Refused(f"its data cannot be had ({_first_line(error)})", "data") from error
    except KeyError as error:
        raise Refused(f"{path} defines no task ({_first_line(error)})", "name") from error
    if isinstance(loaded, Group) and not loaded.aggregate_metric_list:
        names = ", ".join(str(task.config.task) for task in loaded.get_all_tasks()[:60])
        raise Refused(f"it is a group without a score of its own: name its tasks ({names})", "name")
    if not isinstance(loaded, (Task, Group)):
        raise Refused(f"{path} defines several tasks; name a file of each", "name")
    return loaded


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _file_of(name: str) -> Path | None:
    """The package's file that defines a task or a group: only names are read, as its own index takes ten seconds."""
    import lm_eval.tasks

    wanted = re.compile(rf"""^["']?(?:task|group)["']?:\s*["']?{re.escape(name)}["']?\s*$""", re.MULTILINE)
    for path in sorted(Path(lm_eval.tasks.__file__).parent.rglob("*.yaml")):
        if wanted.search(path.read_text("utf-8", "replace")):
            return path
    return None


def _members(name: str) -> str:
    """Why a name is no task: the tasks of that group, or those named nearly so."""
    import difflib

    from lm_eval.tasks import TaskManager

    manager = TaskManager()
    entry = manager.task_index.get(name)
    if entry is None:
        near = difflib.get_close_matches(name, manager.all_subtasks, n=3)
        return f"lm-eval has no such task{'; did you mean ' + ' or '.join(near) + '?' if near else ''}"
    members = sorted(
        other for other, its in manager.task_index.items() if name in its.tags and its.kind.name.endswith("TASK")
    )
    if not members and entry.yaml_path is not None:
        from lm_eval.tasks._yaml_loader import load_yaml

        given = load_yaml(entry.yaml_path, resolve_func=False).get("task", [])
        members = [item if isinstance(item, str) else str(item.get("task", item.get("group", ""))) for item in given]
    listed = ", ".join(members[:60]) + (", …" if len(members) > 60 else "")
    return f"it is a group: name its tasks ({listed})"


def _require_what_can_be_run(task: Any) -> None:
    from lm_eval.api.task import ConfigurableTask

    if getattr(task, "UNSAFE_CODE", False):
        raise Refused(
            "it runs the code that the model wrote, unconfined; suites of our own do so in the sandbox", "kind"
        )
    if getattr(task, "MULTIMODAL", False):
        raise Refused("it needs images or sound", "kind")
    if not isinstance(task, ConfigurableTask):
        raise Refused("it is defined in Python and makes requests of its own", "kind")
    if int(task.config.repeats or 1) > 1:
        raise Refused("it filters over several answers a document (repeats); here they are judged one by one", "kind")


def _number(value: Any) -> float | list[float] | None:
    """A metric's value as JSON has it; None where it is neither a number nor a few of them."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        parts = [_number(item) for item in value]
        return [part for part in parts if isinstance(part, float)] if all(isinstance(p, float) for p in parts) else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number == number else None


def _sum(document: Any) -> str:
    text = json.dumps(document, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


if __name__ == "__main__":
    main()
