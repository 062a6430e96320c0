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

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.errors import OptionError
from unrolled.layers.options import check_sizes
from unrolled.networks.decoder import Decoder, DecoderConfig, DecoderState
from unrolled.tasks.caption.picture_encoder import PictureEncoder, PictureEncoderConfig
from unrolled.tasks.caption.sound_encoder import SoundEncoder, SoundEncoderConfig

__all__ = ["Captioner", "CaptionerConfig"]


@dataclass(frozen=True)
class CaptionerConfig:
    """What it takes to build a `Captioner`, all of it plain values.

    Args:
        vocabulary_size: V, how many different words there are.
        picture_size: S, pixels of each side, for pictures.
        num_bands: K, features of each log-mel frame, for recordings.
        attention: How the memory is attended to: "additive", "multiplicative" or "none".
        summary: Whether the summary gives the initial state.
        cell: The layer's name, one of `models.sequence_layers.CELLS`: the decoder's, and that of
            the encoder of recordings.
        hidden_size: H, units of these layers.
        num_layers: Layers one above the other in the decoder.
        encoder_layers: In the encoder of recordings; as many as in the decoder if None.
        bidirectional: Whether recordings are also read from their end.
        frames_per_step: Frames that the encoder of recordings reads in one step.
        channels: Of the first stage of the encoder of pictures.
        embedding_size: E, features that are learned for each word.
        dropout: Probability that a value is zeroed in training, in encoder and decoder.
        kernel_size: Taps of a convolution, for tcn and conv only.

    Raises:
        OptionError: Pictures and recordings, or neither; no way from encoder to decoder; what the
            parts refuse.
    """

    vocabulary_size: int
    picture_size: int | None = None
    num_bands: int | None = None
    attention: str = "additive"
    summary: bool = True
    cell: str = "lstm"
    hidden_size: int = 128
    num_layers: int = 1
    encoder_layers: int | None = None
    bidirectional: bool = True
    frames_per_step: int = 3
    channels: int = 32
    embedding_size: int = 64
    dropout: float = 0.0
    kernel_size: int | None = None

    def __post_init__(self) -> None:
        where = "CaptionerConfig"
        if (self.picture_size is None) == (self.num_bands is None):
            got = f"{self.picture_size} and {self.num_bands}"
            message = f"{where}: either picture_size or num_bands must be given, got {got}"
            raise OptionError(message, "a captioner is for pictures or for recordings")
        if self.attention == "none" and not self.summary:
            message = "without attention and without a summary nothing reaches the decoder"
            raise OptionError(f"{where}: {message}", "allow one of the two")
        if self.encoder_layers is not None:
            check_sizes(where, {"encoder_layers": self.encoder_layers})
        self.decoder()  # refuses what it cannot be built from

    def encoder(self) -> PictureEncoderConfig | SoundEncoderConfig:
        """Return the encoder's part."""
        if self.picture_size is not None:
            return PictureEncoderConfig(self.picture_size, self.channels, self.dropout)
        assert self.num_bands is not None
        return SoundEncoderConfig(
            num_bands=self.num_bands,
            frames_per_step=self.frames_per_step,
            cell=self.cell,
            hidden_size=self.hidden_size,
            num_layers=self.encoder_layers or self.num_layers,
            bidirectional=self.bidirectional,
            dropout=self.dropout,
            kernel_size=self.kernel_size,
        )

    def decoder(self) -> DecoderConfig:
        """Return the decoder's part."""
        memory_size = self.encoder().memory_size
        return DecoderConfig(
            vocabulary_size=self.vocabulary_size,
            summary_size=memory_size if self.summary else 1,
            memory_size=None if self.attention == "none" else memory_size,
            attention=self.attention,
            cell=self.cell,
            embedding_size=self.embedding_size,
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            dropout=self.dropout,
            kernel_size=self.kernel_size,
        )


class Captioner(nn.Module):
    """Words for a picture or a recording.

        memory, summary = encoder(media)
        scores of word t + 1 = decoder(words up to t, memory, summary)

    Without the summary the decoder starts from a state that is learned, the same for all media.

    Args:
        config: The sizes, the cell, and how encoder and decoder are connected.

    Example:
        >>> config = CaptionerConfig(vocabulary_size=9, num_bands=40, hidden_size=8)
        >>> captioner = Captioner(config)
        >>> frames, lengths = torch.zeros(2, 10, 40), torch.tensor([10, 4])
        >>> scores, weights = captioner(frames, torch.tensor([[1, 5, 3], [1, 4, 2]]), lengths)
        >>> scores.shape, weights.shape
        (torch.Size([2, 3, 9]), torch.Size([2, 3, 4]))
    """

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        self.config = config
        encoder = config.encoder()
        self.encoder: PictureEncoder | SoundEncoder
        if isinstance(encoder, PictureEncoderConfig):
            self.encoder = PictureEncoder(encoder)
        else:
            self.encoder = SoundEncoder(encoder)
        self.decoder = Decoder(config.decoder())

    @property
    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.parameters())

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
                lengths = torch.full((len(media),), media.shape[1], device=media.device)
            memory, steps, summary = self.encoder(media, lengths)
        if not self.config.summary:
            summary = summary.new_zeros(len(summary), 1)
        if self.config.attention == "none":
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
