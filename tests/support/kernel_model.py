"""A model of a kernel's interfaces and their counters, with all that goes wrong with them, and the truth beside it.

run() plays a random sequence: it changes the interfaces, writes the tables that the kernel would show, lets the
connector read them, and compares the account with what passed. In every sequence no more may be reported than passed.
In a sequence of faults that leave no doubt (CERTAIN) the sums are equal, to the byte.

    python tests/support/kernel_model.py 10000     plays that many sequences and ends with 1 at the first wrong one
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from typing import Callable, Dict, List, Optional

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from connector.kernel.counting import MAX_OTHERS, difference  # noqa: E402
from connector.kernel.dev import NOTHING, Counters  # noqa: E402
from connector.traffic import Traffic, add  # noqa: E402
from support import proc  # noqa: E402

NAMES = ("eth0", "wlan0", "wwan0", "ppp0", "tun0", "veth7")  # the last is excluded by default
TURN = 1 << 32
MAX_STEPS = 25


class Device:
    """An interface.

    shown: what its counters show.
    fresh: what passed since the last reading; unread: what passed before it and was not in a true reading yet.
    touched: whether its name or index changed since the last reading; jumped: whether that reading had a jump;
        wrong: how many readings in a row were wrong;
        counted: whether that reading was of it and not excluded; stranger: whether it moved in since.
    """

    def __init__(self, name: str, index: int, shown: Counters = NOTHING, bits: int = 64) -> None:
        self.name = name
        self.index = index
        self.shown = shown
        self.bits = bits
        self.fresh = self.unread = NOTHING
        self.wrong = 0
        self.touched = self.jumped = self.counted = self.stranger = False
        self.fault: Optional[Callable[[Counters], Counters]] = None  # of the next reading
        self.skipped = False  # in the next reading of net/dev

    def passed(self, traffic: Counters) -> None:
        self.shown = add(self.shown, traffic)
        self.fresh = add(self.fresh, traffic)

    def row(self) -> Counters:
        shown = Counters(*(number % (1 << self.bits) for number in self.shown))
        return self.fault(shown) if self.fault and self.counted else shown


class Kernel:
    """A network namespace and what crossed its edge: `passed` since the first reading, `lost` of it to no counter."""

    def __init__(self, rng: random.Random, certain: bool) -> None:
        self.rng = rng
        self.certain = certain
        self.next_index = 5
        self.readings: Dict[int, Device] = {}  # the devices of the last whole reading, by index
        self.devices: List[Device] = []
        self.away: List[Device] = []
        self.moved = 0
        self.passed = self.lost = NOTHING
        for name in NAMES[: rng.randint(1, 3)]:
            history = self.traffic(rng.choice([10, 10**6, 10**8]))
            bits = rng.choice([32, 64])
            self.devices.append(Device(name, self.allocate(), history, bits))
        # A turn of 32 bits that meets another fault is left out.
        certain_steps = CERTAIN if all(device.bits == 64 for device in self.devices) else ("carry",)
        self.steps = certain_steps if certain else EVERYTHING

    def allocate(self) -> int:
        """The kernel gives each new interface the next index that is free."""
        self.next_index += self.rng.randint(1, 3)
        while self.next_index in [device.index for device in self.devices]:
            self.next_index += 1
        return self.next_index

    def traffic(self, most: int = 10**5) -> Counters:
        """Some packets each way, of 60 to 9000 bytes on average."""
        rng = self.rng
        packets = [rng.randint(0, rng.choice([0, 1, 100, most])) for _ in range(2)]
        sizes = [number * rng.randint(60, 9000) % TURN for number in packets]
        # A byte count that went around has fewer bytes than its packets need.
        return Counters(*(max(size, 60 * number) for size, number in zip(sizes, packets)), *packets)

    def any(self) -> Optional[Device]:
        return self.rng.choice(self.devices) if self.devices else None

    def known(self) -> Optional[Device]:
        """A wrong first reading can't be told from a true one, nor is more kept than MAX_OTHERS readings."""
        known = [device for device in self.devices if device.counted and device.wrong < MAX_OTHERS]
        return self.rng.choice(known) if known else None

    def untouched(self) -> Optional[Device]:
        """In a certain sequence each device's name or index changes once between two readings."""
        left = [device for device in self.devices if not (device.stranger or self.certain and device.touched)]
        return self.rng.choice(left) if left else None

    def free_name(self) -> Optional[str]:
        used = {device.name for device in self.devices}
        free = [name for name in NAMES if name not in used and not (self.certain and name == "veth7")]
        return self.rng.choice(free) if free else None

    # --- what happens

    def carry(self) -> None:
        device = self.any()
        if device:
            device.passed(self.traffic())

    def rename(self) -> None:
        device, name = self.untouched(), self.free_name()
        if device and name:
            device.name, device.touched = name, True

    def swap(self) -> None:
        one, other = self.untouched(), self.untouched()
        if one and other:
            one.name, other.name = other.name, one.name
            one.touched = other.touched = True

    def make_again(self) -> None:
        """Under its old name: ppp0, wwan0 and VPNs."""
        device = self.untouched()
        if device:
            self.forget(device)
            again = Device(device.name, self.allocate())
            again.touched = True
            again.passed(self.traffic())
            self.devices[self.devices.index(device)] = again

    def make(self) -> None:
        name = self.free_name()
        if name:
            device = Device(name, self.allocate())
            device.passed(self.traffic())
            self.devices.append(device)

    def remove(self) -> None:
        device = self.any()
        if device:
            self.forget(device)
            self.devices.remove(device)

    def move_in(self) -> None:
        """From another network namespace, with its counters; it keeps its index unless that is taken.

        Not under a name, or with the index, of one that is gone: nothing tells such a device from one that was made
        anew, or renamed.
        """
        if len(self.devices) < len(NAMES):
            taken = {device.index for device in self.devices} | set(self.readings)
            index = self.rng.randint(2, 9)
            self.moved += 1
            name = f"moved{self.moved}"
            device = Device(name, self.allocate() if index in taken else index, self.traffic(10**8))
            device.stranger = True
            self.devices.append(device)

    def leave(self) -> None:
        """To another network namespace."""
        device = self.any()
        if device:
            self.forget(device)
            if device.counted:
                self.away.append(device)
            device.fresh = device.unread = NOTHING
            device.fault, device.skipped, device.counted = None, False, False
            self.devices.remove(device)

    def come_back(self) -> None:
        """With what it carried there, after a reading without it; nothing tells an earlier return from a stay."""
        for device in self.away:
            names = {other.name for other in self.devices}
            indexes = {other.index for other in self.devices} | set(self.readings)
            if device.name not in names and device.index not in indexes:
                self.away.remove(device)
                device.shown = add(device.shown, self.traffic())
                self.devices.append(device)
                return

    def reset(self) -> None:
        """By its driver; then less passes until the next reading than half of what it had counted."""
        device = self.any()
        if device and min(device.shown) > 10**4 and not device.fault:
            self.forget(device)
            device.shown = device.fresh = device.unread = NOTHING
            device.passed(self.traffic(10))

    def step_back(self) -> None:
        """A member of an aggregate went: some of its counters, of 64 bits, lose up to a tenth for good."""
        device = self.any()
        if device and device.bits == 64 and min(device.shown[:2]) >= TURN:
            lose = [number // self.rng.randint(10, 10**6) * self.rng.randint(0, 1) for number in device.shown]
            device.shown = Counters(*(number - less for number, less in zip(device.shown, lose)))

    def stale_reading(self) -> None:
        """The next reading is of a moment ago, or of a sum that is not complete."""
        device = self.known()
        if device and device.bits == 64 and min(device.shown[:2]) >= TURN:
            less = self.rng.randint(2, 1000)
            device.fault = lambda shown: Counters(*(number - number // less for number in shown))

    def zeros(self) -> None:
        """The next reading has no value of some of the counters, or of all."""
        device = self.known()
        if device and device.bits == 64:
            none = self.rng.choice([(0, 1, 2, 3), (0, 2), (1, 3), (0,), (3,)])
            device.fault = lambda shown: Counters(*(0 if at in none else shown[at] for at in range(4)))

    def all_zeros(self) -> None:
        device = self.known()
        if device:
            device.fault = lambda shown: NOTHING

    def jump(self) -> None:
        """The next reading has a byte counter of 32 bits that was extended as if it were negative.

        If that is so twice in a row, what passed before the first is left out.
        """
        device = self.known()
        if device and device.shown != NOTHING and not (self.certain and device.jumped):
            device.jumped = True
            place = self.rng.randint(0, 1)
            device.fault = lambda shown: shown._replace(
                **{Counters._fields[place]: 2**64 - 2**31 + shown[place] % 2**31}
            )

    def skip(self) -> None:
        device = self.any()
        if device:
            device.skipped = True

    def forget(self, device: Device) -> None:
        """What passed it after the last reading is in no counter that anybody can read."""
        self.lost = add(self.lost, add(device.unread, device.fresh))
        self.passed = add(self.passed, device.fresh)

    # --- readings

    def tables(self) -> Dict[str, bytes]:
        rows = {device.name: tuple(device.row()) for device in self.devices if not device.skipped}
        igmp6 = "".join(
            f"{device.index:<4} {device.name:<15} ff020000000000000000000000000001     1 0000000C 0\n"
            for device in self.devices
        )
        return {"dev": proc.dev(rows), "igmp6": igmp6.encode()}  # type: ignore[arg-type]

    def was_read(self, whole: bool) -> None:
        """Count what passed before a reading. whole: whether the reading was of all interfaces."""
        for device in self.devices:
            if device.name != "veth7" or not whole:
                self.passed = add(self.passed, device.fresh)
            true = whole and not device.fault
            device.jumped = device.jumped and bool(device.fault or not whole)
            device.unread = NOTHING if true else add(device.unread, device.fresh)
            device.fresh = NOTHING
            device.wrong = device.wrong + 1 if device.fault else 0
            device.stranger = device.stranger and not whole
            device.counted = (whole or device.counted) and device.name != "veth7"
            device.fault, device.skipped, device.touched = None, False, not whole and device.touched
        if whole:
            self.readings = {device.index: device for device in self.devices}


# Faults that leave no doubt: what passed is known after the next reading without a fault.
CERTAIN = ("carry", "carry", "rename", "swap", "all_zeros", "jump", "skip", "make_again")
EVERYTHING = (
    *("carry", "carry", "carry", "rename", "swap", "make_again", "make", "remove", "move_in", "leave", "come_back"),
    *("reset", "step_back", "stale_reading", "zeros", "all_zeros", "jump", "skip"),
)


class Wrong(AssertionError):
    """The account is not what it must be."""


def run(rng: random.Random, directory: Path, certain: bool) -> None:
    """Play a sequence in an empty directory. Raises Wrong."""
    kernel = Kernel(rng, certain)
    proc.tree(directory)
    traffic = Traffic()
    reported = NOTHING
    played: List[str] = []

    def reading() -> None:
        for table, content in kernel.tables().items():
            (directory / "1" / "net" / table).write_bytes(content)
        snapshot = proc.look(directory)
        nonlocal traffic, reported
        traffic = traffic.observe(snapshot)
        carried = traffic.carry(snapshot)
        if carried is not None:
            reported = add(reported, carried)
            traffic = traffic.delivered(carried)
        kernel.was_read(whole=snapshot.counters is not None)
        excess = difference(reported, kernel.passed)
        if max(excess) > 0:
            raise Wrong(f"more is reported than passed: {excess} after {played}")

    reading()
    kernel.passed = kernel.lost = NOTHING
    for _ in range(rng.randint(1, MAX_STEPS)):
        step = rng.choice(kernel.steps)
        played.append(step)
        getattr(kernel, step)()
        if rng.random() < 0.5:
            played.append("reading")
            reading()
    for _ in range(2):
        played.append("reading")
        reading()
    if certain:
        missing = difference(difference(kernel.passed, kernel.lost), reported)
        if max(missing) > 0:  # of what is lost, a wrong reading may have shown a part
            raise Wrong(f"{missing} is missing after {played}")


def main(count: int) -> int:
    with tempfile.TemporaryDirectory() as directory:
        for seed in range(count):
            for certain in (True, False):
                try:
                    run(random.Random(seed), Path(directory), certain)
                except Wrong as error:
                    print(f"sequence {seed}, certain={certain}: {error}", file=sys.stderr)
                    return 1
    print(f"{count} sequences of each kind: no more was reported than passed")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
