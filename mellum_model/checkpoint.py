"""Checkpoints: the hub's layout and our own, both safetensors, read by memory map and checked key by key.

Reading checks before it allocates: every shard's header, every key and shape, so that a bad checkpoint costs nothing.
A parameter that lies in the file as it is needed (our own layout, same dtype, CPU) is the memory map itself.
`Mellum`, which loads itself by this, stands above it: what is read into and written is known here as `Storable`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from .config import MellumConfig
from .errors import CheckpointError
from .hub_keys import Piece, pieces

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
_STORED = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
Layout = Literal["hub", "native"]


class Storable(Protocol):
    """A model whose configuration says which weights it has."""

    config: MellumConfig

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """As `nn.Module`."""
        ...

    def get_submodule(self, target: str) -> nn.Module:
        """As `nn.Module`."""
        ...

    def eval(self) -> Self:
        """As `nn.Module`."""
        ...


Model = TypeVar("Model", bound=Storable)


def dtype_of(name: torch.dtype | str) -> torch.dtype:
    """The dtype of a name such as `bfloat16`.

    Raises:
        CheckpointError: No such dtype for weights.
    """
    if isinstance(name, torch.dtype):
        return name
    if name.removeprefix("torch.") not in DTYPES:
        raise CheckpointError(f"dtype {name!r} is not known; {', '.join(DTYPES)} are")
    return DTYPES[name.removeprefix("torch.")]


class _Shards:
    """All keys of a checkpoint, their files open and mapped."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        from safetensors import SafetensorError, safe_open

        self.directory = directory
        self.places: dict[str, tuple[str, Any]] = {}
        listed = self._index()
        for file in sorted(set(listed.values())) if listed is not None else [SINGLE]:
            if not (directory / file).is_file():
                raise CheckpointError(f"{directory / file}: no such file" + (f", named in {INDEX}" if listed else ""))
            try:
                opened = stack.enter_context(safe_open(directory / file, framework="pt"))
            except (SafetensorError, OSError) as error:
                raise CheckpointError(f"{directory / file}: truncated or damaged: {error}") from None
            self.places.update((key, (file, opened)) for key in opened.keys())  # noqa: SIM118 (no mapping)
        for key, file in (listed or {}).items():
            if self.places.get(key, ("", None))[0] != file:
                raise CheckpointError(f"{directory / file}: {key} is not in it, though {INDEX} says so")

    def _index(self) -> dict[str, str] | None:
        path = self.directory / INDEX
        if not path.is_file():
            if not (self.directory / SINGLE).is_file():
                raise CheckpointError(f"{self.directory}: neither {SINGLE} nor {INDEX} is there")
            return None
        try:
            listed = json.loads(path.read_text("utf-8"))["weight_map"]
            files = set(listed.values())
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CheckpointError(f"{path}: not an index with a weight_map") from None
        if wrong := [name for name in files if not isinstance(name, str) or Path(name).name != name]:
            raise CheckpointError(f"{path}: {wrong[0]!r} is no file name beside it")
        return dict(listed)

    def header(self, key: str) -> tuple[list[int], torch.dtype]:
        """Shape and dtype, without reading the tensor."""
        file, opened = self.places[key]
        part = opened.get_slice(key)
        if part.get_dtype() not in _STORED:
            raise CheckpointError(
                f"{self.directory / file}: {key} has dtype {part.get_dtype()}; {', '.join(_STORED)} can be read"
            )
        return list(part.get_shape()), _STORED[part.get_dtype()]

    def tensor(self, key: str) -> Tensor:
        """The tensor, backed by the map."""
        result: Tensor = self.places[key][1].get_tensor(key)
        return result


def _names(keys: Iterable[str], limit: int = 8) -> str:
    listed = sorted(keys)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more


def _plan(config: MellumConfig, layout: Layout) -> list[tuple[str, list[Piece]]]:
    if layout == "hub":
        return list(pieces(config))
    return [(name, [Piece(name)]) for name, _ in pieces(config)]


def _reconcile(config: MellumConfig, keys: set[str], mtp: bool | None, where: Path) -> MellumConfig:
    """The configuration with an MTP head if the checkpoint has one and it is wanted."""
    held = any(key.startswith("mtp.") for key in keys)
    if mtp and not held:
        raise CheckpointError(f"{where}: an MTP head is asked for, but there are no mtp.* keys")
    return replace(config, num_mtp_layers=int(held and mtp is not False))


