"""How a ring behaves: every knob, and what turning it costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RingSettings:
    """The settings of one member; all times in seconds.

    Attributes:
        heartbeat: Silence after which an empty frame is sent to a neighbour. Shorter finds the
            dead sooner and costs traffic.
        timeout: Silence after which a neighbour is given up. Shorter finds the frozen sooner, and
            is more often wrong about a wire that loses packets.
        suspect: Silence after which a neighbour is dialled again, to hear of it on another way; a second
            time after a third as long again.
        dial_timeout: Time that a dial may take until the neighbour has welcomed us.
        hello_timeout: Time that a dialler may take for its first frame.
        stagger: Pause between dials to members that were told to be alive.
        spread: Pause between dials to all others.
        probe: Pause between dials into the gap. Shorter finds newcomers sooner and costs traffic.
        settle: Rolls that ask for repair within this time cause one repair.
        resend: Time without any receipt after which everything is sent again without being asked, twice as
            long each time: for what nobody has thought of.
        recent: How long a roll's sender is remembered as one to dial first, if the successor is lost.
        farewell: Time that the neighbours get to go round a member that leaves.
        patience: Time after which a message without a receipt is given up.
        window: Most messages without a receipt.
        window_bytes: Most bytes of them; one larger message may go alone.
        room: Messages of one sender that the handlers have in hand before more are held back.
        successors: How many members ahead are known to be alive.

    """

    heartbeat: float = 0.14
    timeout: float = 0.55
    suspect: float = 0.3
    dial_timeout: float = 0.5
    hello_timeout: float = 5.0
    stagger: float = 0.1
    spread: float = 0.02
    probe: float = 1.0
    settle: float = 0.02
    resend: float = 3.0
    recent: float = 0.3
    farewell: float = 0.5
    patience: float = 10.0
    window: int = 1024
    window_bytes: int = 4 * 2**20
    room: int = 256
    successors: int = 4
