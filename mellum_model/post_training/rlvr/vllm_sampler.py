"""Rollouts drawn by a vLLM server, for models that deserve one: answers by its OpenAI endpoint, weights by its own API.

The server is somebody else's, started with `VLLM_SERVER_DEV_MODE=1`: that has the endpoints by which weights change.
They cross as a checkpoint on a disk that both see. A server that goes away is not asked again: started anew, it would
draw from other weights than these; training stops, and `--resume` hands them over again.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import httpx
import torch
from safetensors import SafetensorError

from ...config import MellumConfig
from ...errors import PromptError
from ...model import Mellum
from ...tokenizer import Tokenizer
from ...training.errors import TrainingStopped
from .recipe import Rollouts
from .rollouts import Sampled, Weights

REPLY_S = 3600.0
"""For one answer, the wait for its turn included."""
LOAD_S = 1800.0
START_S = 1800.0
"""Until a server that was restarted answers."""

Push = Callable[[Path], None]
"""Has a server draw from the checkpoint in this directory from now on."""


class VllmSampler:
    """Draws from a vLLM server; see `Sampler`."""

    def __init__(
        self,
        config: MellumConfig,
        settings: Rollouts,
        tokenizer: Tokenizer,
        directory: Path,
        *,
        server: str,
        dtype: torch.dtype,
        push: Push | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Asks nothing yet.

        Args:
            config: Of the trained model. vLLM has no MTP head, so that is left out.
            settings: How answers are drawn.
            tokenizer: Goes along with the weights.
            directory: Takes two checkpoints in turn; the server must see it by the same path.
            server: Its address, such as `http://127.0.0.1:8000`.
            dtype: Of the weights that are handed over.
            push: How; by the server's `reload_weights` if not given.
            transport: Another way there than TCP (tests).
        """
        self._config, self._settings, self._tokenizer, self._directory = config, settings, tokenizer, directory
        self._model = Mellum(replace(config, num_mtp_layers=0), device="cpu", dtype=dtype)
        self._server = server.rstrip("/")
        limits = httpx.Limits(max_connections=settings.max_batch, max_keepalive_connections=settings.max_batch)
        self._client = httpx.Client(
            base_url=self._server, timeout=REPLY_S, transport=transport or httpx.HTTPTransport(limits=limits)
        )
        self._push = push or self._reload
        self._threads = ThreadPoolExecutor(settings.max_batch, thread_name_prefix="vllm")
        self._done: SimpleQueue[tuple[int, Future[Sampled]]] = SimpleQueue()
        self._loads = self._out = self._room = 0
        self._name = ""

    def load(self, weights: Weights) -> None:
        """Write the weights and have the server take them.

        Raises:
            TrainingStopped: They cannot be written, or the server does not take them, or is not set up for this.
        """
        path = self._directory / "ab"[self._loads % 2]
        self._loads += 1
        with torch.no_grad():
            for name, parameter in self._model.named_parameters():
                parameter.copy_(weights[name])
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._model.save_pretrained(path)
            self._tokenizer.save(path)
        except (OSError, SafetensorError) as error:
            raise TrainingStopped(f"{path}: {getattr(error, 'strerror', None) or error}") from None
        self._push(path.resolve())
        self._look()

    def submit(self, key: int, prompt: Sequence[int], *, seed: int, temperature: float, max_tokens: int) -> None:
        """Send a request."""
        room = min(self._room, self._config.max_position_embeddings) - len(prompt)
        if room < 1:
            raise PromptError(f"a prompt of {len(prompt)} tokens fills the context of {self._room} on {self._server}")
        body = {
            "model": self._name, "prompt": list(prompt), "max_tokens": min(max_tokens, room), "seed": seed,
            "temperature": temperature, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0,
            "stop_token_ids": list(self._config.eos_token_ids), "logprobs": 0, "return_token_ids": True,
        }  # fmt: skip
        future = self._threads.submit(self._draw, body)
        self._out += 1
        future.add_done_callback(lambda done: self._done.put((key, done)))

    def poll(self) -> list[tuple[int, Sampled]]:
        """What has ended; waits a little where nothing has.

        Raises:
            TrainingStopped: The server went away or misbehaves.
        """
        found = []
        wait = 0.2
        while self._out:
            try:
                key, done = self._done.get(timeout=wait)
            except Empty:
                break
            self._out -= 1
            found.append((key, done.result()))
            wait = 0.0
        return found

    @property
    def busy(self) -> bool:
        """Whether answers are still to come."""
        return self._out > 0

    def close(self) -> None:
        """Drop what is running: the server ends what nobody reads."""
        self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _draw(self, body: dict[str, Any]) -> Sampled:
        choice = self._asked("POST", "/v1/completions", json=body)["choices"][0]
        tokens, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
        if len(tokens) != len(logprobs) or choice["finish_reason"] not in ("stop", "length"):
            raise self._stopped(f"an answer of {len(tokens)} tokens ended by {choice['finish_reason']!r}")
        return Sampled(tokens, logprobs, choice["finish_reason"])

    def _reload(self, path: Path) -> None:
        """By vLLM's own way: pause, `reload_weights` in every worker, forget what was cached, resume."""
        self._asked("POST", "/pause", params={"mode": "wait"})
        order = {"method": "reload_weights", "kwargs": {"weights_path": str(path)}, "timeout": LOAD_S}
        self._asked("POST", "/collective_rpc", json=order)
        if not self._asked("POST", "/reset_prefix_cache").get("success"):
            raise self._stopped("its prefix cache could not be emptied of what other weights computed")
        self._asked("POST", "/resume")

    def _look(self) -> None:
        """What is served, and whether its log-probabilities are of what is drawn from."""
        [model, *_] = self._asked("GET", "/v1/models")["data"]
        self._name, self._room = model["id"], int(model["max_model_len"])
        if self._settings.temperature == 1.0:
            return  # all modes give the same then
        facts = self._asked("GET", "/server_info", params={"config_format": "json"})
        mode = facts["vllm_config"]["model_config"]["logprobs_mode"]
        if mode != "processed_logprobs":
            raise self._stopped(
                f"it gives {mode}, which are not of what it draws from at temperature {self._settings.temperature}; "
                "start it with --logprobs-mode processed_logprobs"
            )

    def _asked(self, method: str, path: str, **more: Any) -> Any:
        try:
            response = self._client.request(method, path, **more)
        except httpx.TransportError as error:
            raise self._stopped(f"it does not answer ({str(error) or type(error).__name__})") from None
        if response.status_code == 404 and not path.startswith("/v1"):
            raise self._stopped(f"it has no {path}; start it with VLLM_SERVER_DEV_MODE=1")
        if response.status_code != 200:
            raise self._stopped(f"{path}: HTTP {response.status_code}: {' '.join(response.text.split())[:300]}")
        try:
            return response.json() if response.content else {}
        except ValueError:
            raise self._stopped(f"{path}: the reply is not JSON") from None

    def _stopped(self, why: str) -> TrainingStopped:
        return TrainingStopped(f"the vLLM server at {self._server}: {why}; continue with --resume")


def restart_by(command: Sequence[str], server: str) -> Push:
    """For builds that cannot change weights in place: a command that has the server serve another checkpoint.

    Args:
        command: Run with the checkpoint's directory as its last argument; returns when the old server is gone.
        server: Asked until the new one is healthy.

    Returns:
        What to push with; raises TrainingStopped where the command fails or no server comes.
    """

    def push(path: Path) -> None:
        done = subprocess.run([*command, str(path)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["nothing said"])[-1][:300]
            raise TrainingStopped(f"rollouts.restart: {command[0]} exited with {done.returncode}: {said}")
        wait_healthy(server, START_S)

    return push


def wait_healthy(server: str, seconds: float) -> None:
    """Ask until a server is healthy.

    Raises:
        TrainingStopped: It is not, in so many seconds.
    """
    deadline = time.monotonic() + seconds
    with httpx.Client(timeout=10.0) as client:
        while True:
            try:
                if client.get(f"{server.rstrip('/')}/health").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline:
                raise TrainingStopped(f"the vLLM server at {server} is not healthy after {seconds:.0f} s")
            time.sleep(0.5)
