# SPDX-License-Identifier: BSD-2-Clause
"""Boot tests.  A scenario is data: what is on the disk, what the machine has, which lines have to appear.

Each file of this folder has a list SCENARIOS.  The console of every boot is kept in build/log/NAME.log.
"""
import dataclasses
import importlib
import importlib.machinery
import importlib.util
import itertools
import os
import pkgutil
import re
import select
import subprocess
import sys
import tempfile
import time

import bochs
import machine

TAIL = 25                       # lines of the log that a failure shows
TRIES = 5
LINGER = 0.5                    # seconds in which a forbidden line may still follow the last required one


def _mkimage():
    path = os.path.join(machine.TOP, "tools", "image", "mkimage")
    loader = importlib.machinery.SourceFileLoader("mkimage", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("mkimage", loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


mkimage = _mkimage()


def built(name):
    return os.path.join(machine.BUILD, name)


def guest(name="a", image="dma-check", memory="64M", devices=(), **keys):
    """A [guest] section."""
    lines = [f"[guest {name}]", f"image = guests/{image}.elf", f"memory = {memory}"]
    lines += [f"device = {d}" for d in devices]
    lines += [f"{key} = {value}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


@dataclasses.dataclass
class Scenario:
    """expect: regular expressions that match (search) lines in this order.  also: more such lists, each in its own order, for
    what is said at the same time.  forbid: none may match any line.

    ending: "poweroff": the machine switches itself off after all lines; "firmware": nidus.efi gives control back;
    "running": nothing more is wanted once all lines were seen (every one of Bochs, which nidus cannot switch off)."""
    name: str
    expect: list
    conf: object = ""           # text or bytes of nidus.conf; None: there is none
    also: list = dataclasses.field(default_factory=list)
    forbid: list = dataclasses.field(default_factory=lambda: [r"panic"])
    ending: str = "poweroff"
    timeout: float = 90
    guests: tuple = ("dma-check",)      # images of build/guests to put on the disk
    files: dict = dataclasses.field(default_factory=dict)   # path on the disk: bytes, or the path of a file
    boot: str = "nidus.efi"     # what firmware starts, in build/
    rig: type = machine.Machine # or bochs.Bochs
    machine: dict = dataclasses.field(default_factory=dict) # arguments of rig
    both: bool = False          # in QEMU (SVM), then in Bochs (VMX), and what guests say and how they end has to be the same
    again: str = ""             # of a boot that a matter of luck decides: where this line stands it may fail, and is tried again
    still: tuple = ()           # (regular expression, slot): from that line on the nidus-dma there moves no byte
    monitor: list = dataclasses.field(default_factory=list) # (regular expression, command): at the next such line QEMU's monitor gets it


def scenarios():
    found = []
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name):
        found += importlib.import_module("boot." + module.name).SCENARIOS
    names = [s.name for s in found]
    assert len(names) == len(set(names)), "two scenarios have one name"
    return found


class Watcher:
    """Compares lines with what a scenario wants, as they come."""
    ENDINGS = {"poweroff": None, "running": None, "firmware": r"^nidus: nothing was started"}

    def __init__(self, scenario):
        self.wanted = [list(scenario.expect)] + [list(a) for a in scenario.also]
        if self.ENDINGS[scenario.ending]:
            self.wanted[0].append(self.ENDINGS[scenario.ending])
        self.last = self.ENDINGS[scenario.ending]
        self.forbid = scenario.forbid
        self.still = scenario.still and scenario.still[0]
        self.monitor, self.commands = list(scenario.monitor), []
        self.log, self.line, self.forbidden, self.ended, self.look = [], "", None, False, False

    def put(self, text):
        for piece in text.splitlines(keepends=True):
            self.line += piece
            if self.line.endswith("\n"):
                self.check(self.line[:-1])
                self.line = ""

    def check(self, line):
        self.log.append(line)
        self.look |= bool(self.still and re.search(self.still, line))
        if self.monitor and re.search(self.monitor[0][0], line):
            self.commands.append(self.monitor.pop(0)[1])
        self.ended |= bool(self.last and re.search(self.last, line))
        for sequence in self.wanted:
            if sequence and re.search(sequence[0], line):
                sequence.pop(0)
        for pattern in self.forbid:
            if self.forbidden is None and re.search(pattern, line):
                self.forbidden = (pattern, line)

    def missing(self):
        return [sequence[0] for sequence in self.wanted if sequence] + [pattern for pattern, _ in self.monitor]


def make_disk(scenario, work):
    def stored(name, content):
        if isinstance(content, str) and os.path.exists(content):
            return content
        path = os.path.join(work, name)
        with open(path, "wb") as f:
            f.write(content.encode() if isinstance(content, str) else content)
        return path

    conf = None if scenario.conf is None else stored("nidus.conf", scenario.conf)
    files = [(f"nidus/guests/{name}.elf", built(f"guests/{name}.elf")) for name in scenario.guests]
    files += [(path, stored(f"file{i}", content)) for i, (path, content) in enumerate(scenario.files.items())]
    disk = os.path.join(work, "disk.img")
    mkimage.make(disk, built(scenario.boot), conf, files)
    return disk


def moves(m, slot):
    """What is wrong when the device's DMA goes on, or None."""
    before = m.dma_bytes(slot)
    time.sleep(LINGER)
    after = m.dma_bytes(slot)
    if before == 0:
        return f"the device in slot {slot} had moved no byte before: this shows nothing"
    return None if before == after else f"the device in slot {slot} still moves bytes: {before}, then {after}"


def watch(scenario, emulator, watcher, m):
    """Until the machine ends, the time is up, or nothing more is wanted.  Returns what was wrong with the end, or None."""
    console = machine.Console()
    end = time.monotonic() + scenario.timeout
    linger = None
    while True:
        ready, _, _ = select.select([emulator.stdout], [], [], 0.1)
        data = os.read(emulator.stdout.fileno(), 65536) if ready else None
        if data == b"":
            watcher.put(console.feed(b"", last=True) + "\n")
            if emulator.wait() != 0:
                return f"the emulator failed with status {emulator.returncode}"
            return None if scenario.ending == "poweroff" else "the machine ended by itself"
        if data:
            watcher.put(console.feed(data))
        if watcher.look:
            watcher.look, watcher.still = False, None
            wrong = moves(m, scenario.still[1])
            if wrong:
                return wrong
        while watcher.commands:
            time.sleep(LINGER)  # nidus has done with the line that it is about
            answer = m.monitor(watcher.commands.pop(0))
            if answer:
                return f"QEMU's monitor: {answer.strip()}"
        now = time.monotonic()
        if now > end:
            return f"not done after {scenario.timeout:.0f} seconds"
        if watcher.forbidden and linger is None:
            linger = now + LINGER   # enough of the log to see what happened
        if linger is None and (watcher.ended or (scenario.ending != "poweroff" and not watcher.missing())):
            linger = now + LINGER
        if linger is not None and now > linger:
            return None


def said_by_guests(log):
    """What each guest printed, and what nidus told about it; registers and addresses of the host apart."""
    said = {}
    for line in log:
        found = re.match(r"\[ *[\d.]+\] (?=guest [\w-]+:|[\w-]+\|)(?:guest )?([\w-]+)(.*)", line)
        if found and not re.match(r":  \w+ +[\da-f]{16}|: cpl \d", found[2]):
            said.setdefault(found[1], []).append(found[2])
    return said


def difference(first, second):
    """What two boots told differently about guests, or empty text."""
    for name in sorted(first.keys() | second.keys()):
        pairs = itertools.zip_longest(first.get(name, []), second.get(name, []), fillvalue="(nothing)")
        for svm, vmx in pairs:
            if svm != vmx:
                return f"{name} differs:\n  SVM: {svm}\n  VMX: {vmx}"
    return ""


def run(scenario):
    """Empty text when all is well, else what is wrong and the tail of the log."""
    if not scenario.both:
        for _ in range(TRIES if scenario.again else 1):
            why, log = run_once(scenario)
            if not why or not any(re.search(scenario.again, line) for line in log):
                break
        return why
    said = []
    for rig, name, arguments, last in ((machine.Machine, "svm", {"iommu": None, "devices": ()}, []),
                                       (bochs.Bochs, "vmx", {}, [bochs.ENDS] if scenario.ending == "poweroff" else [])):
        one = dataclasses.replace(scenario, name=f"{scenario.name}-{name}", rig=rig, machine=arguments,
                                  expect=scenario.expect + last, ending="running" if last else scenario.ending)
        why, log = run_once(one)
        if why:
            return f"{name}: {why}"
        said.append(said_by_guests(log))
    return difference(*said) if any(said) else "no guest said anything"


def run_once(scenario):
    """Of one boot: the same text, and the lines of the console."""
    os.makedirs(built("log"), exist_ok=True)
    log = built(f"log/{scenario.name}.log")
    watcher = Watcher(scenario)
    try:
        with tempfile.TemporaryDirectory(prefix="nidus-test.") as work, \
             scenario.rig(make_disk(scenario, work), **scenario.machine) as m:
            with open(os.path.join(work, "errors"), "w+b") as errors:
                emulator = m.start(errors)
                try:
                    ending = watch(scenario, emulator, watcher, m)
                finally:
                    emulator.kill()
                    emulator.wait()
                    emulator.stdout.close()
                errors.seek(0)
                said = errors.read().decode("utf-8", "replace").rstrip()
    except (OSError, subprocess.CalledProcessError) as error:
        return str(error), []
    with open(log, "w", encoding="utf-8") as f:
        f.write("\n".join(watcher.log) + "\n")
    problems = [f"missing: {pattern}" for pattern in watcher.missing()]
    if watcher.forbidden:
        problems.append("forbidden ({}): {}".format(*watcher.forbidden))
    if ending:
        problems.append(ending)
    if not problems:
        return "", watcher.log
    return "\n".join(problems + ([said] if said else []) + [f"--- the end of {os.path.relpath(log, machine.TOP)}"] +
                     watcher.log[-TAIL:]), watcher.log
