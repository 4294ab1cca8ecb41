# SPDX-License-Identifier: BSD-2-Clause
"""The three-way check: the same random scenarios (guests/replay) in QEMU with our patches and on tools/vtd-model, nidus's own iommu/ between.

Each side says a line of hashes for some steps, of all that may be compared: errno, status, sums of bytes, fault records, the entries on the
way with their A and D bits.  Where two hashes differ, both sides play that seed again and show the step in full.  What must not be compared is
decided in guests/replay: results between a change and its invalidation, which each side holds against all that may come then.

    tools/test/threeway/play CHECK SEED [FIRST-LAST]    both sides, these steps
"""
import concurrent.futures
import dataclasses
import os
import re
import subprocess

import boot
import mutation

STEPS = 5000
FREE = (1, 2)                   # the model once more, evicting and reordering by these seeds
BEFORE = 3                      # steps that are shown before the one that differs

# The registers of QEMU's unit, and bits of them.
CAP, ECAP = 0x81d2008c222f0606, 0x3e80084f00fcb
CM, FS1GP = 1 << 7, 1 << 56
C, SC, SSADS, SMPWCS, RPS = 1 << 0, 1 << 7, 1 << 45, 1 << 48, 1 << 49
DT, PASID, PSS = 1 << 2, 1 << 40, 7 << 35


@dataclasses.dataclass
class Check:
    """A boot: its seeds, what is special about the unit in QEMU and, for the model, in options of build/host/threeway."""
    name: str
    first: int
    last: int
    iommu: dict = dataclasses.field(default_factory=dict)
    model: tuple = ()
    args: str = ""
    device: str = "nidus-dma"

    def seeds(self):
        return range(self.first, self.last + 1)


CHECKS = [
    Check("plain", 1, 7),
    Check("plain-too", 8, 14),
    # A and D are set through read-only mappings; nidus is told not to mind.
    Check("erratum", 15, 18, {"x-errata-772415": "on"}, ("--errata",), "errata"),
    # Walks that do not snoop set no flags: fault 90h.
    Check("unsnooped", 19, 22, {"x-coherent": "off", "x-smpwcs": "off", "snoop-control": "off"}, ("--ecap", hex(ECAP & ~(C | SMPWCS | SSADS | SC)))),
    Check("small", 23, 24, {"fs1gp": "off", "x-ssads": "off", "x-rps": "off"}, ("--ecap", hex(ECAP & ~(SSADS | RPS)), "--cap", hex(CAP & ~FS1GP))),
    # What is absent may be remembered.
    Check("caching", 25, 28, {"caching-mode": "on"}, ("--cap", hex(CAP | CM))),
    # Requests with PASIDs, each with a table of its own.
    Check("pasid", 29, 34, {"x-pasid-mode": "on", "device-iotlb": "on"}, ("--ecap", hex(ECAP | DT | PASID | PSS)), device="nidus-dma,pasid=on"),
]


def check_named(name):
    return next(c for c in CHECKS if c.name == name)


# The two sides -------------------------------------------------------------------------------------------------

def words(first, last, steps, show):
    seeds = f"{first}-{last}"
    return {"seeds": seeds, "steps": str(steps), **({"show": f"{show[0]}-{show[1]}"} if show else {})}


def play_in_qemu(check, first, last, steps=STEPS, show=None, efi="nidus.efi"):
    """The guest's lines, and what went wrong with the boot or ""."""
    args = " ".join([f"{k}={v}" for k, v in words(first, last, steps, show).items()] + ([check.args] if check.args else []))
    slots = ("04.0", "05.0", "06.0")
    scenario = boot.Scenario(
        f"threeway-{check.name}" + ("-again" if show else ""), guests=("replay",), timeout=400, boot=efi,
        conf="[system]\nconsole = serial\nat-end = poweroff\nerrata-772415 = off\n" +
             boot.guest("r", image="replay", devices=["00:" + s for s in slots], args=args),
        expect=[r" r\| replay: \d+ wrong"],
        machine={"devices": tuple(f"{check.device},addr={s}" for s in slots), "iommu": check.iommu})
    problem = boot.run(scenario)
    with open(boot.built(f"log/{scenario.name}.log"), encoding="utf-8") as f:
        return re.findall(r"^\[[ .\d]+\] r\| (.*)$", f.read(), re.M), problem


