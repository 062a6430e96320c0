"""How fast a language model writes: one call a token against what `generate` did before, in turns.

    python benchmarks/bench_generate.py --hidden-size 512 --texts 64 --threads 1

Before: the model as a module, a token and a state at a time, scores filtered in double precision
and drawn by torch.multinomial. Then where a token's time goes: the layers' step by `Stream.step`,
the embedding and the scores by torch, the draw by torch.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import unrolled
from unrolled.benchmark.machine import available_cores, load, processor, versions
from unrolled.data import CharVocabulary
from unrolled.kernels import WeightCache, caching_weights
from unrolled.layers import State
from unrolled.networks import GenerateOptions, LayerOptions, evaluating
from unrolled.tasks.lm.drawing import Drawing, filter_scores

NUM_CHARACTERS = 65  # as many as tinyshakespeare has


@torch.inference_mode()
def read(model: nn.Module, tokens: Tensor, state: State | None) -> tuple[Tensor, State]:
    """Read as `generate` did before."""
    with evaluating(model):
        scores, state = model(tokens.unsqueeze(0), state)
    return scores[0, -1].cpu(), state


def times_before(model: nn.Module, prompt: Tensor, count: int) -> list[float]:
    """Return the seconds of each token of one text, as it was before."""
    generator, cache, times = torch.Generator().manual_seed(0), WeightCache(), []
    token, state = prompt, None
    for _ in range(count):
        start = time.perf_counter()
        with caching_weights(cache):
            scores, state = read(model, token, state)
        scores = filter_scores(scores, 1.0, None, None)
        token = torch.multinomial(scores.softmax(-1), 1, generator=generator)
        int(token)
        times.append(time.perf_counter() - start)
    return times[2:]


def times_now(
    model: unrolled.LanguageModel, prompt: Tensor, count: int, num_texts: int
) -> list[float]:
    """Return the seconds of each token, of all texts together."""
    drawing, times = Drawing(model, prompt, [GenerateOptions(seed=0)] * num_texts), []
    for number in range(count):
        start = time.perf_counter()
        drawing.token(0, number)
        times.append(time.perf_counter() - start)
    return times[2:]


def microseconds(times: list[float]) -> tuple[float, float]:
    """Return the median and the least."""
    return 1e6 * statistics.median(times), 1e6 * min(times)


def parts(model: unrolled.LanguageModel) -> dict[str, Callable[[], object]]:
    """Return what a token was made of, each to be called by itself."""
    stream = model.layer.stream(1)
    h, scores = torch.randn(1, stream._layer.output_size), torch.randn(NUM_CHARACTERS)
    token, x = torch.tensor([[5]]), torch.zeros(1, NUM_CHARACTERS)
    return {
        "one-hot": lambda: model.features(token),
        "step of the layer, Stream.step": lambda: stream.step(x),
        "scores": lambda: model.scores(h),
        "filter": lambda: filter_scores(scores, 1.0, None, None),
        "draw": lambda: torch.multinomial(scores.double().softmax(-1), 1),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in {"hidden-size": 512, "texts": 64, "tokens": 200, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cell", default="lstm")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    vocabulary = CharVocabulary.from_text("".join(map(chr, range(40, 40 + NUM_CHARACTERS))))
    layer = LayerOptions(cell=options.cell, hidden_size=options.hidden_size)
    model = unrolled.LanguageModel(layer, vocabulary_size=NUM_CHARACTERS).eval()
    prompt, count = vocabulary.encode("ABC"), options.tokens
    ways: dict[str, tuple[int, Callable[[], list[float]]]] = {
        "before, one text": (1, lambda: times_before(model, prompt, count)),
        "now, one text": (1, lambda: times_now(model, prompt, count, 1)),
        f"now, {options.texts} texts": (
            options.texts,
            lambda: times_now(model, prompt, count, options.texts),
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, (_, run) in ways.items():
            times[name] += run()
    version = versions(("torch",))["torch"]
    print(f"{processor()}, {available_cores()} cores, load {load()}, torch {version}")
    print(f"{options.cell}, H {options.hidden_size}, V {NUM_CHARACTERS}, {options.threads} threads")
    print(f"{'':28}{'median us':>10}{'least us':>10}{'tokens/s':>10}{'ratio':>8}{'of least':>10}")
    (base, base_least) = microseconds(times["before, one text"])
    for name, (num_texts, _) in ways.items():
        median, least = microseconds(times[name])
        ratio, of_least = num_texts * base / median, num_texts * base_least / least
        rate = 1e6 * num_texts / median
        print(f"{name:28}{median:10.0f}{least:10.0f}{rate:10.0f}{ratio:8.1f}{of_least:10.1f}")
    print("\nwhat a token was made of, us (median, least)")
    with torch.inference_mode():
        for name, run in parts(model).items():
            seconds = []
            for _ in range(20 * count):
                start = time.perf_counter()
                run()
                seconds.append(time.perf_counter() - start)
            median, least = microseconds(seconds)
            print(f"{name:32}{median:8.1f}{least:8.1f}")


if __name__ == "__main__":
    main()
