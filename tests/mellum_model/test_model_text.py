"""Tokenizer, chat template, fill in the middle, and text as it comes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellum_model import CheckpointError, ModelError
from mellum_model.chat import SPECIAL_TOKENS, own_template, render, render_template
from mellum_model.fim import Gap, cut
from mellum_model.nano import checkpoint
from mellum_model.text import TextStream
from mellum_model.tokenizer import Tokenizer

TOKENIZER = Tokenizer.train(["def add(a, b):\n    return a + b  # naïve π 42\n"] * 3, 320, SPECIAL_TOKENS)


@settings(max_examples=80, deadline=None)
@given(st.text())
def test_any_text_survives_encoding(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_special_tokens_are_one_id_and_digits_stand_alone() -> None:
    assert TOKENIZER.encode("<think>") == [TOKENIZER.id_of("<think>")] == [3]
    assert len(TOKENIZER.encode("1234")) == 4
    assert TOKENIZER.encode("<|im_end|>x")[0] == TOKENIZER.id_of("<|im_end|>")


def test_saved_and_loaded_is_the_same_and_transformers_reads_it(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    TOKENIZER.chat_template = "{{ messages[0].content }}"
    TOKENIZER.save(tmp_path)
    back = Tokenizer.load(tmp_path)
    text = "<|im_start|>user\nadd 42 π<|im_end|>\n"
    assert back.encode(text) == TOKENIZER.encode(text)
    assert back.chat_template == TOKENIZER.chat_template
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(text, add_special_tokens=False)["input_ids"] == TOKENIZER.encode(text)
    with pytest.raises(CheckpointError, match="no such file; the checkpoint has no tokenizer"):
        Tokenizer.load(tmp_path / "nowhere")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: not a tokenizer"):
        Tokenizer.load(tmp_path)


@settings(max_examples=80, deadline=None)
@given(st.text(min_size=1, max_size=30), st.sampled_from(["", "a", "é", "π4", "zz"]))
def test_streamed_text_is_the_whole_text(text: str, stop: str) -> None:
    stream = TextStream(TOKENIZER.decode, (stop,) if stop else ())
    pieces = []
    for token in TOKENIZER.encode(text):
        ended = stream.push(token)
        pieces.append(stream.take(final=ended))
        if ended:
            break
    pieces.append(stream.take(final=True))
    expected = text.split(stop)[0] if stop else text
    assert "".join(pieces) == stream.text == expected


def test_bytes_that_are_no_characters_do_not_stall_the_stream() -> None:
    def decode(ids: Sequence[int]) -> str:
        return bytes(ids).decode("utf-8", errors="replace")

    stream = TextStream(decode)
    for byte in b"\xff" * 20 + b"ok":
        stream.push(byte)
    assert stream.take(final=True).endswith("ok") and len(stream.text) == 22


QUESTION = {"role": "user", "content": "Add."}


def test_chatml_turns() -> None:
    assert render([QUESTION]) == "<|im_start|>user\nAdd.<|im_end|>\n<|im_start|>assistant\n"
    assert render([{"role": "system", "content": "S"}, QUESTION], add_generation_prompt=False) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nAdd.<|im_end|>\n"
    )
    assert render([QUESTION], enable_thinking=False).endswith("assistant\n<think>\n\n</think>\n\n")
    assert render([{"role": "user", "content": [{"type": "text", "text": "Add."}]}]) == render([QUESTION])
    with pytest.raises(ModelError, match="message 0: role 'robot' is not known"):
        render([{"role": "robot", "content": ""}])


def test_reasoning_of_earlier_turns_is_dropped_and_of_the_present_one_kept() -> None:
    answer = {"role": "assistant", "content": "<think>\nhmm\n</think>\n\n3"}
    past = render([QUESTION, answer, QUESTION])
    assert "hmm" not in past and "<|im_start|>assistant\n3<|im_end|>\n" in past
    call = {"role": "assistant", "content": "", "reasoning_content": "hmm", "tool_calls": [{"name": "f"}]}
    present = render([QUESTION, call, {"role": "tool", "content": "3"}])
    assert '<|im_start|>assistant\n<think>\nhmm\n</think>\n\n<tool_call>\n{"name": "f", "arguments": {}}\n' in present


def test_tools_are_hermes_calls_and_consecutive_results_one_turn() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"é": 1}}}
    calls = [{"function": {"name": "f", "arguments": '{"x": 1}'}}, {"name": "g", "arguments": {"y": "é"}}]
    text = render(
        [
            QUESTION,
            {"role": "assistant", "content": "Well.", "tool_calls": calls},
            {"role": "tool", "content": "1"},
            {"role": "tool", "content": "2"},
        ],
        [tool],
    )
    assert '<tools>\n{"type": "function", "function": {"name": "f", "parameters": {"é": 1}}}\n</tools>' in text
    assert (
        '<|im_start|>assistant\nWell.\n<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>\n'
        '<tool_call>\n{"name": "g", "arguments": {"y": "é"}}\n</tool_call><|im_end|>\n'
    ) in text
    assert (
        "<|im_start|>user\n<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response><|im_end|>\n"
        in text
    )


def test_a_checkpoints_template_is_confined() -> None:
    assert render_template("{{ messages[0]['content'] }}{{ tools | tojson }}", [QUESTION]) == "Add.null"
    for hostile in ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ raise_exception('no') }}", "{% if %}"):
        with pytest.raises(ModelError, match="chat template: "):
            render_template(hostile, [QUESTION])


def test_a_template_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    compiled = []
    inner = ImmutableSandboxedEnvironment.from_string
    monkeypatch.setattr(
        ImmutableSandboxedEnvironment, "from_string", lambda self, text: compiled.append(text) or inner(self, text)
    )
    template = "{% set said = said or [] %}{{ messages[0].content }}{{ said }}"
    texts = [render_template(template, [{"role": "user", "content": text}]) for text in "abc"]
    assert texts == ["a[]", "b[]", "c[]"] and compiled == [template]


def test_fill_in_the_middle_orders() -> None:
    gap = Gap("a", "c", "b", path="m.py", files=[("n.py", "x\n")])
    head = "<filename>n.py\nx\n<filename>m.py\n"
    assert gap.psm() == f"{head}<fim_prefix>a<fim_suffix>c<fim_middle>b"
    assert gap.spm() == f"{head}<fim_suffix>c<fim_prefix>a<fim_middle>b"


@given(st.text(alphabet="abc\n", max_size=40), st.integers(0, 1000))
def test_a_cut_text_is_whole_again_when_put_together(text: str, seed: int) -> None:
    made = cut(text, random.Random(seed))
    head, middle = made.split("<fim_middle>")
    first, second = head.replace("<fim_suffix>", "|").replace("<fim_prefix>", "|").split("|")[1:]
    prefix, suffix = (first, second) if made.startswith("<fim_prefix>") else (second, first)
    assert prefix + middle + suffix == text


TRICKY = ["<think>\nwhy\n</think>\n\nso", "a</think>b</think>\n\nc", "<think>a<think>b</think>", "\n x \n", "{{ 1 }}"]
TEXTS = st.one_of(st.text(max_size=12), st.sampled_from(TRICKY))
PARTS = st.lists(st.builds(lambda text: {"type": "text", "text": text}, TEXTS), max_size=2)
CALLS = st.builds(
    lambda name, value, wrapped: {"function": {"name": name, "arguments": value}} if wrapped else {"name": name},
    st.text(max_size=5),
    st.dictionaries(st.text(max_size=4), st.one_of(st.integers(), st.text(max_size=5), st.none()), max_size=2),
    st.booleans(),
)
MESSAGES = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "user", "assistant", "assistant", "tool", "tool"]),
        "content": st.one_of(TEXTS, PARTS),
    },
    optional={"reasoning_content": TEXTS, "tool_calls": st.lists(CALLS, max_size=2)},
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(MESSAGES, max_size=6),
    st.lists(st.just({"type": "function", "function": {"name": "add", "description": "π <b>"}}), max_size=2),
    st.booleans(),
    st.sampled_from([None, True, False]),
)
def test_the_template_beside_a_checkpoint_writes_what_render_writes(
    messages: list[dict[str, object]], tools: list[dict[str, object]], prompt: bool, thinking: bool | None
) -> None:
    from transformers import PreTrainedTokenizerFast

    options = {} if thinking is None else {"enable_thinking": thinking}
    ours = render(messages, tools, add_generation_prompt=prompt, **options)
    assert render_template(own_template(), messages, tools, add_generation_prompt=prompt, **options) == ours
    if not messages:  # transformers takes no empty conversation
        return
    theirs = PreTrainedTokenizerFast(tokenizer_object=TOKENIZER.backend, chat_template=own_template())
    options |= {"tokenize": False, "add_generation_prompt": prompt}
    assert theirs.apply_chat_template(messages, tools=tools or None, **options) == ours


def test_the_template_refuses_an_unknown_role() -> None:
    with pytest.raises(ModelError, match="message 0: role 'critic' is not known"):
        render_template(own_template(), [{"role": "critic", "content": "no"}])


@pytest.mark.parametrize("variant", ["instruct", "thinking"])
def test_the_bundled_chat_models_carry_the_template(variant: str) -> None:
    assert Tokenizer.load(checkpoint(variant)).chat_template == own_template()
