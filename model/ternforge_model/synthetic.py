"""Checkpoints of the released models' sizes with random weights: ``python -m ...synthetic``.

Names, shapes, types and files are those of upstream's releases (spec sections 1, 2 and 11), and the
weights give a forward pass whose values are finite and of ordinary size. They are written piece by
piece, so that memory does not grow with the model.
"""

import json
import shutil
import sys
import zlib
from collections.abc import Iterator, Mapping
from enum import Enum
from math import prod
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from ternforge.cli import command, run_function
from ternforge.errors import UserError
from ternforge.output import atomic_folder

from .checkpoint import CONFIG_FILE, INDEX_FILE, TENSOR_FILE
from .config import ModelConfig
from .tensorfile import DTYPE_BYTES, METADATA, encode_header
from .tokenizer import JSON_FILE

__all__ = ["SIZES", "Dtype", "layout", "released_config", "synthetic", "word_tokenizer"]

#: Hidden size and layers of the releases, and of one for trials.
SIZES = {"370m": (1024, 24), "1.3b": (2048, 24), "2.7b": (2560, 32), "tiny": (64, 2)}
#: Weights that are made and written at once.
PIECE = 1 << 20


class Dtype(Enum):
    """Types of a checkpoint, by their names in ``config.json``."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"

    @property
    def stored(self) -> str:
        """Name in a safetensors file."""
        return {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[self.value]

    def encode(self, values: np.ndarray) -> bytes:
        """Float32 values as they are stored, rounded to nearest even."""
        if self is Dtype.BFLOAT16:
            bits = values.view(np.uint32)
            return ((bits + (0x7FFF + (bits >> 16 & 1))) >> 16).astype("<u2").tobytes()
        return values.astype("<f4" if self is Dtype.FLOAT32 else "<f2").tobytes()


def released_config(size: str, dtype: Dtype = Dtype.BFLOAT16,
                    layers: int | None = None) -> ModelConfig:
    """Configuration of a release (spec section 1), with ``layers`` layers unless None."""
    width, depth = SIZES[size]
    return ModelConfig(hidden_size=width, num_hidden_layers=depth if layers is None else layers,
                       extra={"architectures": ["HGRNBitForCausalLM"], "hidden_act": "swish",
                              "conv_size": 4, "share_conv_kernel": True, "use_cache": True,
                              "max_position_embeddings": 2048, "torch_dtype": dtype.value,
                              "transformers_version": "4.40.2"})


def layout(config: ModelConfig, dtype: Dtype, shards: int = 1) -> dict[str, dict[str, Any]]:
    """Safetensors header of each file of a checkpoint, by file name.

    Tensors are in the order of :meth:`ModelConfig.tensor_shapes`, shards of nearly equal size.
    """
    shapes = config.tensor_shapes()
    width = DTYPE_BYTES[dtype.stored]
    total = sum(map(prod, shapes.values())) * width
    names = [TENSOR_FILE] if shards == 1 else [
        f"model-{n + 1:05}-of-{shards:05}.safetensors" for n in range(shards)]
    headers: list[dict[str, Any]] = [{METADATA: {"format": "pt"}} for _ in names]
    done = start = shard = 0
    for left, (name, shape) in zip(range(len(shapes), 0, -1), shapes.items(), strict=True):
        full = done >= total * (shard + 1) / shards or left < shards - shard
        if full and len(headers[shard]) > 1 and shard + 1 < shards:
            shard, start = shard + 1, done
        stop = done + prod(shape) * width
        headers[shard][name] = {"dtype": dtype.stored, "shape": list(shape),
                                "data_offsets": [done - start, stop - start]}
        done = stop
    return dict(zip(names, headers, strict=True))


def _index(headers: Mapping[str, Mapping[str, Any]]) -> str:
    """Text of the index of a checkpoint of several files."""
    place = {name: file for file, header in headers.items() for name in header if name != METADATA}
    total = sum(entry["data_offsets"][1] - entry["data_offsets"][0]
                for header in headers.values() for name, entry in header.items()
                if name != METADATA)
    return json.dumps({"metadata": {"total_size": total}, "weight_map": place}, indent=2) + "\n"


def _values(name: str, count: int, spread: float, seed: int) -> Iterator[np.ndarray]:
    """Weights of one tensor, float32, in pieces; they depend on name and seed alone."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    for start in range(0, count, PIECE):
        values = rng.standard_normal(min(PIECE, count - start), np.float32)
        if "norm" in name:
            values *= np.float32(0.25)
            values += np.float32(1)
        elif name != "model.lower_bounds":
            values *= np.float32(spread)
        yield values