def play_on_model(check, first, last, steps=STEPS, show=None, free=None):
    line = [boot.built("host/threeway"), *check.model] + [w for k, v in words(first, last, steps, show).items() for w in ("--" + k, v)]
    done = subprocess.run(line + ([] if free is None else ["--free", str(free)]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=300, check=False)
    problem = "" if done.returncode in (0, 1) else f"{' '.join(line)} ended with {done.returncode}"
    return done.stdout.decode("utf-8", "replace").splitlines(), problem


# What they said ------------------------------------------------------------------------------------------------

def hashes(lines):
    """{seed: ([a hash for each step], the last hash of all)}"""
    found = {}
    for seed, first, each, whole in re.findall(r"^replay (\d+) (\d+): ([0-9a-f ]+) = ([0-9a-f]{16})$", "\n".join(lines), re.M):
        steps, _ = found.get(int(seed), ([], ""))
        if len(steps) == int(first):
            found[int(seed)] = (steps + each.split(), whole)
    return found


def shown(lines):
    """The steps that were shown in full, {step: text}."""
    joined = re.sub(r"\n\+ ", "", "\n".join(lines))
    return {int(step): text for step, text in re.findall(r"^step \d+\.(\d+): (.*)$", joined, re.M)}


def wrongs(lines, seed):
    joined = re.sub(r"\n\+ ", "", "\n".join(lines))
    return re.findall(rf"^(?:step|seed) {seed}[.:].*WRONG.*$", joined, re.M)


def header(lines):
    return next((line for line in lines if line.startswith("replay: cap")), "no first line")


def first_difference(a, b):
    """The first step whose hashes differ; None: there is none."""
    for step, (one, other) in enumerate(zip(a[0], b[0])):
        if one != other:
            return step
    return None if a == b else min(len(a[0]), len(b[0]))


def compare_steps(check, seed, step):
    """Both sides once more, up to the step that differs."""
    show = (max(step - BEFORE, 0), step)
    qemu, _ = play_in_qemu(check, seed, seed, step + 1, show)
    model, _ = play_on_model(check, seed, seed, step + 1, show)
    text = []
    for n in range(show[0], show[1] + 1):
        one, other = shown(qemu).get(n, "(nothing)"), shown(model).get(n, "(nothing)")
        text += [f"step {seed}.{n}: {one}"] if one == other else [f"step {seed}.{n} in QEMU:     {one}", f"step {seed}.{n} on the model: {other}"]
    return text + [f"again: tools/test/threeway/play {check.name} {seed} {show[0]}-{show[1]}"]


def judge(check, seed, sides):
    """What is wrong with a seed, as lines.  sides: name -> lines."""
    text, said = [], {name: hashes(lines).get(seed, ([], "")) for name, lines in sides.items()}
    for name, lines in sides.items():
        text += [f"{name}: {line}" for line in wrongs(lines, seed)]
    step = first_difference(said["QEMU"], said["model"])
    if step is not None and said["QEMU"][0]:
        text += [f"QEMU and the model differ, first in step {step}"] + compare_steps(check, seed, step)
    text += [f"{name}: {len(steps)} of {STEPS} steps" for name, (steps, _) in said.items() if len(steps) != STEPS]
    for name in said:
        step = first_difference(said["model"], said[name])
        if name != "QEMU" and step is not None:
            text.append(f"{name}: differs from the one that keeps all it may, first in step {step}")
    return text


def run(check):
    """[(name, what is wrong or "")], one for each seed."""
    qemu, problem = play_in_qemu(check, check.first, check.last)
    sides = {"QEMU": qemu}
    for free in (None, *FREE):
        sides["model" if free is None else f"model, free by {free}"], why = play_on_model(check, check.first, check.last, free=free)
        problem = problem or why
    headers = {header(lines) for lines in sides.values()}
    if not problem and len(headers) > 1:
        problem = "the units are not alike: " + " / ".join(sorted(headers))
    judged = {seed: judge(check, seed, sides) for seed in check.seeds()}
    last = [problem] if problem else []
    return [(f"threeway {check.name}, seed {seed}: {STEPS} steps", "\n".join(text + last)) for seed, text in judged.items()]


# Does it notice anything?  A mutant (tools/test/mutants) in QEMU has to differ from nidus as it is on the model.
MUTANT = "unmap-nested"


def run_mutant():
    """What is wrong: nobody noticed, or the mutant could not be made."""
    mutant = next(m for m in mutation.mutants() if m.name == MUTANT)
    check = dataclasses.replace(check_named("plain"), name="mutant")
    try:
        efi = mutation.build(mutant)
    except OSError as error:
        return str(error)
    qemu, _ = play_in_qemu(check, check.first, check.last, efi=efi)
    model, _ = play_on_model(check, check.first, check.last)
    said = hashes(qemu)
    same = [seed for seed, steps in hashes(model).items() if said.get(seed) == steps]
    return "" if said and len(same) < len(check.seeds()) else f"no seed differs: {mutant.what}"


def run_all(at_a_time, wanted, report):
    chosen = [c for c in CHECKS if wanted("threeway " + c.name)]
    count = 0
    with concurrent.futures.ThreadPoolExecutor(at_a_time) as pool:
        for results in pool.map(run, chosen):
            for name, why in results:
                report(name, int(not why), int(bool(why)), why)
                count += 1
    if wanted("threeway mutant"):
        why = run_mutant()
        report(f"threeway mutant, {MUTANT}: differs", int(not why), int(bool(why)), why)
        count += 1
    return count


def play(name, seed, first, last):
    """Prints both sides; True when they are alike."""
    check = check_named(name)
    qemu, problem = play_in_qemu(check, seed, seed, last + 1, (first, last))
    model, why = play_on_model(check, seed, seed, last + 1, (first, last))
    alike = not (problem or why)
    for side, lines in (("QEMU", qemu), ("model", model)):
        for line in wrongs(lines, seed):
            print(f"{side}: {line}")
    for n in range(first, last + 1):
        one, other = shown(qemu).get(n, "(nothing)"), shown(model).get(n, "(nothing)")
        if one == other:
            print(f"{seed}.{n}: {one}")
        else:
            alike = alike and hashes(qemu) == hashes(model)
            print(f"{seed}.{n} QEMU:  {one}\n{seed}.{n} model: {other}")
    print(problem or why or ("alike" if alike else "they differ"))
    return alike
