"""The same numbers as `transformers`: logits, losses, gradients, MTP drafts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_models import CONFIGS, build, in_transformers, tokens

from mellum_model.hub_keys import pieces
from mellum_model.losses import pooled_balance_loss
from mellum_model.model import LossWeights


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    """Beyond the window and, for YaRN, beyond the original context of 32."""
    model = build(CONFIGS[name])
    theirs = in_transformers(model, tmp_path)
    ids = tokens(model.config, 2, 61)
    with torch.no_grad():
        torch.testing.assert_close(model(ids), theirs(ids).logits, atol=1e-5, rtol=0)


def test_logits_agree_at_far_positions(tmp_path: Path) -> None:
    model = build(CONFIGS["mixed_yarn"])
    theirs = in_transformers(model, tmp_path)
    ids = tokens(model.config, 1, 500)
    with torch.no_grad():
        torch.testing.assert_close(model(ids), theirs(ids).logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["mixed_yarn", "tied", "odd", "bias_dense_unnormalised"])
def test_losses_and_gradients_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    model = build(CONFIGS[name])
    theirs = in_transformers(model, tmp_path)
    ids = tokens(model.config, 2, 40)
    labels = ids.clone()
    labels[0, :7] = -100
    ours = model.loss(ids, labels, weights=LossWeights(balance=0.5, balance_form="pooled"))
    theirs.router_aux_loss_coef = 0.5
    reference = theirs(ids, labels=labels, output_router_logits=True)
    torch.testing.assert_close(ours.total, reference.loss, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.balance, reference.aux_loss.detach(), atol=1e-5, rtol=0)
    ours.total.backward()
    reference.loss.backward()
    gradients = {key: parameter.grad for key, parameter in theirs.named_parameters()}
    compared = 0
    width = model.config.moe_intermediate_size
    parameters = dict(model.named_parameters())
    for ours_name, parts in pieces(model.config):
        for piece in parts:
            key = piece.key
            if ".experts." in key:  # fused there too
                prefix, _, rest = key.partition(".experts.")
                expert, part = int(rest.split(".")[0]), rest.split(".")[1]
                fused = "down_proj" if part == "down_proj" else "gate_up_proj"
                expected = gradients[f"{prefix}.experts.{fused}"][expert]
                expected = expected if part == "down_proj" else expected.split(width)[int(part == "up_proj")]
            else:
                expected = gradients[key]
            torch.testing.assert_close(piece.of(parameters[ours_name].grad), expected, atol=1e-4, rtol=1e-4, msg=key)
            compared += 1
    assert compared > len(gradients)


def test_balance_loss_leaves_padding_out(tmp_path: Path) -> None:
    model = build(CONFIGS["mixed_yarn"])
    theirs = in_transformers(model, tmp_path)
    ids = tokens(model.config, 2, 20)
    mask = torch.ones_like(ids)
    mask[1, 13:] = 0
    reference = theirs(ids, attention_mask=mask, output_router_logits=True).aux_loss
    ours = pooled_balance_loss(model.trunk(ids).router_logits, model.config.num_experts_per_tok, mask)
    torch.testing.assert_close(ours, reference, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["mtp", "mtp_full"])
def test_mtp_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    from transformers.modeling_layers import MtpModel

    model = build(CONFIGS[name])
    theirs = in_transformers(model, tmp_path)
    head = MtpModel.from_pretrained(theirs).eval()
    ids = tokens(model.config, 1, 30)
    with torch.no_grad():
        ours = model.mtp_logits(ids)
        hidden = theirs.model(ids).last_hidden_state
        for end in (2, 9, 29):
            reference = head(
                input_ids=ids[:, 1 : end + 1],
                last_hidden_states=hidden[:, :end],
                attention_mask=None,
                position_ids=torch.arange(1, end + 1)[None],
                mtp_cache=None,
            )[1]
            torch.testing.assert_close(ours[:, end - 1], reference[:, 0], atol=1e-5, rtol=0)


def test_meta_model_has_the_published_number_of_parameters() -> None:
    from mellum_model import Mellum, MellumConfig

    model = Mellum(MellumConfig.mellum2_12b(), device="meta")
    assert sum(parameter.numel() for parameter in model.parameters()) == 12_149_923_072
    assert sum(len(parts) for _, parts in pieces(model.config)) == 5_631
