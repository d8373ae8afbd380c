"""Which suites there are, as far as it can be said without importing one: names, categories, summaries, groups.

What a listing shows is written down here, so that `suites list` imports no suite; a test holds it to what the classes
say.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a suite without importing it."""

    name: str
    target: str
    """`module:Class`."""
    category: str
    summary: str
    variants: tuple[str, ...] = ()
    without_tools: tuple[str, ...] = ()
    """Languages or kinds that the benchmark has too, and no sandbox image has tools for."""
    files: tuple[str, ...] = ()
    """Endings of the files that may be named as a variant."""


BFCL_CATEGORIES = (
    "simple_python",
    "simple_java",
    "simple_javascript",
    "multiple",
    "parallel",
    "parallel_multiple",
    "irrelevance",
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
    "live_irrelevance",
    "live_relevance",
)

_BBH = (
    "boolean_expressions causal_judgement date_understanding disambiguation_qa dyck_languages formal_fallacies "
    "geometric_shapes hyperbaton logical_deduction_five_objects logical_deduction_seven_objects "
    "logical_deduction_three_objects movie_recommendation multistep_arithmetic_two navigate object_counting "
    "penguins_in_a_table reasoning_about_colored_objects ruin_names salient_translation_error_detection snarks "
    "sports_understanding temporal_sequences tracking_shuffled_objects_five_objects "
    "tracking_shuffled_objects_seven_objects tracking_shuffled_objects_three_objects web_of_lies word_sorting"
)
BBH_TASKS = tuple(_BBH.split())

RULER_LENGTHS = ("4k", "8k", "16k", "32k", "64k", "128k")
_RULER = (
    ("niah_single_1", "niah:Single1", "one needle, a word's number, in one repeated sentence"),
    ("niah_single_2", "niah:Single2", "one needle, a word's number, in essays"),
    ("niah_single_3", "niah:Single3", "one needle, a word's UUID, in essays"),
    ("niah_multikey_1", "niah:Multikey1", "one needle of four in essays"),
    ("niah_multikey_2", "niah:Multikey2", "one needle in a haystack of needles, words and numbers"),
    ("niah_multikey_3", "niah:Multikey3", "one needle in a haystack of needles, UUIDs both"),
    ("niah_multivalue", "niah:Multivalue", "the four values of one key in essays"),
    ("niah_multiquery", "niah:Multiquery", "the values of four keys in essays"),
    (
        "variable_tracking",
        "variable_tracking:VariableTracking",
        "all variables that have a value by a chain of assignments",
    ),
    ("common_words", "word_counts:CommonWords", "the ten most common words of a list"),
    ("frequent_words", "word_counts:FrequentWords", "the three most frequent words of a coded text"),
)
RULER_TASKS = tuple(name for name, _, _ in _RULER)

_FULL = ("full",)
_PACK_LANGUAGES = ("python", "cpp", "js", "java", "go", "rust")

