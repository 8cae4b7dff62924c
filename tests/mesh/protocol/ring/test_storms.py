"""Random schedules of join, leave, kill, freeze, cut and heal, by seed.

Whenever faults stop there is one ring, nobody missing, all receipts in, nothing delivered twice.
"""

from __future__ import annotations

import time
from math import inf
from random import Random

import pytest

from mesh.protocol.ring import RingSettings
from tests.helpers.ring_sim import Sim, names, storm

SIZES = (1, 2, 3, 5, 8)

FOUND = [
    6,  # a member that left was dialled in vain by its new predecessor, and waited for its receipts
    94,  # the same again
    7,  # the newer one of two connections of a predecessor was lost, and the older one was of no use
    12,  # the same again
    100851,  # what a slow wire still held was handled when all was calm: a mistake of this test
    12510,  # an old copy was delivered that had been settled before its taker came
    1152,  # a copy that waited went on with the names of a trip in another order, and was dropped
    1138,  # a copy that waited at a slow member went on with the base of long ago
]
"""Seeds that have failed once.

Other pauses make another schedule of a seed. So the last three, which were found with longer ones, may show
nothing of it any more; ``test_lane.py`` has each of those three mistakes as a test of its own.
"""


def run(seed: int) -> None:
    random = Random(seed)
    size = random.choice(SIZES)
    settings = RingSettings(
        room=random.choice((1, 8, 64, 256)),
        window=random.choice((8, 1024)),
        resend=random.choice((inf, inf, 3.0)),
    )
    sim = Sim(names(size), seed, settings=settings)
    done: object = "nothing yet"
    try:
        done = storm(sim)
        if seed % 2 or not sim.living:  # else those that are left have to manage by themselves
            for name in sim.members:
                if name not in [one.name for one in sim.living]:
                    sim.start(name)
        sim.check_calm()
        for one in sim.all:
            assert not one.failed, f"{one.incarnation}: {one.failed}"
    except AssertionError as exc:
        exc.add_note(f"seed {seed}; done: {done}")
        raise


@pytest.mark.source("A20")
@pytest.mark.parametrize("seed", FOUND)
def test_a_seed_that_has_failed_once(seed: int) -> None:
    run(seed)


@pytest.mark.source("A20")
@pytest.mark.parametrize("begin", range(1000, 1200, 20))
def test_when_faults_stop_there_is_one_ring_and_nothing_is_owed(begin: int) -> None:
    for seed in range(begin, begin + 20):
        run(seed)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_thousands_of_storms(soak_seconds: float) -> None:
    begin, seed = time.monotonic(), 100_000
    while time.monotonic() - begin < soak_seconds:
        run(seed)
        seed += 1
    print(f"{seed - 100_000} storms")
    assert seed > 100_000
