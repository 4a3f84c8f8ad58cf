"""Trains the deep model that `bench/numerics.py` and the tests use: 32 layers, a growing residual.

    .venv/bin/python bench/deep.py --text tinyshakespeare.txt -o tests/model/deep

The matrices that write to the residual stream begin `GROWTH` times larger in the last layer than
in the first, evenly in steps between, and their learning rates grow alike. Every reader of the
stream normalises it, so this trains as a decaying stream would, and what is written in layer 31 is
a thousand times what the embedding is. The same options and threads give the same file.
"""

import argparse
import math
import time
from pathlib import Path

import torch
from torch.nn import functional

from ternforge_model.config import ModelConfig
from ternforge_model.data import TextStreams, load_text, split_text
from ternforge_model.evaluate import carried_loss
from ternforge_model.export import export_model
from ternforge_model.reference import ReferenceModel

LAYERS, WIDTH, MLP, GROWTH = 32, 64, 128, 1024.0
BATCH, WINDOW, RATE, WARMUP, SEED = 16, 64, 5e-3, 50, 1
#: Writers of the residual stream.
WRITERS = ("o_proj.weight", "down_proj.weight")


def growth(layer: int) -> float:
    """Factor of what ``layer`` writes to the residual stream."""
    return GROWTH ** (layer / (LAYERS - 1))


def build(vocab: int) -> tuple[ReferenceModel, torch.optim.Optimizer]:
    """A fresh model, and AdamW with a learning rate per layer for the writers."""
    torch.manual_seed(SEED)
    model = ReferenceModel(ModelConfig(
        vocab_size=vocab, hidden_size=WIDTH, num_hidden_layers=LAYERS, intermediate_size=MLP,
        initializer_range=0.08, bos_token_id=None, eos_token_id=None))
    torch.nn.init.normal_(model.model.embeddings.weight, std=0.3)
    groups = []
    for name, parameter in model.named_parameters():
        factor = 1.0
        if name.endswith("_proj.norm.weight") and "down_proj" not in name:
            parameter.requires_grad_(False)  # redundant; frozen ones share one quantiser pass
            continue
        if name.endswith(WRITERS):
            factor = growth(int(name.split(".")[2]))
            with torch.no_grad():
                parameter.mul_(factor)
        decay = 0.02 if name.endswith("_proj.weight") else 0.0
        groups.append({"params": [parameter], "weight_decay": decay, "factor": factor})
    return model, torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the deep model of the numerics tests.")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tokens, tokenizer = load_text(options.text)
    training, validation = split_text(tokens)
    model, optimiser = build(tokenizer.vocab_size)
    streams = TextStreams(training, batch=BATCH, window=WINDOW, restart=0.05, seed=SEED)
    state, began, mean = model.initial_state(BATCH), time.monotonic(), math.log(len(set(tokens)))
    model.train()
    for step in range(options.steps):
        windows, jumped = streams.next(step)
        text = torch.from_numpy(windows)
        state = state.detach() * torch.from_numpy(~jumped)[None, :, None]
        logits, state = model(text[:, :-1].contiguous(), state, return_state=True)
        loss = functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        for group in optimiser.param_groups:  # one by one: their gradients differ a thousandfold
            torch.nn.utils.clip_grad_norm_(group["params"], 0.1 / group["factor"])
            rate = RATE * group["factor"] * min(1.0, (step + 1) / WARMUP)
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / options.steps))
        optimiser.step()
        mean += (loss.item() - mean) * max(0.02, 1 / (step + 1))
        if step % 50 == 0:
            print(f"step {step} loss {mean:.3f} {time.monotonic() - began:.0f} s", flush=True)
    model.eval()
    stored = export_model(model, None, options.out)
    (options.out / "tokenizer.json").write_text(tokenizer.to_json())
    print(f"validation loss {carried_loss(stored, validation[:20001]):.4f} nats per character")


if __name__ == "__main__":
    main()
