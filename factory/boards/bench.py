"""The simulated world: one clock, what is due on it, and the nets that join pins and parts.

A bench is handed the time (``advance``); what was due meanwhile happens in order and with the
stamp of its own moment, however late the call comes.

The electrical model is a node with sources, each a voltage behind a resistance (Millman's
theorem): ``V = sum(Vi / Ri) / sum(1 / Ri)``. An output is 25 ohms, a pull-up 35 kilohms, a
bridge of solder next to none. So who wins is nobody's special case, and the current that an
output gives tells a short. PWM, tones and servo pulses are seen by the rest of their net as
their average voltage: they are much faster than anything that a mesh could follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import NamedTuple, Protocol

SHORT_AMPERES = 0.04
"""Absolute maximum of one pin of an AVR. A net with more than that through a pin is a short."""

FLUTTER = 0.01
"""Seconds for which a floating input stays as it is: half a period of the mains hum that it picks up."""

MOST_CHANGES = 10_000
"""Changes of nets that may follow from one cause before that is called an oscillation."""


class Source(NamedTuple):
    """A voltage behind a resistance, in volts and ohms."""

    volts: float
    ohms: float


class Terminal(Protocol):
    """Something with a name on a net, which may drive it and sees its voltage."""

    @property
    def label(self) -> str:
        """What people call it."""

    @property
    def source(self) -> Source | None:
        """What it drives the net with; ``None`` for nothing."""

    @property
    def flutters(self) -> bool:
        """Whether it wants to see the noise of a net that floats."""

    def see(self, volts: float | None, chance: float) -> None:
        """Take note of the voltage of the net.

        Args:
            volts: The voltage; ``None`` if nothing drives the net.
            chance: From 0 to 1, the noise of this moment.

        """


class Net:
    """Terminals that are joined.

    Attributes:
        terminals: Pins, and what else sees the voltage.
        sources: What else drives it, each under a key of its own.
        volts: Its voltage; ``None`` if nothing drives it.
        short: What is wrong with it; ``None`` if nothing is.

    """

    __slots__ = ("fluttering", "number", "short", "sources", "terminals", "volts")

    def __init__(self, number: int, terminals: list[Terminal]) -> None:
        self.number = number
        self.terminals = terminals
        self.sources: dict[str, Source] = {}
        self.volts: float | None = None
        self.short: str | None = None
        self.fluttering = False

    def resolve(self) -> None:
        """Work out voltage and shorts from what drives the net."""
        if len(self.terminals) == 1 and not self.sources:
            # Most pins of most boards are on no wire.
            source = self.terminals[0].source
            self.volts = source.volts if source else None
            self.short = None
            return
        driving = [(each.label, each.source) for each in self.terminals if each.source is not None]
        driving += self.sources.items()
        self.volts = mixed([source for _, source in driving])
        self.short = self._short(driving) if self.volts is not None else None

    def _short(self, driving: list[tuple[str, Source]]) -> str | None:
        assert self.volts is not None
        amperes = {label: abs(source.volts - self.volts) / source.ohms for label, source in driving}
        worst = max(amperes.values())
        if worst <= SHORT_AMPERES:
            return None
        fighting = sorted(label for label, current in amperes.items() if current > SHORT_AMPERES)
        return f"short between {' and '.join(fighting)}: {worst * 1000:.0f} mA, more than a pin may carry"


class Timer:
    """Something that is due on a bench.

    Attributes:
        time: When.
        action: What; ``None`` once it is cancelled.

    """

    __slots__ = ("action", "time")

    def __init__(self, time: float, action: Callable[[], object]) -> None:
        self.time = time
        self.action: Callable[[], object] | None = action

    def cancel(self) -> None:
        """Have it not happen."""
        self.action = None


class Bench:
    """One simulated world, for any number of boards.

    Args:
        time: Where its clock begins, in seconds.
        seed: Makes its noise the same in every run.

    Attributes:
        time: The time of the bench, which only ``advance`` moves.
        shorts: By net, what is wrong right now.
        trouble: Called with a sentence when a short begins or ends, or when nets oscillate.

    """

    def __init__(self, time: float = 0.0, seed: int = 0) -> None:
        self.time = time
        self.seed = seed
        self.shorts: dict[Net, str] = {}
        self.trouble: Callable[[str], object] = lambda _text: None
        self._due: list[tuple[float, int, Timer]] = []
        self._count = 0
        self._nets = 0
        self._changed: list[Net] = []
        self._settling = False

    # -- time ----------------------------------------------------------------------------

    def at(self, time: float, action: Callable[[], object]) -> Timer:
        """Have something happen at a time, or at the next turn if that is past."""
        timer = Timer(max(time, self.time), action)
        self._count += 1
        heappush(self._due, (timer.time, self._count, timer))
        return timer

    def after(self, seconds: float, action: Callable[[], object]) -> Timer:
        """Have something happen in so many seconds."""
        return self.at(self.time + seconds, action)

    def next_deadline(self) -> float | None:
        """Return when ``advance`` has something to do; ``None`` if nothing is due."""
        while self._due and self._due[0][2].action is None:
            heappop(self._due)
        return self._due[0][0] if self._due else None

    def advance(self, now: float) -> None:
        """Move the clock on, and do all that is due until then, in order.

        A time that is past changes nothing: the clock never goes back.
        """
        while self._due and self._due[0][0] <= now:
            timer = heappop(self._due)[2]
            if timer.action is not None:
                self.time = max(timer.time, self.time)
                timer.action()
        self.time = max(now, self.time)

    def chance(self, *of: int) -> float:
        """Return a number from 0 to 1 that depends on nothing but the seed and ``of``."""
        # splitmix64: well mixed, and the same everywhere.
        state = self.seed
        for word in of:
            state = (state * 0x9E3779B97F4A7C15 + word + 0x632BE59BD9B4E019) & 0xFFFFFFFFFFFFFFFF
            state ^= state >> 30
            state = state * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
            state ^= state >> 27
            state = state * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
            state ^= state >> 31
        return state / 2**64

    # -- nets ----------------------------------------------------------------------------

    def net(self, terminal: Terminal) -> Net:
        """Return a new net with one terminal."""
        self._nets += 1
        return Net(self._nets, [terminal])

    def join(self, nets: Iterable[Net]) -> Net:
        """Make one net of several, and return it; their terminals have to be told."""
        first, *others = dict.fromkeys(nets)
        for other in others:
            first.terminals += other.terminals
            first.sources |= other.sources
            self.shorts.pop(other, None)
        return first

    def changed(self, net: Net) -> None:
        """Work a net out anew, and what follows from it; call it when what drives it has changed."""
        self._changed.append(net)
        if self._settling:
            return
        self._settling = True
        try:
            self._settle()
        finally:
            self._settling = False
            self._changed.clear()

    def _settle(self) -> None:
        # In the order of the changes. What sees a voltage may change other nets, or this one again.
        for count, net in enumerate(self._changed):
            if count >= MOST_CHANGES:
                self.trouble(f"the net of {_names(net)} oscillates; it is left as it is")
                return
            before = net.short
            net.resolve()
            if net.short != before:
                self._tell(net)
            if net.volts is None:
                self._float(net)
                continue
            for terminal in net.terminals:
                terminal.see(net.volts, 0.0)

    def _float(self, net: Net) -> None:
        # Rounded: the time of a slot may lie a hair below its own boundary.
        slot = round(self.time / FLUTTER)
        chance = self.chance(net.number, slot)
        for terminal in net.terminals:
            terminal.see(None, chance)
        if not net.fluttering:
            self._flutter(net, slot)

    def _flutter(self, net: Net, slot: int) -> None:
        if not any(terminal.flutters for terminal in net.terminals):
            return
        net.fluttering = True

        def again() -> None:
            net.fluttering = False
            self.changed(net)

        self.at((slot + 1) * FLUTTER, again)

    def _tell(self, net: Net) -> None:
        if net.short is None:
            self.shorts.pop(net, None)
            self.trouble(f"the short on the net of {_names(net)} is over")
        else:
            self.shorts[net] = net.short
            self.trouble(net.short)


def mixed(sources: list[Source]) -> float | None:
    """Return the voltage of a node that sources drive; ``None`` if there are none."""
    if not sources:
        return None
    conductance = sum(1 / source.ohms for source in sources)
    return sum(source.volts / source.ohms for source in sources) / conductance


def _names(net: Net) -> str:
    return ", ".join(terminal.label for terminal in net.terminals)
