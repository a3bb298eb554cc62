"""What is updated, how fast, how gradients of several processes meet, and what ends a training that diverges."""

import torch
from torch import Tensor

from jpq_pyserini.errors import JPQError
from jpq_pyserini.train.config import TrainConfig
from jpq_pyserini.train.model import JPQModel, word_embeddings


class DivergenceError(JPQError):
    """The loss, a gradient or a weight is not finite; the same settings would end so again."""


def make_optimizer(model: JPQModel, config: TrainConfig) -> torch.optim.AdamW:
    """Fused AdamW over what the settings say is trained; everything else is frozen here."""
    if model.centroids is not None:
        model.centroids.requires_grad_(config.train_centroids)
    frozen = word_embeddings(model.encoder) if config.train_encoder == "no-word-embeddings" else set()
    decayed: list[torch.nn.Parameter] = []
    undecayed: list[torch.nn.Parameter] = []
    for parameter in model.encoder.parameters():
        parameter.requires_grad_(config.train_encoder != "none" and parameter not in frozen)
        if parameter.requires_grad:
            (undecayed if parameter.ndim < 2 else decayed).append(parameter)  # biases and norms are not decayed
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay, "lr": config.encoder_lr},
        {"params": undecayed, "weight_decay": 0.0, "lr": config.encoder_lr},
    ]
    if model.centroids is not None and config.train_centroids:
        groups.append({"params": [model.centroids], "weight_decay": 0.0, "lr": config.effective_centroid_lr})
    return torch.optim.AdamW([group for group in groups if group["params"]], fused=True)


def trained_parameters(model: JPQModel) -> dict[str, torch.nn.Parameter]:
    """The parameters that get gradients, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def lr_factor(config: TrainConfig, step: int, total_steps: int) -> float:
    """Linear warm-up, then linear decay to zero; ``step`` counts from 0."""
    warmup = config.warmup_steps
    if warmup is None:
        warmup = min(2000, total_steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, (total_steps - step) / max(1, total_steps - warmup))


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each learning rate to ``factor`` times the one that the optimizer was made with."""
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
        group["lr"] = group["initial_lr"] * factor


def sum_gradients(model: JPQModel) -> None:
    """Add up the gradients of all processes, if there are several; centroids are parameters like any other."""
    if not (torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1):
        return
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    torch.distributed.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def check_step(step: int, loss: Tensor, norm: Tensor, model: JPQModel, config: TrainConfig) -> None:
    """Raise :class:`DivergenceError` if the loss of a step (0, 1, …), the norm of the encoder's gradients, or the
    gradients of the centroids are not finite."""
    values = {"loss": loss, "norm of the encoder's gradients": norm}
    if model.centroids is not None and model.centroids.grad is not None:
        values["sum of the centroids' gradients"] = model.centroids.grad.sum()
    for name, value in values.items():
        if not torch.isfinite(value):
            raise DivergenceError(
                f"training diverged at step {step + 1:,}, the {name} is {value.item()}: {_remedy(config)}"
            )


def check_weights(step: int, model: JPQModel, config: TrainConfig) -> None:
    """Raise :class:`DivergenceError` if a trained weight is not finite after ``step`` steps."""
    for name, value in trained_parameters(model).items():
        if not torch.isfinite(value).all():
            raise DivergenceError(
                f"training diverged, after step {step:,} {name} holds NaN or infinite values: {_remedy(config)}"
            )


def _remedy(config: TrainConfig) -> str:
    rates = f"--encoder-lr (now {config.encoder_lr:g}), --centroid-lr (now {config.effective_centroid_lr:g})"
    return f"nothing is written; lower {rates}, --weight-decay or --score-scale, and start again"
