"""From a model to a packet image: run it on integers, pack it, and look at the packets of a layer.

    .venv/bin/python examples/model_to_image.py --model shakespeare-up5k --board icebreaker
"""

import argparse
from pathlib import Path

from ternforge_firmware.assemble import disassemble
from ternforge_firmware.lower import lower_for
from ternforge_model.catalog import open_model
from ternforge_model.integer import IntegerModel
from ternforge_model.sampling import generate


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Run a model, pack it, list its packets.")
    parser.add_argument("--model", default="shakespeare-up5k", help="shipped model, or folder")
    parser.add_argument("--board", default="icebreaker")
    parser.add_argument("--prompt", default="ROMEO:\n")
    parser.add_argument("--layer", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, help="write the image here")
    options = parser.parse_args()

    # The integer model computes exactly what the hardware does.
    model = open_model(options.model)
    integer = IntegerModel(model.program)
    prompt = model.tokenizer.encode(options.prompt)
    tokens = generate(integer, prompt, 60, temperature=0.7, seed=1)
    print(options.prompt + model.tokenizer.decode(tokens, continued=True), end="\n\n")

    # One position: argmax of the logits, the recurrent state, saturations by site.
    result = integer.forward(prompt)
    print(f"after the prompt: token {result.tokens[-1]}, saturations {result.saturations}")
    for name, state in result.state.items():
        print(f"state {name}: {state.size} values, largest {abs(state).max()}")

    # The image is that program, laid out for the board's core.
    image = lower_for(model.program, options.board, model.tokenizer)
    print(f"\n{len(image.memory())} beats of {image.lanes} bytes; needs {image.needs}")
    if options.output is not None:
        image.write(options.output)

    print(f"\npackets of layer {options.layer}, without their constants and weights:")
    listing = disassemble(image, data=False)
    print(listing.partition(f"; layer {options.layer}\n")[2].partition("\n; ")[0])


if __name__ == "__main__":
    main()
