"""Reader of an SPI flash, and what it fills: bytes late and slow, states of a damaged flash."""

import random

import cocotb

from ternforge.host.boot import BOOT_END, boot_header
from ternforge.host.protocol import REFUSED, REPLY, BootState, Command, Frame, Reason
from ternforge_firmware.flash import flash_frames

from .bus import Unit, within
from .units import FLASH_CORE

__all__ = ["bytes_come_in_order", "frames_are_played", "what_is_no_image_is_told"]

READ, WAKE = 0x03, 0xAB
SLEEP = 20  #: cycles from its release until the played flash hears commands


class Flash:
    """An SPI flash in mode 0 that sleeps at first; its bits come as late as they may."""

    def __init__(self, unit: Unit, contents: bytes):
        self.unit, self.contents = unit, contents
        self.commands: list[int] = []
        self.address = -1

    def bit(self, place: int) -> int:
        byte = self.contents[place // 8] if place // 8 < len(self.contents) else 0xFF
        return byte >> (7 - place % 8) & 1

    async def run(self) -> None:
        """For ever."""
        unit, asleep, selected, before = self.unit, True, False, 0
        bits: list[int] = []
        shown, place, awake_in = 1, -1, -1
        while True:
            cs_n, sck, copi = await unit.tick("cs_n", "sck", "copi")
            awake_in -= awake_in > 0
            asleep = asleep and awake_in != 0
            if cs_n:
                if selected:
                    word = int("".join(map(str, bits)) or "0", 2)
                    self.commands.append(word if len(bits) == 8 else READ)
                    if len(bits) == 8 and word == WAKE and awake_in < 0:
                        awake_in = SLEEP
                selected, place, bits, shown = False, -1, [], 1
            else:
                selected = True
                if sck and not before:
                    bits.append(copi)
                    if len(bits) == 32 and not asleep:
                        word = int("".join(map(str, bits)), 2)
                        if word >> 24 == READ:
                            self.address, place = word & 0xFFFFFF, 8 * (word & 0xFFFFFF) - 1
                if not sck and before and place >= -1 and self.address >= 0:
                    place += 1
                    shown = self.bit(place)
            before = sck
            unit.set(cipo=shown)  # a cycle and a half after the edge of its clock


@cocotb.test()
@cocotb.parametrize(stall=[0, 40])
async def bytes_come_in_order(dut, stall: int):
    """From the offset on, after the wake-up; the sum is right behind the right bytes alone."""
    unit, rng = Unit(dut, "flash", "reader"), random.Random(stall)
    offset = unit.component.offset
    made = flash_frames([rng.randbytes(4) for _ in range(3)], FLASH_CORE)
    flash = Flash(unit, bytes(offset) + made)
    await unit.reset(dut)
    play = cocotb.start_soon(flash.run())
    for index, byte in enumerate(made):
        for _ in range(rng.randint(0, stall)):
            await unit.tick()
        unit.set(o_ready=1)
        valid = came = fits = 0
        for _ in range(4 * unit.component.pause + 400):
            valid, came, fits = await unit.tick("o_valid", "o_payload", "sum_fits")
            if valid:
                break
        assert valid
        assert came == byte, index
        assert fits == (index == len(made) - 1), index
        unit.set(o_ready=0)
    assert flash.address == offset
    unit.set(stop=1)
    for _ in range(3):
        await unit.tick()
    for _ in range(100):
        assert await unit.tick("cs_n", "sck", "o_valid") == [1, 0, 0]
    assert flash.commands == [WAKE, READ]
    play.cancel()


class Port:
    """Plays flash and host port: keeps what the port is sent, answers each frame."""

    def __init__(self, unit: Unit, contents: bytes, rng: random.Random, refuse: int = -1):
        self.unit, self.contents, self.rng, self.refuse = unit, contents, rng, refuse
        self.frames: list[bytes] = []

    async def feed(self) -> None:
        """Bytes of the flash, then erased ones."""
        await self.unit.put("flash", self.contents, lambda: self.rng.randint(0, 3))
        while True:
            await self.unit.put("flash", [0xFF])

    async def serve(self) -> None:
        """Take whole frames, answer each; one of them is refused."""
        while True:
            head = bytes(await self.unit.take("port_i", 2, lambda: self.rng.randint(0, 3)))
            rest = bytes(await self.unit.take("port_i", head[1] + 4))
            frame = head + rest
            self.frames.append(frame)
            code = (REPLY | REFUSED | Reason.CRC.value if len(self.frames) - 1 == self.refuse
                    else REPLY | Command.WRITE.value)
            await self.unit.put("port_o", Frame(code, frame[2]).to_bytes(),
                                lambda: self.rng.randint(0, 5))


def frames_of(made: bytes) -> list[bytes]:
    """The frames in a flash's contents."""
    found, place = [], len(boot_header(FLASH_CORE))
    while made[place] != BOOT_END:
        found.append(made[place:place + made[place + 1] + 6])
        place += len(found[-1])
    return found


async def played(dut, contents: bytes, rng: random.Random, *, fits: int = 1, refuse: int = -1):
    """State and frames of a boot, after which the line is the port's."""
    unit = Unit(dut, "flash", "boot")
    await unit.reset(dut)
    unit.set(sum_fits=fits)
    port = Port(unit, contents, rng, refuse)
    tasks = [cocotb.start_soon(port.feed()), cocotb.start_soon(port.serve())]
    for _ in range(60 * len(contents) + 3000):
        if await unit.tick("stop") and unit.get("boot_state") and not port_busy(unit):
            break
    for _ in range(400):
        await unit.tick()
    state = BootState(unit.get("boot_state"))
    for task in tasks:
        task.cancel()
    unit.set(flash_valid=0, port_o_valid=0, port_i_ready=1, line_i_valid=1, line_i_payload=0x77)
    valid, byte, ready = await unit.tick("port_i_valid", "port_i_payload", "line_i_ready")
    assert (valid, byte, ready) == (1, 0x77, 1)
    unit.set(line_i_valid=0, port_o_valid=1, port_o_payload=0x42, line_o_ready=0)
    assert await unit.tick("line_o_valid", "line_o_payload", "port_o_ready") == [1, 0x42, 0]
    return state, port.frames


def port_busy(unit: Unit) -> bool:
    """Whether it still has something for the port."""
    return bool(unit.get("port_i_valid"))


VOID = Frame(Command.WRITE.value, 0, bytes(7)).to_bytes()


@cocotb.test()
async def frames_are_played(dut):
    """All of the flash's behind one that makes beat 0 void; no more when the sum is wrong."""
    rng = random.Random(2)
    made = flash_frames([rng.randbytes(4) for _ in range(9)], FLASH_CORE)
    whole = [VOID, *frames_of(made)]
    assert len(whole) == 10
    assert await within(20_000, played(dut, made, rng)) == (BootState.DONE, whole)


@cocotb.test()
async def what_is_no_image_is_told(dut):
    """Other sums, refusals, lengths and heads; beat 0 is made void again."""
    rng = random.Random(3)
    made = flash_frames([rng.randbytes(4) for _ in range(9)], FLASH_CORE)
    frames = [VOID, *frames_of(made)]
    assert await played(dut, made, rng, fits=0) == (BootState.DAMAGED, [*frames, VOID])
    assert await played(dut, made, rng, refuse=3) == (BootState.DAMAGED, [*frames[:4], VOID])
    second = 5 + 13
    for place, value in ((second, 0x00), (second, 0xFF), (second, BOOT_END ^ 1)):
        spoilt = made[:place] + bytes([value]) + made[place + 1:]
        assert await played(dut, spoilt, rng) == (BootState.DAMAGED, [*frames[:2], VOID]), value
    for value in (0, 2, 5, 6, 8, 9, 0xFF):  # all but that of a single beat
        spoilt = made[:second + 1] + bytes([value]) + made[second + 2:]
        state, came = await played(dut, spoilt, rng)
        assert (state, len(came)) == (BootState.DAMAGED, 3), value
        assert came[-1] == VOID, value
    for head, state in ((b"\xff" * 5, BootState.BLANK), (b"TE", BootState.BLANK),
                        (b"TF\x00", BootState.FOREIGN), (b"TF\x01\x08\x02", BootState.FOREIGN)):
        assert await played(dut, head, rng) == (state, [VOID]), head
