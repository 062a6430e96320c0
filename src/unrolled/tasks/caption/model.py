"""The captioner, one to many: a picture or a recording in, words out.

The network unrolled while it writes "a red apple":

                          a      red    apple    END
                          ^       ^       ^       ^
    scores              linear  linear  linear  linear        V scores each
                          ^       ^       ^       ^
    where it looks  +--> [+] --> [+] --> [+] --> [+]          attention: weights over the memory
                    |     ^       ^       ^       ^
    summary --------|->[layer]->[layer]->[layer]->[layer]     the initial state
       ^            |     ^       ^       ^       ^
       |         memory  BEGIN    a      red    apple
       |            ^
    [encoder of pictures: a grid | of recordings: a step every 30 ms]
                 ^
        a picture or a recording

The two ways in can be had one at a time: the summary alone is the network of Vinyals et al. (2015),
"Show and tell"; with the memory, that of Xu et al. (2015), "Show, attend and tell". The encoders
are in files of their own, the decoder is the translator's.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from unrolled.errors import OptionError
from unrolled.networks.decoder import Decoder, DecoderConfig, DecoderState
from unrolled.networks.picture_encoder import PictureEncoder, PictureEncoderConfig
from unrolled.networks.sound_encoder import SoundEncoder, SoundEncoderConfig
from unrolled.tasks.caption.neighbours import Neighbours
from unrolled.tasks.caption.options import ModelOptions

__all__ = ["Captioner"]


def _encoder_config(
    options: ModelOptions, picture_size: int | None, num_bands: int | None
) -> PictureEncoderConfig | SoundEncoderConfig:
    if picture_size is not None:
        return PictureEncoderConfig(picture_size, options.channels, options.dropout)
    assert num_bands is not None
    num_layers = options.encoder_layers or options.num_layers
    return SoundEncoderConfig(
        num_bands,
        replace(options, num_layers=num_layers),
        options.bidirectional,
        options.frames_per_step,
    )


class Captioner(nn.Module):
    """Words for a picture or a recording.

        memory, summary = encoder(media)
        scores of word t + 1 = decoder(words up to t, memory, summary)

    Without the summary the decoder starts from a state that is learned, the same for all media.

    Args:
        options: What it is made of, and how encoder and decoder are connected.
        vocabulary_size: V, how many different words there are.
        picture_size: S, pixels of each side, for pictures.
        num_bands: K, features of each log-mel frame, for recordings.
        neighbours: The training examples whose captions are candidates; None for none.

    Raises:
        OptionError: Pictures and recordings, or neither; a size below 1.

    Example:
        >>> options = ModelOptions(hidden_size=8)
        >>> captioner = Captioner(options, vocabulary_size=9, num_bands=40)
        >>> frames, lengths = torch.zeros(2, 10, 40), torch.tensor([10, 4])
        >>> scores, weights = captioner(frames, torch.tensor([[1, 5, 3], [1, 4, 2]]), lengths)
        >>> scores.shape, weights.shape
        (torch.Size([2, 3, 9]), torch.Size([2, 3, 4]))
    """

    def __init__(
        self,
        options: ModelOptions,
        *,
        vocabulary_size: int,
        picture_size: int | None = None,
        num_bands: int | None = None,
        neighbours: Neighbours | None = None,
    ) -> None:
        super().__init__()
        if (picture_size is None) == (num_bands is None):
            got = f"{picture_size} and {num_bands}"
            message = f"Captioner: one of picture_size and num_bands must be given, got {got}"
            raise OptionError(message, "a captioner is for pictures or for recordings")
        self.options = options
        self.neighbours = neighbours
        encoder = _encoder_config(options, picture_size, num_bands)
        self.encoder: PictureEncoder | SoundEncoder
        if isinstance(encoder, PictureEncoderConfig):
            self.encoder = PictureEncoder(encoder)
        else:
            self.encoder = SoundEncoder(encoder)
        size = encoder.memory_size
        config = DecoderConfig(
            vocabulary_size,
            summary_size=size if options.summary else 1,
            layer=options,
            embedding_size=options.embedding_size,
            attention=options.attention,
            memory_size=None if options.attention == "none" else size,
        )
        self.decoder = Decoder(config)

    def start(self, media: Tensor, lengths: Tensor | None = None) -> DecoderState:
        """Return the decoder's state before the first word: `decoder.step` goes on from it.

        Args:
            media: Pictures, (B, 3, S, S) uint8; or log-mel frames, (B, T, K), scaled.
            lengths: (B,), the frames of each recording, all T if None; for pictures None.

        Raises:
            ShapeError: Another shape.
        """
        steps: Tensor | None = None
        if isinstance(self.encoder, PictureEncoder):
            memory, summary = self.encoder(media)
        else:
            if lengths is None:
                lengths = torch.full((media.shape[0],), media.shape[1], device=media.device)
            memory, steps, summary = self.encoder(media, lengths)
        if not self.options.summary:
            summary = summary.new_zeros(summary.shape[0], 1)
        if self.options.attention == "none":
            return self.decoder.start(summary)
        return self.decoder.start(summary, memory, steps)

    def forward(
        self, media: Tensor, words: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Score what comes next after each word of captions that are known.

        Args:
            media: What `start` takes.
            words: (B, T) int64, the mark of the beginning first.
            lengths: What `start` takes.

        Returns:
            The scores (unnormalised log probabilities), (B, T, V), and the weights of attention,
            (B, T, P) over the places of the grid or (B, T, S) over the steps; None without.

        Raises:
            ShapeError: Another shape.
        """
        scores, _, weights = self.decoder(words, self.start(media, lengths))
        return scores, weights
