"""A recurrent layer that writes: between an embedding and scores, a token at a time."""

from torch import Tensor, nn

from unrolled.kernels import Writer, writer_of
from unrolled.layers.recurrent_layer import RecurrentLayer

__all__ = ["make_writer", "written_weights"]


def make_writer(
    layer: RecurrentLayer, embedding: nn.Embedding | None, scores: nn.Linear, batch_size: int
) -> Writer | None:
    """Return what reads a token for each of B texts and draws the next, in one call.

    Args:
        layer: What reads; its dropout is left out.
        embedding: What it reads for each token; None: one-hot.
        scores: Of the next token, from the layer's output.
        batch_size: B.

    Returns:
        The writer, which serves as long as `written_weights` are its own; or None where more is to
        be done than it does.
    """
    if layer.bidirectional or written_weights(layer, embedding, scores) is None:
        return None
    width = scores.out_features if embedding is None else embedding.embedding_dim
    if (layer.input_size, layer.output_size) != (width, scores.in_features):
        return None
    if embedding is not None and embedding.num_embeddings < scores.out_features:
        return None  # a token may be drawn that cannot be read
    stepper = layer.plain_stepper(batch_size)
    table = None if embedding is None else embedding.weight
    return None if stepper is None else writer_of(stepper, table, scores.weight, scores.bias)


def written_weights(
    layer: RecurrentLayer, embedding: nn.Embedding | None, scores: nn.Linear
) -> list[Tensor] | None:
    """Return all weights that a writer reads, in its order; asked before each token.

    None where more is to be done than to compute with them: hooks, parametrised weights, an
    embedding that changes what it reads.
    """
    of_layer = layer.plain_weights()
    if type(layer).forward is not RecurrentLayer.forward or type(scores) is not nn.Linear:
        return None  # of somebody's own
    if of_layer is None or scores._forward_hooks or scores._forward_pre_hooks:
        return None
    weights: list[Tensor | None] = [*of_layer]
    if embedding is not None:
        if type(embedding) is not nn.Embedding:
            return None
        if embedding._forward_hooks or embedding._forward_pre_hooks or embedding.max_norm:
            return None
        weights.append(embedding._parameters.get("weight"))
    weights.append(scores._parameters.get("weight"))
    if (bias := scores._parameters.get("bias")) is not None:
        weights.append(bias)
    present = [weight for weight in weights if weight is not None]
    return present if len(present) == len(weights) else None
