"""What stands in a board's SPI flash: the requests of an upload, for the hardware to play."""

from collections.abc import Sequence
from zlib import crc32

from ternforge.config import CoreConfig
from ternforge.host.boot import BOOT_END, boot_header
from ternforge.host.protocol import Command, Frame, write_beats

from .image import Image
from .upload import write_requests

__all__ = ["flash_content", "flash_frames"]

#: Bytes with their bits the other way round: the hardware sums bits as they come, highest first.
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _sum(content: bytes) -> int:
    """CRC-32/MPEG-2: that of zlib of mirrored bytes, mirrored, without its final inversion."""
    return int(f"{crc32(content.translate(_MIRRORED)) ^ 0xFFFFFFFF:032b}"[::-1], 2)


def flash_frames(beats: Sequence[bytes], core: CoreConfig) -> bytes:
    """Header, a WRITE for all beats with that of beat 0 last, end mark and CRC-32."""
    most = write_beats(core.lanes, external=not core.bank_beats)
    requests = [*write_requests(beats, range(1, len(beats)), most), (0, beats[:1])]
    content = boot_header(core) + b"".join(
        Frame(Command.WRITE.value, number % 256,
              address.to_bytes(3, "little") + b"".join(block)).to_bytes()
        for number, (address, block) in enumerate(requests)) + bytes([BOOT_END])
    return content + _sum(content).to_bytes(4, "big")


def flash_content(image: Image, core: CoreConfig) -> bytes:
    """The bytes that a board with this core boots ``image`` from.

    Raises
    ------
    ImageError
        If the image is for another core, or does not fit.
    """
    image.check_core(core)
    return flash_frames([bytes(beat) for beat in image.memory()], core)
