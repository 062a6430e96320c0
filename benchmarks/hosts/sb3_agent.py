"""RecurrentPPO of sb3-contrib learns its own small task, with `unrolled.accelerate` and without.

The task is that of its tests: CartPole without velocities, which asks for a memory; the agent is
the one of `test_ppo_lstm_performance`. Run by the Python of the environment that `run.py` makes for
`sb3_host`, one thread, one agent after another, in turns:

    PYTHONPATH=src ENVIRONMENT/bin/python benchmarks/hosts/sb3_agent.py --seeds 0 1 2 3 4 \
        --results benchmarks/results/recurrent-ppo.json

Printed and stored of each agent: seconds of the processor for `learn`, those of its rollouts and of
its updates, updates per second of all of it, and the mean reward of the episodes that ended in each
tenth of the steps. What is among the results is not learnt again.
"""

import argparse
import json
import statistics
import time
import warnings
from pathlib import Path

import gymnasium
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

import unrolled

POINTS = 10  # of a learning curve


class WithoutVelocities(gymnasium.ObservationWrapper):
    """CartPole's place and angle."""

    def __init__(self, environment):
        super().__init__(environment)
        space = environment.observation_space
        self.observation_space = gymnasium.spaces.Box(space.low[[0, 2]], space.high[[0, 2]])

    def observation(self, observation):
        """Leave the velocities out."""
        return observation[[0, 2]]


class Rewards(BaseCallback):
    """The rewards of the episodes that ended, and at which step."""

    def __init__(self):
        super().__init__()
        self.ended = []

    def _on_step(self):
        episodes = (info["episode"] for info in self.locals["infos"] if "episode" in info)
        self.ended += [(self.num_timesteps, float(episode["r"])) for episode in episodes]
        return True


def agent_of(seed, units):
    """Return the agent of sb3-contrib's own test, with as many units as are asked for."""
    environments = make_vec_env(
        lambda: WithoutVelocities(gymnasium.make("CartPole-v1")), n_envs=8, seed=seed
    )
    return RecurrentPPO(
        "MlpLstmPolicy",
        VecNormalize(environments),
        n_steps=128,
        learning_rate=0.0007,
        batch_size=256,
        seed=seed,
        n_epochs=10,
        max_grad_norm=1,
        gae_lambda=0.98,
        policy_kwargs={
            "net_arch": {"vf": [64], "pi": []},
            "lstm_hidden_size": units,
            "ortho_init": False,
            "enable_critic_lstm": True,
        },
        device="cpu",
    )


def timed(agent, name, seconds):
    """Make a method of the agent add up the processor's seconds that it takes."""
    method = getattr(agent, name)

    def with_clock(*arguments, **options):
        begin = time.process_time()
        try:
            return method(*arguments, **options)
        finally:
            seconds[name] = seconds.get(name, 0.0) + time.process_time() - begin

    setattr(agent, name, with_clock)


def learnt(seed, units, steps, accelerated):
    """Return the figures of one agent."""
    agent, rewards, seconds, updates = agent_of(seed, units), Rewards(), {}, []
    if accelerated:
        unrolled.accelerate(agent.policy)
    agent.policy.optimizer.register_step_post_hook(lambda *_: updates.append(1))
    for name in ("collect_rollouts", "train"):
        timed(agent, name, seconds)
    begin = time.process_time()
    agent.learn(steps, callback=rewards)
    total = time.process_time() - begin
    width = agent.num_timesteps / POINTS
    points = [[r for at, r in rewards.ended if (at - 1) // width == n] for n in range(POINTS)]
    return {
        "seed": seed,
        "units": units,
        "accelerated": accelerated,
        "steps": agent.num_timesteps,
        "updates": len(updates),
        "seconds": round(total, 2),
        "rollout_seconds": round(seconds["collect_rollouts"], 2),
        "update_seconds": round(seconds["train"], 2),
        "updates_per_second": round(len(updates) / total, 2),
        "curve": [round(statistics.mean(point), 1) if point else None for point in points],
    }


def main():
    """Let agents learn, with acceleration and without, in turns."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--results", type=Path)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    stored = chosen.results and chosen.results.exists()
    results = json.loads(chosen.results.read_text(encoding="utf-8")) if stored else []
    names = ("seed", "units", "accelerated")
    known = {tuple(result[name] for name in names) for result in results}
    for seed in chosen.seeds:
        for accelerated in (False, True):
            if (seed, chosen.units, accelerated) in known:
                continue
            results.append(learnt(seed, chosen.units, chosen.steps, accelerated))
            print(json.dumps(results[-1]), flush=True)
            if chosen.results:
                chosen.results.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
