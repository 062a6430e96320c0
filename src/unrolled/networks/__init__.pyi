from .attention import AdditiveAttention, Attention, Memory, MultiplicativeAttention
from .beam import BeamOptions, Hypothesis, beam_options, beam_search, greedy_search
from .both_directions import BothDirections
from .budget import count_parameters, hidden_size_for
from .decoder import Decoder, DecoderConfig, DecoderState, word_loss
from .devices import available_devices, device_of, find_device, moved
from .memoryless import Conv, Dense
from .modes import evaluating
from .options import BidirectionalOptions, GenerateOptions, LayerOptions, SearchOptions
from .sequence_layers import LAYERS, LayerKind, find_layer, layer_for_tasks, make_layer
from .token_model import TokenModel
from .word_search import known_words, search_words

__all__ = [
    "LAYERS",
    "AdditiveAttention",
    "Attention",
    "BeamOptions",
    "BidirectionalOptions",
    "BothDirections",
    "Conv",
    "Decoder",
    "DecoderConfig",
    "DecoderState",
    "Dense",
    "GenerateOptions",
    "Hypothesis",
    "LayerKind",
    "LayerOptions",
    "Memory",
    "MultiplicativeAttention",
    "SearchOptions",
    "TokenModel",
    "available_devices",
    "beam_options",
    "beam_search",
    "count_parameters",
    "device_of",
    "evaluating",
    "find_device",
    "find_layer",
    "greedy_search",
    "hidden_size_for",
    "known_words",
    "layer_for_tasks",
    "make_layer",
    "moved",
    "search_words",
    "word_loss",
]
