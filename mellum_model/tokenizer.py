"""Text to ids and back, by the `tokenizer.json` beside a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import CheckpointError


class Tokenizer:
    """A checkpoint's tokenizer. Special tokens in a text are recognised; none is added of its own accord."""

    def __init__(
        self, backend: Any, *, chat_template: str | None = None, special: dict[str, Any] | None = None
    ) -> None:
        """Wrap a `tokenizers.Tokenizer`; `load` reads one."""
        self.backend = backend
        self._blind: Any = None
        self.chat_template = chat_template
        """The checkpoint's own Jinja template, if it has one."""
        self.special = special or {}
        """`tokenizer_config.json`."""

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read a checkpoint directory or a `tokenizer.json`.

        Raises:
            CheckpointError: The file is absent or no tokenizer.
        """
        from tokenizers import Tokenizer as Backend

        file = Path(path)
        file = file / "tokenizer.json" if file.is_dir() else file
        if not file.is_file():
            raise CheckpointError(f"{file}: no such file; the checkpoint has no tokenizer")
        try:
            backend = Backend.from_file(str(file))
        except Exception as error:  # the library raises bare Exception
            raise CheckpointError(f"{file}: not a tokenizer: {error}") from None
        beside = file.parent / "tokenizer_config.json"
        try:
            special = json.loads(beside.read_text("utf-8")) if beside.is_file() else {}
        except ValueError as error:
            raise CheckpointError(f"{beside}: not JSON: {error}") from None
        if not isinstance(special, dict):
            raise CheckpointError(f"{beside}: expected a JSON object")
        template = special.get("chat_template")
        if (apart := file.parent / "chat_template.jinja").is_file():
            try:
                template = apart.read_text("utf-8")
            except UnicodeDecodeError as error:
                raise CheckpointError(f"{apart}: not UTF-8: {error}") from None
        return cls(backend, chat_template=template if isinstance(template, str) else None, special=special)

    @classmethod
    def train(cls, texts: Sequence[str], vocab_size: int, special_tokens: Sequence[str]) -> Tokenizer:
        """A byte-level BPE of Mellum's form (each digit alone, no normaliser), learnt from texts.

        Args:
            texts: What to learn from.
            vocab_size: Entries at most, special tokens and the 256 bytes included.
            special_tokens: They get the first ids, in this order.
        """
        from tokenizers import Tokenizer as Backend
        from tokenizers import decoders, models, pre_tokenizers, trainers

        backend = Backend(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(special_tokens),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        backend.train_from_iterator(texts, trainer)
        return cls(backend)

    def save(self, directory: str | Path) -> None:
        """Write `tokenizer.json`, its configuration and the chat template."""
        folder = Path(directory)
        self.backend.save(str(folder / "tokenizer.json"))
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **self.special}
        config.pop("chat_template", None)
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
        if self.chat_template is not None:
            (folder / "chat_template.jinja").write_text(self.chat_template, "utf-8")

    @property
    def vocab_size(self) -> int:
        """Entries, added ones included."""
        return int(self.backend.get_vocab_size(with_added_tokens=True))

    def id_of(self, token: str) -> int | None:
        """The id of one token, such as `<|im_end|>`."""
        found = self.backend.token_to_id(token)
        return None if found is None else int(found)

    def encode(self, text: str) -> list[int]:
        """Ids of a text."""
        return list(self.backend.encode(text, add_special_tokens=False).ids)

    def encode_plain(self, text: str) -> list[int]:
        """Ids of a text in which nothing is special: `<|im_end|>` in it is those ten characters."""
        return list(self._plain().encode(text, add_special_tokens=False).ids)

    def plain_ends(self, text: str) -> list[int]:
        """For each token of `encode_plain`, the place in the text after its last character."""
        return [end for _, end in self._plain().encode(text, add_special_tokens=False).offsets]

    def _plain(self) -> Any:
        if self._blind is None:  # a copy: the switch is the library's, and it is the whole tokenizer's
            self._blind = type(self.backend).from_str(self.backend.to_str())
            self._blind.encode_special_tokens = True
        return self._blind

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, in parallel."""
        return [list(one.ids) for one in self.backend.encode_batch(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; special tokens are written out, because `<think>` and `<tool_call>` are some."""
        return str(self.backend.decode(list(ids), skip_special_tokens=False))
