"""Run by torchrun as `unrolled train` is: argv[1] is a text, argv[2] the run; kills itself.

argv[3] has a line for every update at which a process is still to be killed: "rank update".
"""

import os
import signal
import sys
from pathlib import Path

import torch
from distributed_worker import prepare

from unrolled.training import initialize_distributed


def main(text_path: Path, run_path: Path, kills_path: Path) -> None:
    with initialize_distributed() as processes:
        if processes.rank > 0:  # another computer, with a disk of its own
            os.chdir(kills_path.parent)
        trainer = prepare(text_path, run_path, processes)
        next_loss = trainer.objective.next_loss

        def dying(model):
            kills = kills_path.read_text().splitlines()
            if kills and kills[0] == f"{processes.rank} {trainer.progress.update}":
                kills_path.write_text("\n".join(kills[1:]))
                os.kill(os.getpid(), signal.SIGKILL)
            return next_loss(model)

        trainer.objective.next_loss = dying
        trainer.fit()


if __name__ == "__main__":
    sys.modules["torch.utils.tensorboard"] = None  # slow to import
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    main(*map(Path, sys.argv[1:]))