ENTRIES = (
    Entry(
        "humaneval_plus",
        "suites.code.humaneval_plus:HumanEvalPlus",
        "code",
        "164 Python functions from docstrings, EvalPlus's base and plus tests",
        ("base", "mini", "noextreme"),
    ),
    Entry(
        "mbpp_plus",
        "suites.code.mbpp_plus:MbppPlus",
        "code",
        "378 short Python tasks, EvalPlus's base and plus tests",
        ("base", "noextreme"),
    ),
    Entry(
        "humaneval",
        "suites.code.humaneval:HumanEval",
        "code",
        "164 Python functions from docstrings, judged by OpenAI's own tests",
    ),
    Entry(
        "mbpp",
        "suites.code.mbpp:Mbpp",
        "code",
        "500 short Python tasks (test split), each judged by its three assert statements",
    ),
    Entry(
        "bigcodebench",
        "suites.code.bigcodebench:BigCodeBench",
        "code",
        "1,140 Python functions that use libraries, judged by their unittest test cases",
        ("complete", "instruct", "hard", "hard_instruct"),
    ),
    Entry(
        "humanevalpack",
        "suites.code.humanevalpack:HumanEvalPack",
        "code",
        "HumanEval in six languages, written from docstrings or (-fix) repaired, judged by their tests",
        (*_PACK_LANGUAGES, *(f"{language}-fix" for language in _PACK_LANGUAGES)),
    ),
    Entry(
        "multipl_e",
        "suites.code.multipl_e:MultiplE",
        "code",
        "HumanEval in C++, Java, PHP, TypeScript, C#, Bash and JavaScript (also Go, Rust), judged by their tests",
        ("cpp", "java", "php", "ts", "cs", "sh", "js", "go", "rs"),
        without_tools=("d", "jl", "lua", "pl", "r", "rb", "rkt", "scala", "swift"),
    ),
    Entry(
        "self_repair",
        "suites.code.self_repair:SelfRepair",
        "code",
        "HumanEval+ or MBPP+ in two attempts: the second after seeing a failing test of the first",
        ("humaneval_plus", "mbpp_plus"),
    ),
    Entry(
        "agentic_coding",
        "suites.code.agentic:AgenticCoding",
        "code",
        "small Python repositories, changed with tools over several turns, judged by hidden tests",
    ),
    Entry(
        "swe_bench",
        "suites.code.swe_bench:SweBench",
        "code",
        "issues of real repositories (SWE-bench Verified or Lite, or a file of instances), each in its own image",
        ("verified", "lite"),
        files=(".jsonl", ".jsonl.gz", ".parquet"),
    ),
    Entry(
        "livecodebench",
        "suites.code.livecodebench:LiveCodeBench",
        "code",
        "1,055 contest problems (v6), judged by their hidden tests; releases and windows of dates",
        (
            *(f"release_v{number}" for number in range(1, 7)),
            *(f"v{number}" for number in range(1, 7)),
            *("2024-08-01_2025-02-01", "2024-10-01_2025-02-01", "2024-08-01_2025-05-01", "2025-02-01_2025-05-01"),
        ),
    ),
    Entry(
        "cruxeval",
        "suites.code.cruxeval:CruxEval",
        "code",
        "800 short Python functions: predict what one returns, or arguments that make it return that",
        ("output", "input"),
    ),
    Entry(
        "canitedit",
        "suites.code.canitedit:CanItEdit",
        "code",
        "105 edits of Python programs, told in detail or in brief, judged by tests",
        ("descriptive", "lazy", "descriptive_stdlib", "lazy_stdlib"),
    ),
    Entry(
        "quixbugs",
        "suites.code.quixbugs:QuixBugs",
        "code",
        "40 classic algorithms in Python with a one-line bug to repair",
    ),
    Entry("gsm8k", "suites.math.gsm8k:Gsm8k", "math", "1,319 grade-school word problems"),
    Entry(
        "gsm_plus",
        "suites.math.gsm_plus:GsmPlus",
        "math",
        "10,552 perturbed GSM8K problems, eight forms of each",
        ("answerable",),
    ),
    Entry("math500", "suites.math.math500:Math500", "math", "500 competition problems of MATH, seven subjects"),
    Entry(
        "hendrycks_math",
        "suites.math.hendrycks_math:Math",
        "math",
        "5,000 competition problems of MATH, seven subjects",
    ),
    Entry(
        "aime",
        "suites.math.aime:Aime",
        "math",
        "30 problems a year of AIME 2024, 2025 and 2026, answers 0 to 999",
        ("2024", "2025", "2026", "report"),
    ),
    Entry(
        "bfcl",
        "suites.tools.bfcl:Bfcl",
        "tools",
        "3,641 single-turn function-calling tasks of BFCL v4, judged by its AST rule",
        BFCL_CATEGORIES,
    ),
    Entry(
        "bfcl_multi_turn",
        "suites.tools.bfcl_multi_turn:BfclMultiTurn",
        "tools",
        "800 conversations of BFCL v3 over simulated APIs, judged by the state they leave",
        ("base", "miss_func", "miss_param", "long_context"),
    ),
    Entry(
        "bfcl_memory",
        "suites.tools.bfcl_memory:BfclMemory",
        "tools",
        "155 questions of BFCL v4 to each kind of memory that conversations before have filled",
        ("kv", "rec_sum", "vector"),
    ),
    Entry(
        "bfcl_web_search",
        "suites.tools.bfcl_web_search:BfclWebSearch",
        "tools",
        "100 questions of BFCL v4 to the web, each with and without snippets in search results",
        ("base", "no_snippet"),
    ),
    Entry(
        "bfcl_format_sensitivity",
        "suites.tools.bfcl_format_sensitivity:BfclFormatSensitivity",
        "tools",
        "200 tasks of BFCL v4, each in 26 wordings of the prompt: how far their accuracies lie apart",
    ),
    Entry(
        "mmlu_redux",
        "suites.knowledge.mmlu_redux:MmluRedux",
        "knowledge",
        "5,330 MMLU questions that annotators found sound, 57 subjects",
    ),
    Entry("mmlu", "suites.knowledge.mmlu:Mmlu", "knowledge", "14,042 four-choice questions, 57 subjects"),
    Entry(
        "mmlu_pro",
        "suites.knowledge.mmlu_pro:MmluPro",
        "knowledge",
        "12,032 questions with up to ten choices, 14 categories",
        ("cot",),
    ),
    Entry(
        "gpqa",
        "suites.knowledge.gpqa:Gpqa",
        "knowledge",
        "graduate-level science questions: 198 of the diamond set, 448 of the main set; gated",
        ("diamond", "main"),
    ),
    Entry(
        "arc",
        "suites.knowledge.arc:Arc",
        "knowledge",
        "3,548 grade-school science questions: 1,172 challenging ones and 2,376 easy ones",
        ("challenge", "easy"),
    ),
    Entry(
        "hellaswag",
        "suites.knowledge.hellaswag:HellaSwag",
        "knowledge",
        "10,042 described scenes with four endings",
    ),
    Entry(
        "winogrande",
        "suites.knowledge.winogrande:WinoGrande",
        "knowledge",
        "1,267 sentences with a blank that one of two names fills",
    ),
    Entry(
        "truthfulqa",
        "suites.knowledge.truthfulqa:TruthfulQa",
        "knowledge",
        "817 questions that people answer wrongly; MC1, and MC2 as a variant",
        ("mc1", "mc2"),
    ),
    Entry(
        "bbh",
        "suites.knowledge.bbh:Bbh",
        "knowledge",
        "6,511 questions of BIG-Bench Hard's 27 tasks, after three worked examples",
        BBH_TASKS,
    ),
    *(
        Entry(f"ruler_{name}", f"suites.long_context.{target}", "long_context", f"RULER: {summary}", RULER_LENGTHS)
        for name, target, summary in _RULER
    ),
    Entry(
        "xstest",
        "suites.safety.xstest:XsTest",
        "safety",
        "250 safe prompts that look unsafe, and 200 unsafe contrasts",
        ("safe", "unsafe"),
    ),
    Entry(
        "harmbench",
        "suites.safety.harmbench:HarmBench",
        "safety",
        "320 harmful behaviours (test split); the share carried out, lower is better",
        ("test", "val", "all"),
    ),
    Entry(
        "cyberseceval",
        "suites.safety.cyberseceval:CyberSecEval",
        "safety",
        "1,916 tasks that invite insecure code, in eight languages; the share found insecure, lower is better",
        ("c", "cpp", "csharp", "java", "javascript", "php", "python", "rust"),
    ),
    Entry(
        "strongreject",
        "suites.safety.strongreject:StrongReject",
        "safety",
        "313 forbidden requests, graded by the use of the answer, lower is better",
    ),
    Entry("ifeval", "suites.chat.ifeval:IfEval", "chat", "541 prompts with instructions that a program can check"),
    Entry(
        "ifbench",
        "suites.chat.ifbench:IfBench",
        "chat",
        "300 prompts with 58 kinds of checkable instructions that IFEval does not have",
    ),
    Entry(
        "mixeval",
        "suites.chat.mixeval:MixEval",
        "chat",
        "a mixture of benchmarks' questions as the web asks them, or its hard part",
        ("hard",),
    ),
    Entry(
        "false_premise",
        "suites.chat.false_premise:FalsePremise",
        "chat",
        "questions whose premise makes no sense; the share of answers that say so (needs a judge)",
    ),
    Entry(
        "pairwise",
        "suites.chat.pairwise:Pairwise",
        "chat",
        "win rate against the answers of an earlier run, judged in both orders (needs a judge)",
    ),
    Entry("quick_code", "suites.quick.code:QuickCode", "code", "tiny generated Python functions", _FULL),
    Entry("quick_math", "suites.quick.math:QuickMath", "math", "generated arithmetic and word problems", _FULL),
    Entry("quick_tools", "suites.quick.tools:QuickTools", "tools", "generated tool calls, some not called for", _FULL),
    Entry("quick_knowledge", "suites.quick.knowledge:QuickKnowledge", "knowledge", "facts of a made-up world", _FULL),
    Entry("quick_safety", "suites.quick.safety:QuickSafety", "safety", "made-up requests, right or forbidden", _FULL),
    Entry("quick_chat", "suites.quick.chat:QuickChat", "chat", "generated instructions on an answer's form", _FULL),
)

