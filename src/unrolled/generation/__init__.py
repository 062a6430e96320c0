"""Making new sequences from a trained model, one symbol after another."""

from unrolled.generation.sampling import default_prompt, filter_scores, generate

__all__ = ["default_prompt", "filter_scores", "generate"]
