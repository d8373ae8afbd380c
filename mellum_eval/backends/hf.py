"""`hf:ID_OR_PATH`: any causal language model of `transformers`, in this process.

Prompts are batched by length, padded on the left, and tokenised exactly once: a chat template writes its own special
tokens, so its output is tokenised without adding any (a doubled BOS costs points). The model's own generation defaults
(temperature, repetition penalty) are set aside: a run draws as its manifest says.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from mellum_eval.backends.base import BackendInfo, Completion, Failure, Incoming, Reply, Request
from mellum_eval.backends.thinking import counted, opened, reopened
from mellum_eval.errors import PrerequisiteMissing, UserError
from mellum_eval.spec import BackendOptions

BATCHES_AHEAD = 16
FAILED_BATCHES_TO_GIVE_UP = 3
PATIENCE_S = 0.05
"""How long a batch waits for company: the next turns of conversations come one by one, and a batch takes longer."""


_ENDLESS = 2**31
"""The context of a model whose configuration names none."""


@dataclass(frozen=True, slots=True)
class _Encoded:
    request: Request
    ids: list[int]
    text: str


class HfBackend:
    """One model on one device."""

    def __init__(self, name: str, model: Any, tokenizer: Any, options: BackendOptions) -> None:
        """Wrap a loaded model; `load` does both."""
        self._model, self._tokenizer, self._options = model, tokenizer, options
        self._chat = not options.base and getattr(tokenizer, "chat_template", None) is not None
        self._limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or _ENDLESS
        self._ends = _end_tokens(model, tokenizer)
        self._thread = ThreadPoolExecutor(1, "hf")
        self._stop = threading.Event()
        self._batch_size = options.batch_size
        self._succeeded = False
        self._failed_batches = 0
        identity = _identity(name, model, tokenizer)
        context = self._limit if self._limit < _ENDLESS else None
        self._info = BackendInfo(identity["name"], self._chat, identity, context=context)
        model.generation_config = _plain_config()

    @classmethod
    def load(cls, name: str, options: BackendOptions) -> HfBackend:
        """Load weights and tokenizer; may take minutes.

        Args:
            name: A directory, or an id on the hub.
            options: Device, dtype, batch size, revision.

        Raises:
            PrerequisiteMissing: `transformers` is not installed, or the hub cannot be reached.
            UserError: There is no such model, or it cannot be loaded.
        """
        try:
            import torch
            import transformers
        except ImportError as error:
            raise PrerequisiteMissing(
                f"hf: needs transformers and torch ({error.name} is not installed)", 'pip install "mellum-eval[hf]"'
            ) from None
        _be_quiet()
        _check_there(name)
        device = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        # A bfloat16 checkpoint on a CPU would be exact to nobody's benefit and slow: float32 holds all its values.
        dtype = options.dtype if options.dtype != "auto" else "float32" if device == "cpu" else "auto"
        common = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, **common)
            model: Any = transformers.AutoModelForCausalLM.from_pretrained(name, dtype=dtype, **common)
            model = model.to(device).eval()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise _load_error(name, error) from error
        return cls(name, model, tokenizer, options)

    @property
    def info(self) -> BackendInfo:
        """What it is."""
        return self._info

    async def count_tokens(self, text: str) -> int:
        """By the model's tokenizer."""
        return self._length(text)

    def generate(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """Complete prompts, batch by batch."""
        return self._stream(requests, self._generate_batch)

    def loglikelihood(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Reply, None]:
        """Rank choices, batch by batch."""
        from mellum_eval.backends.hf_ranking import rank

        def batch(encoded: Sequence[_Encoded]) -> list[Completion]:
            pairs = [one.request.prompt.ranked(one.text) for one in encoded]
            return rank(self._model, self._tokenizer, pairs, special=not self._chat, limit=self._limit)

        return self._stream(requests, batch)

    async def aclose(self) -> None:
        """End the batch that is running, at its next token."""
        self._stop.set()
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)

    # -- batches --------------------------------------------------------------------------------------------------

    async def _stream(
        self, requests: AsyncIterator[Request], work: Callable[[Sequence[_Encoded]], list[Completion]]
    ) -> AsyncGenerator[Reply, None]:
        loop = asyncio.get_running_loop()
        incoming = Incoming(requests)
        try:
            while window := await _window(incoming, self._batch_size * BATCHES_AHEAD):
                encoded = await loop.run_in_executor(self._thread, self._encode, window)
                waiting = list(self._batches(encoded))
                while waiting:
                    batch = waiting.pop(0)
                    start = time.monotonic()
                    try:
                        replies = await loop.run_in_executor(self._thread, work, batch)
                    except Exception as error:
                        if _is_out_of_memory(error) and len(batch) > 1:
                            # Later batches are as long or longer: all of them get smaller, not only this one.
                            self._batch_size = (len(batch) + 1) // 2
                            waiting = [part for one in (batch, *waiting) for part in _chunks(one, self._batch_size)]
                            continue
                        self._note_failure(error)
                        for one in batch:
                            yield one.request, Failure(f"{type(error).__name__}: {str(error)[:300]}")
                        continue
                    self._succeeded = True
                    elapsed = time.monotonic() - start
                    for one, reply in zip(batch, replies, strict=True):
                        yield one.request, _with_latency(reply, elapsed)
        finally:
            incoming.close()

    def _batches(self, encoded: Sequence[_Encoded]) -> Iterator[list[_Encoded]]:
        """Of equal limits and stop strings, similar lengths, longest first: what does not fit in memory fails early."""

        def alike(one: _Encoded) -> tuple[int, tuple[str, ...]]:
            return one.request.sampling.max_tokens, one.request.prompt.stop

        for _, group in groupby(sorted(encoded, key=alike), alike):
            yield from _chunks(sorted(group, key=lambda one: -len(one.ids)), self._batch_size)

    def _note_failure(self, error: Exception) -> None:
        self._failed_batches += 1
        if not self._succeeded and self._failed_batches >= FAILED_BATCHES_TO_GIVE_UP:
            raise UserError(f"{self._info.name} fails on every batch ({type(error).__name__}: {error})") from error

    # -- in the thread --------------------------------------------------------------------------------------------

    def _encode(self, requests: Sequence[Request]) -> list[_Encoded]:
        texts = [self._text(request) for request in requests]
        rows = self._tokenizer(texts, add_special_tokens=not self._chat)["input_ids"]
        return [_Encoded(request, list(ids), text) for request, ids, text in zip(requests, rows, texts, strict=True)]

    def _text(self, request: Request) -> str:
        prompt = request.prompt
        if not self._chat:
            return prompt.text or ""
        messages = []
        for turn in prompt.messages:
            message: dict[str, Any] = {"role": turn.role, "content": turn.content}
            if turn.tool_calls:
                message["tool_calls"] = [{"type": "function", "function": dict(call)} for call in turn.tool_calls]
            messages.append(message)
        rendered: str = self._tokenizer.apply_chat_template(
            messages,
            tools=[dict(tool) for tool in prompt.tools] or None,
            add_generation_prompt=True,
            tokenize=False,
            **self._options.chat_template_kwargs,
        )
        return rendered

    def _length(self, text: str) -> int:
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _generate_batch(self, batch: Sequence[_Encoded]) -> list[Completion]:
        fitting = [one for one in batch if len(one.ids) < self._limit]
        made = dict(zip(map(id, fitting), self._decode(fitting), strict=True)) if fitting else {}
        # A prompt beyond the model's context has no answer; that is the model's limit and no failure of ours.
        return [made.get(id(one), Completion("", finish="length", tokens={"prompt": len(one.ids)})) for one in batch]

    def _decode(self, batch: Sequence[_Encoded]) -> list[Completion]:
        import torch
        from transformers import LogitsProcessorList, StoppingCriteriaList

        from mellum_eval.backends.hf_decoding import RowSampler, StopAtText, cut

        device = self._model.device
        longest = max(len(one.ids) for one in batch)
        padding = self._ends[0] if self._ends else 0
        ids = torch.full((len(batch), longest), padding, dtype=torch.long)  # [batch, longest]
        mask = torch.zeros_like(ids)
        for row, one in enumerate(batch):
            ids[row, longest - len(one.ids) :] = torch.tensor(one.ids)
            mask[row, longest - len(one.ids) :] = 1
        samplings = [one.request.sampling for one in batch]
        stops = batch[0].request.prompt.stop
        room = max(1, min(samplings[0].max_tokens, self._limit - longest))
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                generation_config=_plain_config(
                    max_new_tokens=room, do_sample=False, pad_token_id=padding, eos_token_id=self._ends or None
                ),
                logits_processor=LogitsProcessorList([RowSampler(samplings, device)]),
                stopping_criteria=StoppingCriteriaList([StopAtText(self._tokenizer, stops, longest, self._stop)]),
            )
        if self._stop.is_set():
            raise RuntimeError("stopped")
        completions = []
        for one, row in zip(batch, output[:, longest:].tolist(), strict=True):
            end = next((i for i, token in enumerate(row) if token in self._ends), None)
            # Special tokens are kept: <think> and <tool_call> are special in many vocabularies.
            text = self._tokenizer.decode(row[:end], skip_special_tokens=False, clean_up_tokenization_spaces=False)
            text, stopped = cut(text, stops)
            if self._chat and opened(one.text):
                text = reopened(text)
            counts = {"prompt": len(one.ids), "completion": len(row) if end is None else end + 1}
            finish = "stop" if stopped or end is not None else "length"
            counts = counted(counts, text, None, self._length)
            completions.append(Completion(text, finish=finish, tokens=counts))
        return completions


