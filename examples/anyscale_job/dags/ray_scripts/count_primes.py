"""Counts prime numbers with Ray: as many tasks as there are parts, on as many machines as Anyscale gives it."""

from __future__ import annotations

import sys

import ray

PARTS = 8


@ray.remote
def count(begin: int, end: int) -> int:
    """How many prime numbers there are from ``begin`` up to, but without, ``end``."""
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(max(2, begin), end))


def main() -> None:
    """The first argument is the end of the range."""
    end = int(sys.argv[1])
    ray.init()
    step = -(-end // PARTS)
    found = ray.get([count.remote(begin, min(begin + step, end)) for begin in range(0, end, step)])
    for part, number in enumerate(found):
        print(f"part {part}: {number} prime numbers")
    print(f"below {end} there are {sum(found)} prime numbers; Ray {ray.__version__}, {len(ray.nodes())} node(s)")


if __name__ == "__main__":
    main()
