r"""The encoder-decoder: reads a whole sequence, then writes another one of any length.

The network unrolled over "it rains" -> "il pleut":

                   memory                            il     pleut    END
           +----------+----------+                   ^        ^       ^
           |          |          |  <- attention -  decoder: see networks/decoder.py
           |          |          |                   ^        ^       ^
        [h_1]-->   [h_2]-->   [h_3]--- summary -> BEGIN      il     pleut
         <--[ ]     <--[ ]     <--[ ]                             (in training the right words,
           ^          ^          ^                                 then those it has chosen)
        embedding embedding  embedding
           ^          ^          ^
          it        rains       END

The encoder reads in both directions or in one. Its outputs are the memory, and its last output in
each direction is the summary that starts the decoder. Cells that see a window only (tcn, conv,
dense) have no output that has read everything: their summary is the mean over all steps.

Without attention the summary is all that the decoder knows of the source (Sutskever et al. 2014).
"""

import torch
from torch import Tensor, nn

from unrolled.errors import ShapeError
from unrolled.layers import RecurrentLayer, check_lengths, check_sizes
from unrolled.networks.decoder import Decoder, DecoderConfig, DecoderState
from unrolled.networks.embedding import TokenEmbedding
from unrolled.networks.sequence_layers import make_layer
from unrolled.tasks.translate.options import ModelOptions

__all__ = ["Encoder", "EncoderDecoder"]


class Encoder(nn.Module):
    """Embedding and layers over a source: its memory at every step, and a summary of it all.

    Args:
        options: Of the whole model.
        source_size: How many different tokens are read.
        vectors_width: Numbers of each vector that the embedding begins with; None without.
    """

    def __init__(self, options: ModelOptions, source_size: int, vectors_width: int | None) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(options, source_size, vectors_width)
        self.dropout = nn.Dropout(options.dropout)
        self.bidirectional = options.reads_both_ways
        size = self.embedding.output_size
        self.layer = make_layer(options, size, bidirectional=self.bidirectional)

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the memory, (B, S, M), and the summary, (B, M).

        Args:
            source: (B, S) int64.
            lengths: (B,), the tokens of each row, 1..S.

        Raises:
            ShapeError: A source that is not (B, S) int64, a row without a token.
        """
        if source.dtype != torch.int64 or source.dim() != 2:
            got = f"{tuple(source.shape)} {source.dtype}"
            raise ShapeError(f"Encoder: source must be (B, S) torch.int64, got {got}")
        batch_size, num_steps = source.shape
        lengths = check_lengths("Encoder", lengths, num_steps, batch_size, source.device)
        if not torch.compiler.is_compiling() and bool((lengths == 0).any()):
            message = f"Encoder: row {int(lengths.argmin())} of the source has no token"
            raise ShapeError(message, "leave it out, or end each row with an end mark")
        memory, _ = self.layer(self.dropout(self.embedding(source)), lengths=lengths)
        if not isinstance(self.layer, RecurrentLayer):
            return memory, memory.sum(1) / lengths[:, None]  # past the end it is zero
        rows = torch.arange(batch_size, device=source.device)
        if not self.bidirectional:
            return memory, memory[rows, lengths - 1]
        size = memory.shape[2] // 2
        both = memory[rows, lengths - 1, :size], memory[:, 0, size:]
        return memory, torch.cat(both, dim=1)


class EncoderDecoder(nn.Module):
    """A model of one sequence given another: p(w_1 ... w_T | source), word by word.

    Args:
        options: What it is made of, without a delay.
        source_size: How many different tokens are read.
        target_size: V, how many different tokens are written.
        vectors_width: Numbers of each vector that the encoder's embedding begins with; None
            without.
        accumulate: Calls of `forward` in training that make one update.

    Raises:
        OptionError: A size below 1.

    Source:
        Cho et al. (2014); Sutskever, Vinyals and Le (2014); with attention: Bahdanau, Cho and
        Bengio (2015); the decoder: Luong, Pham and Manning (2015); sampling: Bengio et al. (2015),
        "Scheduled sampling for sequence prediction", section 2.4, with the linear schedule.

    Example:
        >>> options = ModelOptions(hidden_size=4)
        >>> model = EncoderDecoder(options, source_size=9, target_size=8)
        >>> source, lengths = torch.tensor([[3, 4, 2], [5, 2, 0]]), torch.tensor([3, 2])
        >>> scores, weights = model(source, lengths, torch.tensor([[1, 5], [1, 6]]))
        >>> scores.shape, weights.shape
        (torch.Size([2, 2, 8]), torch.Size([2, 2, 3]))
    """

    num_updates: Tensor

    def __init__(
        self,
        options: ModelOptions,
        *,
        source_size: int,
        target_size: int,
        vectors_width: int | None = None,
        accumulate: int = 1,
    ) -> None:
        super().__init__()
        self.accumulate = accumulate
        check_sizes("EncoderDecoder", {"source_size": source_size, "target_size": target_size})
        self.options = options
        self.encoder = Encoder(options, source_size, vectors_width)
        memory_size = options.hidden_size * (2 if options.reads_both_ways else 1)
        config = DecoderConfig(
            target_size,
            summary_size=memory_size,
            layer=options,
            embedding_size=options.own_embedding_size,
            attention=options.attends,
            memory_size=None if options.attends == "none" else memory_size,
        )
        self.decoder = Decoder(config)
        if options.sampling:
            self.register_buffer("num_updates", torch.zeros((), dtype=torch.int64))

    def start(self, source: Tensor, lengths: Tensor) -> DecoderState:
        """Read the source, (B, S) int64 of `lengths` (B,); return the decoder's first state."""
        memory, summary = self.encoder(source, lengths)
        if self.decoder.attention is None:
            return self.decoder.start(summary)
        return self.decoder.start(summary, memory, lengths)

    def forward(
        self, source: Tensor, lengths: Tensor, words: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Score what comes next after each word of a known target.

        In training with `sampling`, some of the words read are the model's own instead.

        Args:
            source: (B, S) int64.
            lengths: (B,), the tokens of each row of the source, 1..S.
            words: (B, T) int64, the target behind the mark of the beginning.

        Returns:
            The scores, (B, T, V), and the weights of attention, (B, T, S), None without.

        Raises:
            ShapeError: Another shape or type, a source without a token.
        """
        state = self.start(source, lengths)
        if self.training and self.options.sampling:
            return self._sample(words, state)
        scores, _, weights = self.decoder(words, state)
        return scores, weights

    def _sample(self, words: Tensor, state: DecoderState) -> tuple[Tensor, Tensor | None]:
        """Do `forward` word by word, some of them drawn from the scores of the step before."""
        num_updates = self.num_updates.item() // self.accumulate
        done = min(1.0, num_updates / self.options.sampling_updates)
        self.num_updates += 1
        own = torch.rand(words.shape, device=words.device) < self.options.sampling * done
        own[:, 0] = False  # the beginning is given
        all_scores: list[Tensor] = []
        all_weights: list[Tensor] = []
        for step, word in enumerate(words.T):
            if own[:, step].any():
                drawn = all_scores[-1][:, 0].detach().softmax(-1).multinomial(1).squeeze(1)
                word = torch.where(own[:, step], drawn, word)
            scores, state, weights = self.decoder(word[:, None], state)
            all_scores.append(scores)
            if weights is not None:
                all_weights.append(weights)
        return torch.cat(all_scores, 1), torch.cat(all_weights, 1) if all_weights else None
