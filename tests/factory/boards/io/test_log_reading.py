"""A board is asked again where that does no harm, and waited for where somebody reads on."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

import mesh
from factory.boards.following import Follower
from factory.boards.io.reading import follow, look

BROKEN = mesh.OutcomeUnknownError("uno", "the link broke")
AWAY = mesh.PeerDownError("uno", "ws://localhost:1", 3.0, "nobody listens there")


class Answering:
    """A peer whose answers, and errors, are known beforehand; when only one is left, it sets ``stop``."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.stop = asyncio.Event()

    async def request(self, value: object, channel: str) -> Any:
        answer = self.answers.pop(0)
        if len(self.answers) == 1:
            self.stop.set()
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def peer(self) -> mesh.Peer:
        return cast("mesh.Peer", self)


def told(made: int, *numbers: int, run: str = "a") -> dict[str, Any]:
    return {"made": made, "run": run, "missed": 0, "edges": [[n, 0.0, 13, "level", 1] for n in numbers]}


async def test_a_question_is_put_again_if_the_link_breaks() -> None:
    assert await look(Answering(BROKEN, BROKEN, "yes").peer, "", "pins") == "yes"


async def test_a_link_that_always_breaks_is_told_in_the_end() -> None:
    with pytest.raises(mesh.OutcomeUnknownError):
        await look(Answering(*[BROKEN] * 9).peer, "", "pins")


async def test_what_is_refused_is_not_asked_again() -> None:
    with pytest.raises(mesh.NackedError):
        await look(Answering(mesh.NackedError("uno", "Reject", "no"), "yes").peer, "", "pins")


async def test_a_board_that_is_away_is_waited_for_and_that_is_said_once() -> None:
    answering = Answering(
        told(1, 1), AWAY, AWAY, told(9, run="b"), told(2, 1, 2, run="b"), AWAY, told(2, run="b")
    )
    said: list[str] = []
    news = [each async for each in follow(answering.peer, Follower(told(0)), answering.stop, said.append)]
    assert [each.anew for each in news] == [False, True, False, False]
    assert [[edge[0] for edge in each.edges] for each in news] == [[1], [], [1, 2], []]
    # The second time that it is away is told anew.
    assert said == ["uno is away (nobody listens there); waiting for it", "uno is back"] * 2


async def test_who_stops_while_the_board_is_away_is_not_kept_waiting() -> None:
    answering = Answering(AWAY, AWAY)
    said: list[str] = []
    assert [
        news async for news in follow(answering.peer, Follower(told(0)), answering.stop, said.append)
    ] == []
    assert len(said) == 1
