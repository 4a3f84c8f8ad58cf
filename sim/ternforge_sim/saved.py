"""A run of the simulator between two tokens, in a file: to go on with it in another process."""

import json
import zipfile
import zlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from ternforge.config import CoreConfig
from ternforge.errors import UserError
from ternforge.output import atomic_file
from ternforge_firmware.image import PacketSource
from ternforge_model.integer import State

from .runner import MemoryModel

__all__ = ["SavedRun", "simulator_key"]

#: Version of the file.
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class SavedRun:
    """What a run needs to go on.

    The file is a NumPy archive: JSON, the simulator's state, and the integer model's.
    """

    core: str  #: the configuration
    simulator: str  #: build of it: a hash of the Verilog, the harness, and all that compiles them
    model: str  #: name of the model in the image
    model_hash: str  #: of the image
    beats: int  #: of the image
    memory: MemoryModel | None  #: how the image memory off the chip answers
    temperature: float  #: of the sampling
    several: bool  #: prompts of several sequences were given, one for each stream
    random: list[tuple[Any, ...]]  #: state of the sampling's generator, of each sequence
    positions: list[int]  #: tokens fed so far, of each
    tokens: list[int]  #: the next one to feed, of each
    hardware: bytes  #: state of the Verilated model and of its memory
    references: list[State] | None  #: of the integer model, of each; None if it was not checked

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        states = self.references
        header = {"format": FORMAT, "states": states and [[*state] for state in states],
                  **{field.name: getattr(self, field.name) for field in fields(self)
                     if field.name not in ("hardware", "references", "memory")},
                  "memory": self.memory and asdict(self.memory)}
        with atomic_file(path) as staged, staged.open("wb") as file:
            parts: dict[str, Any] = {
                f"state_{sequence}_{k}": array for sequence, state in enumerate(states or ())
                for k, array in enumerate(state.values())}
            np.savez(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8),
                     hardware=np.frombuffer(self.hardware, np.uint8), **parts)

    @classmethod
    def read(cls, path: Path) -> "SavedRun":
        """Read what :meth:`write` has written.

        Raises
        ------
        UserError
            If the file is something else, or damaged.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                header = json.loads(archive["header"].tobytes())
                if header.pop("format") != FORMAT:
                    raise ValueError
                names, memory = header.pop("states"), header.pop("memory")
                states = names and [
                    {name: archive[f"state_{sequence}_{k}"] for k, name in enumerate(state)}
                    for sequence, state in enumerate(names)]
                random = [(version, tuple(words), following)
                          for version, words, following in header.pop("random")]
                return cls(hardware=archive["hardware"].tobytes(), references=states,
                           memory=memory and MemoryModel(**memory), random=random, **header)
        except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile,
                zlib.error):
            raise UserError(f"--restore needs a file that --save has written, whole and of this "
                            f"version, not {str(path)!r}") from None

    def generators(self) -> list[Random]:
        """The sampling's generators, as they were."""
        found = [Random() for _ in self.random]
        for rng, state in zip(found, self.random, strict=True):
            rng.setstate(state)
        return found

    def check(self, core: CoreConfig, image: PacketSource, library: Path, *,
              checked: bool) -> None:
        """Refuse to go on with anything else than what was saved.

        Raises
        ------
        UserError
            Naming what differs.
        """
        if (self.model_hash, self.beats) != (image.model_hash, len(image.memory())):
            raise UserError(f"--restore: the run was saved with another image, of {self.model!r}, "
                            f"than this one of {image.model!r}")
        if self.core != repr(core):
            raise UserError("--restore: the run was saved on a core of another configuration")
        if self.simulator != simulator_key(library):
            raise UserError("--restore: the run was saved by another build of the simulator: "
                            "ternforge, its compilers or --behavioural-lanes differ")
        if checked and self.references is None:
            raise UserError("--restore: the run was saved without the integer model's state: go "
                            "on with --no-check")


def simulator_key(library: Path) -> str:
    """Build of a simulator, as its folder in the cache names it."""
    return library.parent.name