BRIDGES = {
    "lm_eval": Entry(
        "lm_eval",
        "suites.lm_eval.suite:LmEval",
        "other",
        "any task of lm-evaluation-harness: lm_eval:NAME, or lm_eval:/path/task.yaml",
    )
}
"""Other harnesses, each of whose tasks is a variant; which there are, nobody here knows."""


def _of_category(category: str) -> tuple[str, ...]:
    # SWE-bench is asked by its own name alone: each of its problems wants an image of gigabytes.
    return tuple(
        e.name for e in ENTRIES if e.category == category and not e.name.startswith("quick_") and e.name != "swe_bench"
    )


_AFTER_TRAINING = (
    *("livecodebench", "bfcl", "bfcl_multi_turn", "aime:report", "gsm_plus", "mmlu_redux", "gpqa:diamond"),
    *("ifeval", "mixeval", "false_premise", "harmbench", "xstest:safe"),
)
GROUPS: dict[str, tuple[str, ...]] = {
    "quick": tuple(entry.name for entry in ENTRIES if entry.name.startswith("quick_")),
    "bfcl_v3": ("bfcl", "bfcl_multi_turn"),
    "bfcl_v4": ("bfcl", "bfcl_multi_turn", "bfcl_web_search", "bfcl_memory", "bfcl_memory:vector"),
    # The lengths in turn, so that a run that is cut short has whole ones.
    "long_context": tuple(f"ruler_{task}:{length}" for length in RULER_LENGTHS for task in RULER_TASKS),
    **{f"ruler_{length}": tuple(f"ruler_{task}:{length}" for task in RULER_TASKS) for length in RULER_LENGTHS},
    **{category: _of_category(category) for category in ("code", "math", "tools", "knowledge", "safety", "chat")},
    # The Mellum 2 report's tables, as far as its benchmarks are public; each suite's own settings are the report's.
    "report_base": (
        *("humaneval", "humaneval_plus", "mbpp", "mbpp_plus", "multipl_e", "cruxeval:input", "cruxeval:output"),
        *("mmlu", "mmlu_pro", "bbh", "arc:challenge", "hellaswag", "winogrande", "truthfulqa:mc2", "gsm8k"),
        *("hendrycks_math", "gpqa:diamond", "gpqa:main"),
    ),
    "report_instruct": ("humaneval_plus", "mbpp_plus", "multipl_e", *_AFTER_TRAINING),
    "report_thinking": _AFTER_TRAINING,
}
"""Names that stand for several suites wherever suites are named."""
