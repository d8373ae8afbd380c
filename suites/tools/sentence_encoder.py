"""Texts as vectors: all-MiniLM-L6-v2 (Reimers & Gurevych), the sentence encoder of BFCL's vector memory.

It runs in this process. Its files are pinned and fetched like any other data, its weights are read as safetensors, and
nothing but text is ever given to it: its library would take a dictionary that names an image, too.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandboxes.errors import SandboxError
from suites.sources import DataSource, SourceMissing, resolve

Vectors = NDArray[np.float32]
"""One normalised row a text."""

_FOLDER = "all-MiniLM-L6-v2"
_ORIGIN = f"hf-model:sentence-transformers/{_FOLDER}@1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
_SUMS = {
    "1_Pooling/config.json": "",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "config_sentence_transformers.json": "",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "modules.json": "",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
"""As several who pinned this revision published them; nobody here has seen the files."""
FILES = tuple(
    DataSource(f"{_FOLDER}/{path}", sha256, "Apache-2.0", f"{_ORIGIN}/{path}") for path, sha256 in _SUMS.items()
)

_ONE_AT_A_TIME = Lock()
"""The tokenizer sets its padding for every call, and may not be asked from two threads."""


def require() -> None:
    """See that the encoder's files and libraries are at hand.

    Raises:
        SourceMissing: They are not; says what and how to get it.
        SourceAltered: A file is not the pinned one.
    """
    if not all(map(importlib.util.find_spec, ("sentence_transformers", "faiss"))):
        raise SourceMissing(
            "a memory of vectors needs sentence-transformers and faiss-cpu, which are not installed",
            'run `pip install "mellum-eval[memory]"`',
        )
    for source in FILES:
        resolve(source)


def embed(texts: Sequence[Any]) -> Vectors:
    """The vectors of texts, embedded together: alone, each may differ in the last digits.

    Raises:
        ValueError, TypeError: One is no text; worded as the library words it.
        SandboxError: The encoder does not work, which is not the doing of whoever wrote the texts.
    """
    for text in texts:
        if not isinstance(text, str):
            wanted = "str, dict, PIL.Image.Image, np.ndarray, torch.Tensor"
            raise ValueError(f"Unsupported input type: {type(text).__name__}. Expected one of: {wanted}")
        if not _is_unicode(text):
            raise TypeError("TextEncodeInput must be Union[TextInputSequence, Tuple[InputSequence, InputSequence]]")
    with _ONE_AT_A_TIME:
        try:
            made = _encoder().encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        except Exception as error:
            raise SandboxError(f"{_FOLDER} does not embed: {error}") from error
    return np.asarray(made, dtype=np.float32)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


@cache
def _encoder() -> Any:
    from sentence_transformers import SentenceTransformer  # loads torch
    from transformers.utils import logging as chatter

    verbosity: Any = chatter
    verbosity.disable_progress_bar()  # progress is the command line's to show
    with tempfile.TemporaryDirectory() as folder:  # one folder of files that may lie in the mirror and in the cache
        for source in FILES:
            path = Path(folder, source.file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(resolve(source).resolve())
        return SentenceTransformer(
            str(Path(folder, _FOLDER)),
            device="cpu",
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )
