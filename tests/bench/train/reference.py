"""The peer of `make bench-train`: the GPT-2 of `harness-trainer` in plain PyTorch, and the rate of matrix products.

usage: reference.py eager|compile SETTINGS.json    trains; a line with the loss after each step
       reference.py exact SETTINGS.json            the same in float64, with which the losses of all are compared
       reference.py product SETTINGS.json          multiplies matrices; a line after each product

SETTINGS.json is written by bench.py: the shapes, the batch, the weights to begin with, data type, device, threads.
The model is what a user would write: `scaled_dot_product_attention`, bfloat16 by autocast, fused AdamW.
"""

import json
import pathlib
import resource
import struct
import sys

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.input = nn.Linear(width, 4 * width)
        self.output = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, c = x.shape
        q, k, v = self.query_key_value(self.attention_norm(x)).split(c, dim=2)
        q, k, v = (part.view(b, t, self.heads, c // self.heads).transpose(1, 2) for part in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attention_output(y.transpose(1, 2).reshape(b, t, c))
        return x + self.output(F.gelu(self.input(self.feed_forward_norm(x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self, layers: int, heads: int, width: int, context_length: int, vocabulary_size: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary_size, width)
        self.position_embedding = nn.Embedding(context_length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.final_norm = nn.LayerNorm(width)

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        x = self.token_embedding(inputs) + self.position_embedding.weight[: inputs.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.final_norm(x), self.token_embedding.weight)  # the head is tied to the embedding
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


def load(model: Gpt2, checkpoint: pathlib.Path) -> None:
    """Takes the weights of a checkpoint of `harness-trainer`: safetensors, float32."""
    content = checkpoint.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    ours = {
        name.replace(".attention.query_key_value.", ".query_key_value.")
        .replace(".attention.output.", ".attention_output.")
        .replace(".feed_forward.", "."): name
        for name in header
    }
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            name = name.replace("_embedding.weight", "_embedding")
            entry = header[ours[f"model.{name}"]]
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            values = torch.frombuffer(bytearray(content[start:end]), dtype=torch.float32)
            parameter.copy_(values.view(parameter.shape))


def report(**numbers: float) -> None:
    print(json.dumps(numbers), flush=True)


def train(kind: str, settings: dict, device: torch.device) -> None:
    shape = {name: settings[name] for name in ("layers", "heads", "width", "context_length", "vocabulary_size")}
    model = Gpt2(**shape)
    load(model, pathlib.Path(settings["checkpoint"]))
    model.to(device, torch.float64 if kind == "exact" else torch.float32)
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": settings["weight_decay"]}, {"params": others, "weight_decay": 0.0}]
    betas = (settings["beta1"], settings["beta2"])
    rate = settings["learning_rate"]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=betas, eps=settings["epsilon"], fused=True)
    run = torch.compile(model) if kind == "compile" else model
    tokens = torch.tensor(settings["tokens"])  # (B, T + 1)
    if device.type == "cuda":
        tokens = tokens.pin_memory()
    rounded = settings["precision"] == "bf16" and kind != "exact"
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=rounded)
    waiting: list[tuple[torch.Tensor, torch.cuda.Event | None]] = []
    while True:
        batch = tokens.to(device, non_blocking=True)
        with autocast:
            loss = run(batch[:, :-1], batch[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings["gradient_clip_norm"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        # On a GPU the loss of the step before is read, by a copy that the host waits for alone: the device goes on with
        # this step meanwhile.
        copied = torch.cuda.Event() if device.type == "cuda" else None
        waiting.append((loss.detach().to("cpu", non_blocking=True), copied))
        if copied is not None:
            copied.record()
        if copied is None or len(waiting) > 1:
            ready, arrived = waiting.pop(0)
            if arrived is not None:
                arrived.synchronize()
            peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
            resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            report(loss_nats=ready.item(), peak_gpu_memory_bytes=peak, peak_memory_bytes=resident)


def product(settings: dict, device: torch.device) -> None:
    """Square matrices, large enough to reach the best rate."""
    size = settings["product_size"]
    kind = torch.bfloat16 if settings["precision"] == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    repeats = settings["product_repeats"]
    while True:
        for _ in range(repeats):
            a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        report(flops=2.0 * size**3 * repeats)


def main() -> None:
    kind, path = sys.argv[1:]
    settings = json.loads(pathlib.Path(path).read_text())
    device = torch.device(settings["device"])
    torch.set_num_threads(settings["threads"])
    torch.set_float32_matmul_precision("high" if settings["tf32"] else "highest")
    if kind == "product":
        product(settings, device)
    else:
        train(kind, settings, device)


if __name__ == "__main__":
    main()