def word_tokenizer(vocab_size: int = 32000) -> str:
    """Text of a ``tokenizer.json`` of upstream's kind (spec section 11), not trained on anything.

    Byte-pair encoding with byte fallback and U+2581 for spaces; its words are those of up to three
    lower-case letters, shortest first, with a space before them and without.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, processors

    control = ["<unk>", "<s>", "</s>"]
    space, letters = "\u2581", [chr(value) for value in range(ord("a"), ord("z") + 1)]
    tokens = [*control, *(f"<0x{value:02X}>" for value in range(256)),
              space, *(chr(value) for value in range(33, 127))]
    merges: list[tuple[str, str]] = []
    least = len(tokens)
    for stems, rounds in (([space], 3), (letters, 2)):
        for _ in range(rounds):
            pairs = [(stem, letter) for stem in stems for letter in letters]
            merges += pairs
            stems = [stem + letter for stem, letter in pairs]
    if not least <= vocab_size <= least + len(merges):
        raise ValueError(f"vocab_size must be in {least}..{least + len(merges)}, not {vocab_size}")
    merges = merges[:vocab_size - least]
    tokens += [stem + letter for stem, letter in merges]
    library = Tokenizer(models.BPE(
        vocab={token: number for number, token in enumerate(tokens)}, merges=merges,
        unk_token=control[0], fuse_unk=True, byte_fallback=True))
    library.normalizer = normalizers.Sequence([
        normalizers.Prepend(space), normalizers.Replace(" ", space)])
    library.decoder = decoders.Sequence([
        decoders.Replace(space, " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0)])
    library.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    library.add_special_tokens(control)
    return library.to_str()


def _check_space(out: Path, need: int) -> None:
    parent = out.absolute()
    while not parent.exists():
        parent = parent.parent
    free = shutil.disk_usage(parent).free
    if free < need:
        raise UserError(f"{str(out)!r} must have room for {need:,} bytes, but only {free:,} are "
                        "free: free some, or choose another disk")


@command(example="python -m ternforge_model.synthetic --size 370m -o mmfree-370m\n"
                 "python -m ternforge_model.synthetic --size 2.7b --layers 2 --shards 2 -o short")
def synthetic(
    size: Annotated[str, typer.Option("--size", metavar="NAME", help=", ".join(SIZES) + ".")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder to write.")],
    layers: Annotated[
        int | None, typer.Option("--layers", metavar="N", help="Fewer layers than the release.")
    ] = None,
    dtype: Annotated[
        Dtype, typer.Option("--dtype", help="Type of the weights.")] = Dtype.BFLOAT16,
    shards: Annotated[int, typer.Option("--shards", metavar="N", help="Safetensors files.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Of the weights.")] = 0,
) -> None:
    """Write a checkpoint with random weights, in the format of the released models.

    The same options give the same bytes. Needs the extra `tokenizers`.
    """
    if size.lower() not in SIZES:
        raise UserError(f"--size must be one of {', '.join(SIZES)}, not {size!r}")
    if layers is not None and layers < 1:
        raise UserError(f"--layers must be positive, not {layers}")
    if seed < 0:
        raise UserError(f"--seed must be zero or more, not {seed}")
    config = released_config(size.lower(), dtype, layers)
    if not 1 <= shards <= len(config.tensor_shapes()):
        raise UserError(f"--shards must be in 1..{len(config.tensor_shapes())}, not {shards}")
    headers = layout(config, dtype, shards)
    total = sum(map(prod, config.tensor_shapes().values())) * DTYPE_BYTES[dtype.stored]
    tokenizer = word_tokenizer(config.vocab_size)
    _check_space(out, total)
    console = Console(stderr=True)
    bar = Progress(TextColumn("writing"), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
                   console=console, transient=True, disable=not console.is_terminal)
    with atomic_folder(out) as staged, bar:
        task = bar.add_task("", total=total)
        for file, header in headers.items():
            with (staged / file).open("wb") as stream:
                stream.write(encode_header(header))
                for name, entry in header.items():
                    if name == METADATA:
                        continue
                    for values in _values(name, prod(entry["shape"]), config.initializer_range,
                                          seed):
                        bar.advance(task, stream.write(dtype.encode(values)))
        if shards > 1:
            (staged / INDEX_FILE).write_text(_index(headers))
        (staged / CONFIG_FILE).write_text(config.to_json())
        (staged / JSON_FILE).write_text(tokenizer, encoding="utf-8")
    Console(highlight=False).print(
        f"written: {out}, {total // DTYPE_BYTES[dtype.stored]:,} parameters, "
        f"{len(headers)} file{'s' if shards > 1 else ''} of weights, {total:,} bytes",
        soft_wrap=True, markup=False)


if __name__ == "__main__":
    sys.exit(run_function(synthetic, "python -m ternforge_model.synthetic"))
