"""What is updated, how fast, and how gradients of several processes meet."""

import torch

from jpq_pyserini.train.config import TrainConfig
from jpq_pyserini.train.model import JPQModel, word_embeddings


def make_optimizer(model: JPQModel, config: TrainConfig) -> torch.optim.AdamW:
    """Fused AdamW over what the settings say is trained; everything else is frozen here."""
    if model.centroids is not None:
        model.centroids.requires_grad_(config.train_centroids)
    frozen = word_embeddings(model.encoder) if config.train_encoder == "no-word-embeddings" else set()
    decayed, undecayed = [], []
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


def sum_gradients(model: JPQModel) -> None:
    """Add up the gradients of all processes, in one message; centroids are parameters like any other."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    torch.distributed.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
