"""sb3-contrib: the recurrent policy of RecurrentPPO, in rollouts and updates. Random weights."""

import gymnasium
import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.type_aliases import RNNStates

REQUIRES = ["sb3-contrib==2.9.2"]
TESTS = ["tests/test_lstm.py", "-k", "not performance"]
ROWS = 128  # of an update


def make():
    """Return the policy for CartPole with its defaults: an actor and a critic, 256 units each."""
    agent = RecurrentPPO("MlpLstmPolicy", gymnasium.make("CartPole-v1"), seed=0, device="cpu")
    return agent.policy


def states(rows):
    """Return zeros for actor and critic."""
    return RNNStates(*((torch.zeros(1, rows, 256),) * 2,) * 2)


def call(model):
    """Make 64 steps of a rollout in one environment."""
    generator = torch.Generator().manual_seed(1)
    before, says, start = states(1), [], torch.ones(1)
    for _ in range(64):
        observation = torch.randn(1, 4, generator=generator)
        _, value, log_probability, before = model(observation, before, start, deterministic=True)
        says += [value, log_probability]
        start = torch.zeros(1)
    return torch.cat([one.flatten() for one in says])


def loss(model):
    """Return a loss of one update: 128 steps of rollouts, with beginnings among them."""
    generator = torch.Generator().manual_seed(2)
    observations = torch.randn(ROWS, 4, generator=generator)
    starts = (torch.rand(ROWS, generator=generator) < 0.05).float()
    actions = torch.randint(2, (ROWS,), generator=generator)
    values, log_probabilities, entropy = model.evaluate_actions(
        observations, actions, states(4), starts
    )
    return values.square().mean() - log_probabilities.mean() - 0.01 * entropy.mean()