def load(
    kind: Callable[..., Model],
    path: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | str | None = None,
    mtp: bool | None = None,
) -> Model:
    """Load a checkpoint.

    Args:
        kind: Makes a model of a configuration, on the device `meta`: the class.
        path: Directory with `config.json` and safetensors, in the hub's layout or ours.
        device: Where the weights go.
        dtype: Of the weights; None keeps the stored one.
        mtp: Whether the MTP head is loaded; None loads it where the checkpoint has one.

    Raises:
        CheckpointError: A file, key, shape or dtype is wrong; the message names it.
        ConfigError: The same of `config.json`.
    """
    directory = Path(path)
    wanted = None if dtype is None else dtype_of(dtype)
    with ExitStack() as stack:
        model, shards, plan = _open(kind, directory, mtp, stack)
        for name, parts, shape in plan:
            wanted = wanted or shards.header(parts[0].key)[1]  # of the first: a checkpoint has one dtype throughout
            _assign(model, name, _read(shards, parts, shape, torch.device(device), wanted))
    return model.eval()


def _open(
    kind: Callable[..., Model], directory: Path, mtp: bool | None, stack: ExitStack
) -> tuple[Model, _Shards, list[tuple[str, list[Piece], torch.Size]]]:
    """A model without weights, and where they are once all of them are known to fit."""
    config = MellumConfig.load(directory)
    shards = _Shards(directory, stack)
    model = kind(_reconcile(config, set(shards.places), mtp, directory), device="meta")
    return model, shards, _checked_plan(model, shards, directory)


def check(kind: Callable[..., Storable], path: str | Path) -> None:
    """Hold a checkpoint's headers against its `config.json`, reading no weights.

    Args:
        kind: As for `load`.
        path: As for `load`.

    Raises:
        CheckpointError: As `load`.
        ConfigError: As `load`.
    """
    directory = Path(path)
    with ExitStack() as stack:
        _open(kind, directory, None, stack)


def load_into(model: Storable, path: str | Path) -> None:
    """Load a checkpoint into a model that is built and possibly sharded: each rank reads its own part of every tensor.

    Raises:
        CheckpointError: As `load`; keys of an MTP head that the model lacks are passed over.
    """
    from torch.distributed.tensor import DTensor, distribute_tensor

    directory = Path(path)
    parameters = dict(model.named_parameters())
    with ExitStack() as stack, torch.no_grad():
        shards = _Shards(directory, stack)
        for name, parts, shape in _checked_plan(model, shards, directory):
            target = parameters[name]
            whole = _read(shards, parts, shape, torch.device("cpu"), target.dtype)
            if isinstance(target, DTensor):
                mesh, placements = target.device_mesh, target.placements
                part = distribute_tensor(whole.to(target.device), mesh, placements, src_data_rank=None)
                target.to_local().copy_(part.to_local())
            else:
                target.copy_(whole)


def _checked_plan(model: Storable, shards: _Shards, directory: Path) -> list[tuple[str, list[Piece], torch.Size]]:
    """Each parameter with its keys and shape, once all of them are known to be there."""
    keys = set(shards.places)
    plan = _plan(model.config, "native" if "embed_tokens.weight" in keys else "hub")
    _check(model, plan, shards, keys, directory)
    parameters = dict(model.named_parameters())
    return [(name, parts, parameters[name].shape) for name, parts in plan]


