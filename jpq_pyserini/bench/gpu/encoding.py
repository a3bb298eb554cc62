"""Passages encoded a second, as ``index embed`` encodes them."""

from collections.abc import Iterator

import torch

from jpq_pyserini.bench.gpu.clock import Clock, OutOfTimeError
from jpq_pyserini.bench.gpu.models import random_encoder, random_texts
from jpq_pyserini.bench.gpu.search import reason
from jpq_pyserini.encoders.text_encoder import embed_passages


def points(clock: Clock, device: str, small: bool) -> Iterator[dict]:
    """Yield passages of about 60 words a second for each size of encoder: bfloat16 and float32."""
    gpu = device.startswith("cuda")
    texts = random_texts(64 if small else 8192, 10 if small else 60, seed=2)
    for size in ["tiny"] if small else ["MiniLM", "BERT-base"]:
        for dtype in (torch.bfloat16, torch.float32) if gpu else (torch.float32,):
            point = {
                "what": "encoding",
                "encoder": size,
                "dtype": str(dtype).rpartition(".")[2],
                "passages": len(texts),
            }
            try:
                encoder = random_encoder(size, device).to(dtype)
                milliseconds = clock.milliseconds(
                    lambda e=encoder: embed_passages(e, texts, batch_size=256 if gpu else 32), device, repeats=3
                )
                yield {**point, "passages_a_second": len(texts) / (milliseconds / 1000)}
            except (RuntimeError, OutOfTimeError) as error:
                yield {**point, "failed": reason(error)}
