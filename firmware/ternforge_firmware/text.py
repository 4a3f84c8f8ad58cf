"""The tokenizer that a packet image carries."""

from ternforge_model.tokenizer import Tokenizer, tokenizer_from_json

from .image import ImageError, PacketSource

__all__ = ["image_tokenizer"]


def image_tokenizer(image: PacketSource) -> Tokenizer:
    """Tokenizer in the section ``tokenizer`` of an image.

    Raises
    ------
    ImageError
        The image has none, it is damaged, or it has another number of tokens than the embedding.
    ModuleNotFoundError
        It needs a library of the extra ``tokenizers``, which is not installed.
    """
    if not image.tokenizer:
        raise ImageError(f"image of {image.model!r} holds no tokenizer: make it from a model "
                         "folder that has one")
    try:
        tokenizer = tokenizer_from_json(image.tokenizer)
    except ValueError as error:
        raise ImageError(f"image of {image.model!r} holds a bad tokenizer: {error}") from None
    if tokenizer.vocab_size != image.vocab_size:
        raise ImageError(f"image of {image.model!r} must hold a tokenizer of {image.vocab_size} "
                         f"tokens as its embedding does, not {tokenizer.vocab_size}")
    return tokenizer
