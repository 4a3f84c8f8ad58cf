"""Talk to a core over its serial port: on a board, or on the Verilated design of that board.

    .venv/bin/python examples/talk_to_board.py --port /dev/ttyUSB1 --board icebreaker
    .venv/bin/python examples/talk_to_board.py --simulate --board icebreaker
"""

import argparse
from itertools import chain

from ternforge.errors import UserError
from ternforge.presets import core_preset, line_baud
from ternforge_firmware.host import Board
from ternforge_firmware.image import Image
from ternforge_firmware.lower import lower_for
from ternforge_firmware.text import image_tokenizer
from ternforge_firmware.transport import SerialTransport, Transport
from ternforge_model.catalog import open_model


def talk(transport: Transport, image: Image, prompt: str, count: int) -> str:
    """Upload ``image``, feed ``prompt``, print ``count`` generated tokens and return their text."""
    tokenizer, text = image_tokenizer(image), ""
    with Board(transport) as board:
        print(f"{transport.name} has a core with lanes={board.core.lanes}")
        board.load(image)
        print(f"{len(image.memory())} beats are written")
        board.reset()
        first = board.step(tokenizer.encode(prompt))
        print(prompt, end="", flush=True)
        tokens = chain([first], board.generate(count - 1))
        for part in tokenizer.stream(tokens, continued=True):
            text += part
            print(part, end="", flush=True)
        counters = board.counters()
    print(f"\n{counters.cycles} cycles per token, saturations {counters.saturations}")
    return text


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Talk to a core over its serial port.")
    parser.add_argument("--board", default="icebreaker")
    parser.add_argument("--model", default="shakespeare-up5k", help="shipped model, or folder")
    parser.add_argument("--prompt", default="ROMEO:\n")
    parser.add_argument("--tokens", type=int, default=100)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", help="serial port of the board, such as /dev/ttyUSB1")
    where.add_argument("--simulate", action="store_true", help="no board: simulate one")
    options = parser.parse_args()

    try:
        model = open_model(options.model)
        image = lower_for(model.program, options.board, model.tokenizer)
        if options.simulate:
            from ternforge_sim.system import SimulatedBoard, build_system

            library = build_system(core_preset(options.board), progress=print)
            transport: Transport = SimulatedBoard(library)
        else:
            transport = SerialTransport(options.port, line_baud(options.board))
        talk(transport, image, options.prompt, options.tokens)
    except UserError as error:  # such as a port that is not there
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
