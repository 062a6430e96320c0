import torch
from torch import nn

from unrolled.training import ExamplesObjective


class Modes:
    """A learner that notes in which mode it is asked to measure."""

    def length(self, example: int) -> int:
        return example

    def epoch(self, training: list[int], number: int) -> list[int]:  # noqa: ARG002
        return training

    def loss(self, model: nn.Module, examples: list[int]):
        return model(torch.ones(1)).sum(), len(examples)

    def monitor(self, model: nn.Module, examples: list[int]) -> dict[str, float]:  # noqa: ARG002
        return {"loss": float(any(module.training for module in model.modules()))}


def test_held_out_examples_are_measured_in_eval_mode_and_training_goes_on() -> None:
    objective = ExamplesObjective(Modes(), [1, 2], [3], terms="numbers", batch_size=1, seed=0)
    model = nn.Sequential(nn.Dropout(0.5))
    assert objective.evaluate(model) == {"loss": 0.0}
    assert model[0].training
    assert objective.evaluate(model.eval()) == {"loss": 0.0}
    assert not model[0].training
    assert objective.counted == ("numbers", 1.0)
