"""Finding rows and texts that end the process that works on them, and leaving them out.

A process that runs out of memory, crashes in native code, or fails an assertion on a GPU raises no
exception that can be caught. Ray starts another process and gives it the same part again, without
limit. So the coordinator, which outlives these processes, counts:

1. A part that has ended a process is processed in small batches. Each batch is announced before it
   starts.
2. If the process ends again, the items of the last announced batch are suspects. They are processed
   one by one, each announced, after all others.
3. An item that ends two processes when it is alone is fatal. It is left out, and its pairs are
   quarantined. One end is not enough: a machine may have been taken away. On GPUs, the two ends
   must be on two different ones, because a GPU may be faulty: the part is left to another GPU.

An item is a distinct pair for scoring, and a distinct text for tokenizing. Reading has no items: a
part that ends too many processes while it is read ends the run.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from reranker_core.errors import Incomplete, InputError, RerankError
from reranker_core.score.devices import Devices

_FATAL_ENDS = 2
# Parts that failed one after another, for each device, while no part was finished: then the cause
# is neither a part nor a device.
_FAILED_IN_A_ROW = 2


@dataclass(frozen=True)
class Work:
    """A kind of work that may end processes.

    Attributes:
        name: one word.
        doing: a description, with `{}` for the object of the work.
        most_ends: maximum number of processes that may end in one part; single items cannot
            explain more.
        error: raised if more processes end.
        advice: the remedy for the user.

    """

    name: str
    doing: str
    most_ends: int
    error: type[RerankError]
    advice: str


READING = Work(
    "read",
    "reading part {}",
    5,
    InputError,
    "The file may be damaged. Read it with another program, and create it again if that fails. "
    "If the file is correct, the node may have too little memory: lower plan.part_rows or "
    "plan.part_bytes",
)
TOKENIZING = Work(
    "tokenize",
    "tokenizing part {}",
    100,
    Incomplete,
    "Leaving out single texts did not help. Check the memory of the nodes and Ray's logs. "
    "Committed parts are kept. The same command resumes the run",
)
SCORING = Work(
    "score",
    "scoring part {}",
    20,
    Incomplete,
    "Leaving out single rows did not help. Check the memory of the nodes and GPUs, and Ray's "
    "logs. A smaller score.max_batch_tokens may help. Committed parts are kept. The same "
    "command resumes the run",
)
COMMITTING = Work(
    "commit",
    "writing part {}",
    10,
    Incomplete,
    "The node may have too little memory. Lower plan.part_rows, or check Ray's logs. Committed "
    "parts are kept. The same command resumes the run",
)
LOADING = Work(
    "load",
    "loading and checking the model on {}",
    3,
    Incomplete,
    "The node or its GPU may have too little memory for the model. Check Ray's logs on this "
    "node. Then free memory, use fewer replicas, or use a smaller model.dtype. Committed parts "
    "are kept. The same command resumes the run",
)


@dataclass(frozen=True)
class Caution:
    """How to process a part that has ended processes.

    It says which items to leave out, and which to process one by one; or to leave the whole part
    to another device.
    """

    fatal: tuple[int, ...] = ()
    suspects: tuple[int, ...] = ()
    elsewhere: bool = False


@dataclass
class _History:
    ends: int = 0
    open: bool = False
    device: str = ""  # where it is open
    announced: tuple[int, ...] = ()
    fatal: set[int] = field(default_factory=set)
    suspects: set[int] = field(default_factory=set)
    # Ends while an item was alone, by device.
    alone: defaultdict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    failed: set[str] = field(default_factory=set)  # the devices that it raised an error on

    def accuses(self, device: str) -> bool:
        """Whether what happened on the device must be tried on another one."""
        tried = any(device in self.alone[item] for item in self.suspects - self.fatal)
        return tried or device in self.failed


class Attempts:
    """The parts in progress for one kind of work, and the processes that ended in them.

    Args:
        work: the kind of work.
        devices: those of the run, if the work is done on GPUs.

    """

    def __init__(self, work: Work, devices: Devices | None = None) -> None:
        self._work = work
        self._devices = devices or Devices()
        self._parts: dict[str, _History] = {}
        self._failed: list[str] = []  # the devices of failures since a part was finished

    def begin(self, part: str, device: str = "") -> Caution | None:
        """Record that a process starts a part on a device, and return how to process it; None: as
        usual. On a CPU (''), each process counts as a device of its own.

        Raises:
            RerankError: the part has ended too many processes.

        """
        self._devices.add(device)
        history = self._parts.setdefault(part, _History())
        if history.open:
            self._ended(part, history)
        if history.ends >= self._work.most_ends:
            raise self._work.error(
                f"{history.ends} processes crashed while {self._work.doing.format(part)}. "
                f"{self._work.advice}"
            )
        if device and self._devices.others(device) and history.accuses(device):
            history.open = False
            return Caution(elsewhere=True)
        history.open, history.announced, history.device = True, (), device
        if not history.ends:
            return None
        return Caution(tuple(sorted(history.fatal)), tuple(sorted(history.suspects)))

    def announce(self, part: str, items: list[int]) -> None:
        """Record that a process is about to work on these items of the part."""
        self._parts[part].announced = tuple(items)

    def finish(self, part: str) -> None:
        """Record that the part is done. What is known about its items is kept."""
        self._failed.clear()
        history = self._parts[part]
        history.open = False
        history.alone.clear()  # they have survived
        history.failed.clear()
        if not history.ends:
            del self._parts[part]

    def fails(self, part: str, device: str) -> bool:
        """The work raised an error on this device; whether another one is to try it. False if parts
        fail on all devices, so that waiting for others would only take time.
        """
        self._failed.append(device)
        history = self._parts[part]
        history.open = False
        first = not history.failed
        history.failed.add(device)
        self._devices.ended(device, part)
        return bool(device) and first and self._devices.others(device) and not self._all_fail()

    def _all_fail(self) -> bool:
        most = _FAILED_IN_A_ROW * len(self._devices.names())
        return len(self._failed) >= most and len(set(self._failed)) > 1

    def accuses(self, device: str) -> bool:
        """Whether a part that is not done must be tried on another device than this one."""
        return bool(device) and any(each.accuses(device) for each in self._parts.values())

    def told(self, part: str) -> str:
        """What happened to a part that ended processes, in words."""
        history = self._parts[part]
        ends = "1 process" if history.ends == 1 else f"{history.ends} processes"
        text = f"{ends} crashed while {self._work.doing.format(part)}"
        if not history.fatal:
            return text
        found = "1 cause was" if len(history.fatal) == 1 else f"{len(history.fatal)} causes were"
        return f"{text}; {found} found and left out"

    def _ended(self, part: str, history: _History) -> None:
        history.ends += 1
        history.suspects.update(history.announced)
        self._devices.ended(history.device, part)
        if len(history.announced) == 1:
            [item] = history.announced
            history.alone[item][history.device] += 1
            if self._is_fatal(history.alone[item]):
                history.fatal.add(item)
                self._devices.explained(part)
        history.suspects -= history.fatal

    def _is_fatal(self, ends: Counter[str]) -> bool:
        """Whether an item that ended so many processes on these devices will end others."""
        apart = ends[""] + sum(1 for device in ends if device)
        alone = not any(self._devices.others(device) for device in ends if device)
        return apart >= _FATAL_ENDS or (alone and ends.total() >= _FATAL_ENDS)
