r"""Tables of spoken digit sequences for `unrolled train caption`, from a set of single digits.

The recordings are those of the Free Spoken Digit Dataset (github.com/Jakobovski).

    python benchmarks/digit_sequences.py fsdd/recordings digits
    unrolled train caption digits/training.tsv --media recordings --text words \
        --held-out-file digits/held-out.tsv --test-file digits/test.tsv

A sequence is 1 to 5 recordings of one speaker, one after the other; speakers and lengths take
turns. The parts share no recording: those numbered 0-4 are the test, as the data set says, 5-9 are
held out, 10-49 are learned from.
"""

import argparse
import random
from itertools import product
from pathlib import Path

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PARTS = {"test": range(5), "held-out": range(5, 10), "training": range(10, 50)}


def write_table(path: Path, recordings: Path, numbers: range, num_rows: int, seed: int) -> None:
    chance = random.Random(f"{seed}-{path.stem}")
    speakers = sorted({file.stem.split("_")[1] for file in recordings.glob("*_*_*.wav")})
    assert speakers, f"no recordings DIGIT_SPEAKER_NUMBER.wav in {recordings}"
    rows = ["speaker\trecordings\twords"]
    for row in range(num_rows):
        speaker, length = speakers[row % len(speakers)], 1 + row // len(speakers) % 5
        chosen = chance.sample(list(product(range(10), numbers)), length)
        files = [recordings.resolve() / f"{d}_{speaker}_{n}.wav" for d, n in chosen]
        words = " ".join(WORDS[digit] for digit, _ in chosen)
        rows.append(f"{speaker}\t{';'.join(map(str, files))}\t{words}")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", type=Path, help="the folder with 0_george_0.wav ...")
    parser.add_argument("tables", type=Path, help="the folder to write training.tsv ... into")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.tables.mkdir(parents=True, exist_ok=True)
    for name, num_rows in (("training", 6000), ("held-out", 300), ("test", 600)):
        path = options.tables / f"{name}.tsv"
        write_table(path, options.recordings, PARTS[name], num_rows, options.seed)
        print(f"{path}: {num_rows:,} sequences")


if __name__ == "__main__":
    main()
