"""Many devices, applied to a model from outside: its own files know nothing of them.

FSDP2 shards every matrix over the ranks. With expert parallelism each rank holds whole experts instead, and tokens
travel to them and back; a rank's data is then its own part of the batch, as without. One mesh dimension serves both.

Order of use: build on the meta device, `parallelize`, `to_empty(device=…)`, then `checkpoint.load_into` or
`init_weights`. Losses are to be called as `model.loss(…)`: the method is made known to FSDP.

Shapes: N tokens, X experts a token, M = N·X, D hidden, E experts, R ranks.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed._functional_collectives import all_to_all_single_autograd
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from .errors import ConfigError
from .model import Mellum
from .moe import Experts, SparseMlp, run_experts, sort_by_expert


class ParallelExperts(nn.Module):
    """A layer's experts, E/R of them on each rank: parameters are sharded by expert, names and shapes are unchanged."""

    def __init__(self, experts: Experts, mesh: DeviceMesh) -> None:
        super().__init__()
        self.mesh = mesh
        self.run = getattr(experts, "run", run_experts)  # FP8 experts bring their own products
        for name, parameter in experts.named_parameters():
            sharded = distribute_tensor(parameter.detach(), mesh, [Shard(0)], src_data_rank=None)
            self.register_parameter(name, nn.Parameter(sharded))

    def _local(self, name: str, dtype: torch.dtype) -> Tensor:
        parameter = getattr(self, name)
        local: Tensor = parameter.to_local().to(dtype)
        if local.requires_grad:
            # Tokens of all ranks met here, so this gradient is a sum over ranks; all others are means over them.
            local.register_hook(lambda gradient: gradient / self.mesh.size())  # type: ignore[no-untyped-call]
        return local

    def forward(self, x_ND: Tensor, experts_NX: Tensor, weights_NX: Tensor) -> Tensor:
        """As `Experts`: rows go to the ranks of their experts, are computed there, and come back."""
        group, ranks = self.mesh.get_group(), self.mesh.size()
        gate_up, down = self._local("gate_up_proj", x_ND.dtype), self._local("down_proj", x_ND.dtype)
        here = gate_up.shape[0]
        token_M, rows_NX, counts_E = sort_by_expert(experts_NX, here * ranks)
        incoming_E = torch.empty_like(counts_E)  # [R, E/R]: rows from each rank for each expert of this one
        dist.all_to_all_single(incoming_E, counts_E, group=group)
        sent = counts_E.view(ranks, here).sum(1).tolist()
        received = incoming_E.view(ranks, here).sum(1).tolist()
        x = _exchange(x_ND.index_select(0, token_M), received, sent, group)
        local = torch.arange(here, device=x_ND.device).repeat(ranks).repeat_interleave(incoming_E)[:, None]
        if x.shape[0]:
            y = self.run(x, local, torch.ones_like(local, dtype=torch.float32), gate_up, down)
        else:  # still part of the graph, or the exchange back would wait for ever
            y = x + 0 * (gate_up.sum() + down.sum())
        y_MD = _exchange(y, sent, received, group)
        y_NXD = y_MD.index_select(0, rows_NX.reshape(-1)).view(*rows_NX.shape, -1)
        return (y_NXD * weights_NX.to(y_MD.dtype)[..., None]).sum(1)


def _exchange(rows: Tensor, received: list[int], sent: list[int], group: dist.ProcessGroup) -> Tensor:
    """Rows to other ranks and from them; the gradient travels the other way."""
    result: Tensor = all_to_all_single_autograd(rows.contiguous(), received, sent, group)
    return result


def parallelize(
    model: Mellum, mesh: DeviceMesh, *, expert_parallel: bool = False, policy: MixedPrecisionPolicy | None = None
) -> Mellum:
    """Shard a model over a one-dimensional mesh, in place.

    Args:
        model: On any device; on meta nothing is allocated.
        mesh: The ranks; each computes its own part of the batch.
        expert_parallel: Whole experts on each rank instead of sharded ones.
        policy: FSDP's dtypes of parameters and of gradient reduction.

    Raises:
        ConfigError: Experts cannot be divided over the ranks.
    """
    if mesh.ndim != 1:
        raise ConfigError(f"the mesh has {mesh.ndim} dimensions; one is needed")
    if expert_parallel and model.config.num_experts % mesh.size():
        raise ConfigError(f"num_experts {model.config.num_experts} cannot be divided over {mesh.size()} ranks")
    policy = policy or MixedPrecisionPolicy()
    layers = list(model.layers) + (list(model.mtp.layers) if model.mtp is not None else [])
    apart: set[nn.Parameter] = set()
    for layer in layers:
        feed_forward = layer.mlp
        if expert_parallel and isinstance(feed_forward, SparseMlp):
            feed_forward.experts = ParallelExperts(feed_forward.experts, mesh)  # type: ignore[assignment]
            apart |= set(feed_forward.experts.parameters())
    for layer in layers:
        fully_shard(layer, mesh=mesh, ignored_params=apart, mp_policy=policy)
    fully_shard(model, mesh=mesh, ignored_params=apart, mp_policy=policy)
    for method in ("loss", "trunk", "mtp_logits", "token_scores"):
        register_fsdp_forward_method(model, method)
    return model


def full_gradient(parameter: nn.Parameter) -> Tensor | None:
    """A parameter's gradient, gathered from all ranks; every rank must call."""
    gradient = parameter.grad
    return gradient.full_tensor() if isinstance(gradient, DTensor) else gradient
