"""Train the behaviour agent whose snapshots `obd collect` later replays (development only).

The built-in datasets follow D4RL's recipe (Fu et al., arXiv 2004.07219): they are what a soft actor-critic
agent (Haarnoja et al., arXiv 1801.01290) produced while it learned.  This command trains such an agent once
with stable-baselines3 or, twice as fast on a CPU, its JAX version sbx; it keeps the actor every ``--every``
environment steps and stops at a "medium" level.  The result is one safetensors file in ``assets/behaviour/``; users
never need to run this.

    pip install stable-baselines3            # or, for --library sbx: sbx-rl
    python -m obd.data.train_behaviour --env HalfCheetah-v5 --seed 1 --stop-at 48 \
        --out assets/behaviour/halfcheetah.safetensors

A long training can be cut afterwards, into what the agent was on its way to medium and the best it became:

    python -m obd.data.train_behaviour --env Hopper-v5 --steps 300000 --stop-at 110 --keep 1000 --out long.safetensors
    python -m obd.data.train_behaviour --cut long.safetensors --last 60000 --out assets/behaviour/hopper.safetensors
    python -m obd.data.train_behaviour --cut long.safetensors --first 290000 --last 290000 --out ...
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from obd.data.reference import REFERENCE_RETURNS


def actor_tensors(policy: Any) -> dict[str, torch.Tensor]:
    """The linear layers of a SAC actor of stable-baselines3 or sbx, in order; the last one holds (mean, log_std)."""
    if hasattr(policy, "actor_state"):  # flax: kernels are (in, out), the last two layers are mean and log_std
        dense = policy.actor_state.params["params"]
        arrays = [(np.array(dense[name]["kernel"]).T, np.array(dense[name]["bias"])) for name in sorted(dense)]
        head = tuple(np.concatenate(parts) for parts in zip(*arrays[-2:], strict=True))
        return {
            f"actor.{index}.{name}": torch.from_numpy(np.ascontiguousarray(array)).half()
            for index, layer in enumerate([*arrays[:-2], head])
            for name, array in zip(("weight", "bias"), layer, strict=True)
        }
    hidden = [module for module in policy.actor.latent_pi if isinstance(module, torch.nn.Linear)]
    mu, log_std = policy.actor.mu, policy.actor.log_std
    layers: list[tuple[torch.Tensor, torch.Tensor]] = [(m.weight, m.bias) for m in hidden]
    layers.append((torch.cat([mu.weight, log_std.weight]), torch.cat([mu.bias, log_std.bias])))
    tensors = {}
    for index, (weight, bias) in enumerate(layers):
        tensors[f"actor.{index}.weight"] = weight.detach().clone().half()
        tensors[f"actor.{index}.bias"] = bias.detach().clone().half()
    return tensors


def mean_return(model: Any, env: gym.Env[Any, Any], episodes: int) -> float:
    """Mean undiscounted return of the deterministic policy."""
    returns = []
    for episode in range(episodes):
        observation, _ = env.reset(seed=10_000 + episode)
        total, done = 0.0, False
        while not done:
            action, _ = model.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            total += float(reward)
            done = terminated or truncated
        returns.append(total)
    return float(np.mean(returns))


def thin(count: int, keep: int) -> list[int]:
    """Indices of at most ``keep`` snapshots, evenly spread, first and last included."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(keep, count))})


def save_snapshots(path: Path, snapshots: list[dict[str, Any]], keep: int, metadata: dict[str, str]) -> None:
    """Write the kept snapshots to ``path`` atomically as half-precision safetensors."""
    chosen = [snapshots[i] for i in thin(len(snapshots), keep)]
    tensors = {
        f"snapshot.{index:02d}.{name}": tensor
        for index, snapshot in enumerate(chosen)
        for name, tensor in snapshot["tensors"].items()
    }
    metadata = metadata | {
        "snapshots": json.dumps([{"step": s["step"], "return": round(s["return"], 1)} for s in chosen])
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, metadata=metadata)
    os.replace(temporary, path)