async def _window(incoming: Incoming, count: int) -> list[Request]:
    """At most `count` requests: the next one, and what comes with it and soon after; empty at the end."""
    first = await incoming.take()
    window = [] if first is None else [first]
    while window and len(window) < count and (request := await incoming.at_hand(PATIENCE_S)) is not None:
        window.append(request)
    return window


def _chunks(items: Sequence[_Encoded], size: int) -> Iterator[list[_Encoded]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _with_latency(completion: Completion, seconds: float) -> Completion:
    from dataclasses import replace

    return replace(completion, latency_s=seconds)


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _plain_config(**fields: Any) -> Any:
    import transformers

    config: Any = transformers.GenerationConfig
    return config(**fields)


def _end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Ids that end a completion: the checkpoint's generation config, else its config, else the tokenizer's."""
    for source in (model.generation_config, model.config, tokenizer):
        ends = getattr(source, "eos_token_id", None)
        if ends is not None:
            return list(ends) if isinstance(ends, (list, tuple)) else [int(ends)]
    return []


def _identity(name: str, model: Any, tokenizer: Any) -> dict[str, Any]:
    template = getattr(tokenizer, "chat_template", None)
    local = Path(name).is_dir()
    identity: dict[str, Any] = {
        "scheme": "hf",
        "name": Path(name).resolve().name if local else name,
        "model_type": model.config.model_type,
        "parameters": _parameters(model),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": str(model.device),
        "revision": getattr(model.config, "_commit_hash", None),
        "chat_template_sha256": hashlib.sha256(str(template).encode()).hexdigest() if template is not None else None,
    }
    weights = weights_sha256(Path(name)) if local else None
    return identity | ({"sha256": weights} if weights is not None else {})


def _parameters(model: Any) -> dict[str, int]:
    """Parameters in all, and those that one token meets: of the routed experts only the chosen share."""
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    total = sum(sizes.values())
    config = model.config.get_text_config()
    chosen = getattr(config, "num_experts_per_tok", None)
    experts = getattr(config, "num_experts", None) or getattr(config, "num_local_experts", None)
    if not chosen or not experts:
        return {"total": total, "active": total}
    routed = sum(size for name, size in sizes.items() if ".experts." in name)
    return {"total": total, "active": total - routed + routed * chosen // experts}


def weights_sha256(directory: Path) -> str | None:
    """One sum over a checkpoint's weight files, names included; None where there are none."""
    files = sorted({*directory.glob("*.safetensors"), *directory.glob("*.bin")})
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest() if files else None


def _be_quiet() -> None:
    """Keep the libraries' own bars and warnings off the terminal: progress is the command line's to show."""
    import logging

    from transformers.utils import logging as chatter

    verbosity: Any = chatter
    verbosity.set_verbosity_error()
    verbosity.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def _check_there(name: str) -> None:
    """Say at once what the hub's client would say after half a minute of retries.

    Raises:
        UserError: A path that does not exist.
        PrerequisiteMissing: Neither in the hub's cache nor is the hub in reach.
    """
    if Path(name).is_dir():
        return
    if name.startswith((".", "/", "~")):
        raise UserError(f"hf:{name}: no such directory")
    from huggingface_hub import try_to_load_from_cache

    from mellum_eval.probes import hub_is_reachable

    if not isinstance(try_to_load_from_cache(name, "config.json"), str) and not hub_is_reachable():
        raise PrerequisiteMissing(
            f"hf:{name} is not on this machine and the hub does not answer",
            f"run `hf download {name}` where the network is, or give a directory: hf:./PATH",
        )


def _load_error(name: str, error: Exception) -> UserError:
    return UserError(f"hf:{name} cannot be loaded ({' '.join(str(error).split())[:300]})")
