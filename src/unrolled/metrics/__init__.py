"""What a prediction is worth, one measure a file. Knows nothing of models."""

__all__: list[str] = []