def _check(
    model: Storable, plan: list[tuple[str, list[Piece]]], shards: _Shards, keys: set[str], directory: Path
) -> None:
    """Every key is there, none is left over, every shape is the configuration's."""
    parameters = dict(model.named_parameters())
    expected = {piece.key for _, parts in plan for piece in parts}
    ignored = {key for key in keys if key.startswith("mtp.") and not model.config.num_mtp_layers}
    if model.config.tie_word_embeddings and "lm_head.weight" in keys:
        ignored.add("lm_head.weight")
        embedding = next(parts[0].key for name, parts in plan if name == "embed_tokens.weight")
        if embedding in keys and not torch.equal(shards.tensor("lm_head.weight"), shards.tensor(embedding)):
            raise CheckpointError(
                f"{directory}: lm_head.weight is not {embedding}, though config.json has tie_word_embeddings true"
            )
    missing, unexpected = expected - keys, keys - expected - ignored
    if missing or unexpected:
        text = [f"missing: {_names(missing)}"] if missing else []
        text += [f"unexpected: {_names(unexpected)}"] if unexpected else []
        raise CheckpointError(f"{directory}: keys do not fit config.json; {'; '.join(text)}")
    for name, parts in plan:
        for piece in parts:
            shape, _ = shards.header(piece.key)
            should = list(piece.of(parameters[name]).shape)
            if shape != should:
                file = directory / shards.places[piece.key][0]
                raise CheckpointError(f"{file}: {piece.key} has shape {shape}, config.json asks for {should}")


def _read(shards: _Shards, parts: list[Piece], shape: torch.Size, device: torch.device, dtype: torch.dtype) -> Tensor:
    if len(parts) == 1 and not parts[0].index:
        return shards.tensor(parts[0].key).to(device=device, dtype=dtype)
    whole = torch.empty(shape, device=device, dtype=dtype)
    for piece in parts:
        piece.of(whole).copy_(shards.tensor(piece.key))
    return whole


def _assign(model: Storable, name: str, value: Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, nn.Parameter(value))


def save(
    model: Storable,
    path: str | Path,
    *,
    max_shard_bytes: int = 5_000_000_000,
    layout: Layout = "hub",
    dtype: torch.dtype | None = None,
) -> None:
    """Write a checkpoint.

    Args:
        model: Sharded parameters (DTensor) are gathered one at a time; then every rank must call.
        path: Directory, made if absent.
        max_shard_bytes: Size above which a new shard begins.
        layout: `hub` is what `transformers` loads, `mtp.*` included; `native` maps straight into memory here.
        dtype: Of the stored weights; None keeps the model's.
    """
    from safetensors.torch import save_file

    directory = Path(path)
    directory.mkdir(parents=True, exist_ok=True)
    parameters = dict(model.named_parameters())
    plan = _plan(model.config, layout)
    groups = _shard(plan, parameters, max_shard_bytes)
    writes = not torch.distributed.is_available() or not torch.distributed.is_initialized() or _rank() == 0
    index: dict[str, str] = {}
    total = 0
    for number, group in enumerate(groups, 1):
        file = SINGLE if len(groups) == 1 else f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        tensors: dict[str, Tensor] = {}
        for name, parts in group:
            value = parameters[name].detach()
            value = value.full_tensor() if hasattr(value, "full_tensor") else value
            if writes:
                for piece in parts:
                    tensors[piece.key] = piece.of(value).to("cpu", dtype, copy=True).contiguous()
        index.update(dict.fromkeys(tensors, file))
        total += sum(tensor.nbytes for tensor in tensors.values())
        if writes:
            # Renamed into place: the file of that name may be what this very model is mapped from.
            save_file(tensors, directory / f"{file}.partial", metadata={"format": "pt"})
            (directory / f"{file}.partial").replace(directory / file)
    if not writes:
        return
    stale = [directory / INDEX] if len(groups) == 1 else [directory / SINGLE]
    for leftover in stale:  # either file alone decides what is read
        leftover.unlink(missing_ok=True)
    if len(groups) > 1:
        text = json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=2, sort_keys=True)
        (directory / INDEX).write_text(text + "\n", "utf-8")
    model.config.save(directory, dtype=str(dtype or model.dtype).removeprefix("torch."))


def _rank() -> int:
    return torch.distributed.get_rank()


def _shard(
    plan: list[tuple[str, list[Piece]]], parameters: dict[str, nn.Parameter], limit: int
) -> list[list[tuple[str, list[Piece]]]]:
    """The plan in groups of at most `limit` bytes; a parameter larger than that is a group of its own."""
    groups: list[list[tuple[str, list[Piece]]]] = [[]]
    filled = 0
    for name, parts in plan:
        size = parameters[name].numel() * parameters[name].element_size()
        if groups[-1] and filled + size > limit:
            groups.append([])
            filled = 0
        groups[-1].append((name, parts))
        filled += size
    return groups