def cut(source: Path, first: int, last: int, keep: int, target: Path) -> int:
    """Write those snapshots of ``source`` that were taken from step ``first`` to ``last``; returns how many."""
    with safe_open(str(source), framework="pt") as file:
        metadata = file.metadata()
        described = json.loads(metadata.pop("snapshots"))
        snapshots = [
            entry
            | {"tensors": {name[len(start) :]: file.get_tensor(name) for name in file.keys() if name.startswith(start)}}  # noqa: SIM118
            for entry, start in ((entry, f"snapshot.{index:02d}.") for index, entry in enumerate(described))
            if first <= entry["step"] <= last
        ]
    if not snapshots:
        raise SystemExit(f"{source} has no snapshot between the steps {first} and {last}.")
    metadata["command"] = metadata.get("command", "") + f"; --cut --first {first} --last {last} --keep {keep}"
    save_snapshots(target, snapshots, keep, metadata)
    return len(thin(len(snapshots), keep))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m obd.data.train_behaviour", description=__doc__)
    parser.add_argument("--env", default="HalfCheetah-v5", choices=sorted(REFERENCE_RETURNS))
    parser.add_argument("--library", default="stable_baselines3", choices=("stable_baselines3", "sbx"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=400_000, help="stop here at the latest")
    parser.add_argument("--stop-at", type=float, default=48.0, help="normalised return (0-100) that ends training")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--every", type=int, default=5_000, help="environment steps between snapshots")
    parser.add_argument("--keep", type=int, default=18, help="snapshots kept in the file")
    parser.add_argument("--cut", type=Path, help="take the snapshots of this file instead of training")
    parser.add_argument("--first", type=int, default=0, help="with --cut: from this step")
    parser.add_argument("--last", type=int, default=10**9, help="with --cut: up to this step")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    if arguments.cut:
        kept = cut(arguments.cut, arguments.first, arguments.last, arguments.keep, arguments.out)
        print(f"{arguments.out}: {kept} snapshots")
        return 0
    try:
        from stable_baselines3.common.callbacks import BaseCallback

        SAC = importlib.import_module(arguments.library).SAC
    except ImportError:
        package = "sbx-rl" if arguments.library == "sbx" else "stable-baselines3"
        print(f"{package} is needed: pip install {package}", file=sys.stderr)
        return 2

    torch.set_num_threads(1)
    mujoco.set_mju_user_warning(lambda _message: None)  # the model warns into MUJOCO_LOG.TXT on every make
    low, high = REFERENCE_RETURNS[arguments.env]
    metadata = {
        "format": "obd-behaviour-1",
        "env_id": arguments.env,
        "algorithm": "sac",
        "actor_head": "tanh_gaussian",
        "command": "python -m obd.data.train_behaviour "
        f"--library {arguments.library} --env {arguments.env} --seed {arguments.seed} --stop-at {arguments.stop_at:g} "
        f"--batch-size {arguments.batch_size} --learning-rate {arguments.learning_rate:g} "
        f"--every {arguments.every} --keep {arguments.keep}",
    }
    snapshots: list[dict[str, Any]] = []
    start = time.monotonic()
    evaluation_env = gym.make(arguments.env)

    class Snapshots(BaseCallback):
        def take(self) -> float:
            value = mean_return(self.model, evaluation_env, episodes=2)
            level = 100 * (value - low) / (high - low)
            snapshots.append({"step": self.num_timesteps, "return": value, "tensors": actor_tensors(self.model.policy)})
            save_snapshots(arguments.out, snapshots, arguments.keep, metadata)
            elapsed = time.monotonic() - start
            print(f"{self.num_timesteps:>8} steps {elapsed:6.0f} s  return {value:8.1f}  = {level:5.1f}", flush=True)
            return level

        def _on_training_start(self) -> None:
            self.take()

        def _on_step(self) -> bool:
            if self.num_timesteps % arguments.every:
                return True
            return bool(self.take() < arguments.stop_at)

    model = SAC(
        "MlpPolicy",
        gym.make(arguments.env),
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        learning_starts=5_000,
        device="auto" if arguments.library == "sbx" else "cpu",
    )
    model.learn(arguments.steps, callback=Snapshots())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
