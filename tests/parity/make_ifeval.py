"""Writes ifeval_expected.json: the verdicts of IFEval's own rules (as lm-eval 0.4.13 ships them) on every case.

    python -m venv ENV && ENV/bin/pip install langdetect nltk immutabledict packaging
    ENV/bin/pip install --no-deps --target SRC lm-eval==0.4.13
    ENV/bin/python tests/parity/make_ifeval.py DATA_DIR SRC

Two things are put in place of what cannot be had or repeated: NLTK's word tokenizer is called without its sentence
splitter (whose data must be downloaded; no rule that is compared counts sentences), and langdetect is seeded.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from ifeval_cases import cases  # type: ignore[import-not-found]


def reference(source: Path) -> Any:
    import langdetect
    import nltk  # type: ignore[import-not-found]

    langdetect.DetectorFactory.seed = 0
    nltk.download = lambda *args, **kwargs: True
    nltk.data.find = lambda *args, **kwargs: None
    tokenizer = nltk.tokenize.destructive.NLTKWordTokenizer()
    nltk.word_tokenize = tokenizer.tokenize
    for name, folder in (("lm_eval", ""), ("lm_eval.tasks", "tasks"), ("lm_eval.tasks.ifeval", "tasks/ifeval")):
        package = types.ModuleType(name)
        package.__path__ = [str(source / "lm_eval" / folder)]
        sys.modules[name] = package
    from lm_eval.tasks.ifeval import utils  # type: ignore[import-not-found]

    return utils


def main() -> None:
    utils = reference(Path(sys.argv[2]))
    strict, loose = "", ""
    for case in cases(Path(sys.argv[1])):
        given = utils.InputExample(case.key, case.ids, case.prompt, case.kwargs)
        for bits in utils.test_instruction_following_strict(given, case.response).follow_instruction_list:
            strict += str(int(bits))
        for bits in utils.test_instruction_following_loose(given, case.response).follow_instruction_list:
            loose += str(int(bits))
    made = {
        "reference": "lm-eval 0.4.13, tasks/ifeval",
        "instructions": len(strict),
        "strict_hex": f"{int('1' + strict, 2):x}",
        "loose_hex": f"{int('1' + loose, 2):x}",
    }
    Path(__file__).with_name("ifeval_expected.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
