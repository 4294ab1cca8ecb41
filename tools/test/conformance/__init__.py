# SPDX-License-Identifier: BSD-2-Clause
"""Conformance: the rules that Linux's tests of iommufd check, on the model of the hardware and in QEMU (guests/conformance).

Each side prints a line for each item.  Here: each number is there exactly once, nothing failed, and both sides say the same; what one
cannot try it says with the reason that is written at the item.
"""
import re

import boot

LIST = 90                       # items of Linux's tests, from 1 on
# Presets of the model: QEMU's unit and others; by seed 0 hardware keeps all it may, else it evicts, delays and reorders.
UNITS = [(preset, seed) for preset in ("qemu", "caching", "spr-svm", "granite") for seed in (0, 1, 2)]
LINE = re.compile(r"^(ok|FAIL|n/a) (\d+) (.*)$")
REGISTERS = re.compile(r"^conformance: cap 0x[0-9a-f]+, ecap 0x[0-9a-f]+$")

IOMMU = {"x-pasid-mode": "on", "device-iotlb": "on", "x-prs": "on", "x-pds": "on"}
DEVICES = ("nidus-dma,pasid=on,ats=on,pri=on,addr=04.0", "nidus-dma,addr=05.0")

SCENARIO = boot.Scenario(
    "conformance", guests=("conformance",), timeout=240,
    conf="[system]\nat-end = poweroff\nerrata-772415 = on\n" + boot.guest("c", image="conformance", devices=["00:04.0 ats=trust", "00:05.0"]),
    expect=[r" c\| conformance: \d+ failed$"], machine={"iommu": IOMMU, "devices": DEVICES})


def numbered(lines):
    """[(number, verdict, the rest)] as they were printed."""
    return [(int(m[2]), m[1], m[3]) for m in map(LINE.match, lines) if m]


def complete(items):
    """What is wrong with the numbers of a side, or empty text."""
    numbers = [number for number, _, _ in items]
    missing = set(range(1, LIST + 1)) - set(numbers)
    if missing:
        return f"items are missing: {sorted(missing)}"
    if numbers != list(range(1, len(numbers) + 1)):
        return "the items' numbers are not 1, 2, 3 …, each once"
    return ""


def on_model(run, preset, seed):
    """run(command, timeout): its output and status.  (lines, what is wrong)"""
    text, status = run([boot.built("host/conformance"), str(seed), preset], 120)
    lines = text.split("\n")
    items = numbered(lines)
    wrong = [line for line in lines if line.startswith("FAIL")]
    wrong += [f"n/a on the model: {number} {rest}" for number, verdict, rest in items if verdict == "n/a"]
    if status and not wrong:
        wrong = [f"ended with {status}"] + lines[-40:]
    return lines, "\n".join(wrong) or complete(items)


def in_qemu():
    problem = boot.run(SCENARIO)
    with open(boot.built(f"log/{SCENARIO.name}.log"), encoding="utf-8") as f:
        return re.findall(r"^\[[ .\d]+\] c\| (.*)$", f.read(), re.M), problem


def run_model(total, run):
    for preset, seed in UNITS:
        lines, wrong = on_model(run, preset, seed)
        total.add(f"conformance on the model, {preset}" + (f", free by {seed}" if seed else ""), *count(lines, wrong), wrong)


def count(lines, wrong):
    good = sum(verdict == "ok" for _, verdict, _ in numbered(lines))
    return good, max(sum(verdict == "FAIL" for _, verdict, _ in numbered(lines)), 1 if wrong else 0)


def compare(model, qemu):
    """Where the two sides differ, as lines."""
    on, there = {n: (v, rest) for n, v, rest in numbered(model)}, {n: (v, rest) for n, v, rest in numbered(qemu)}
    text = [f"{number}: the model says {on.get(number, 'nothing')}, QEMU {there.get(number, 'nothing')}"
            for number in sorted(on.keys() | there.keys())
            if on.get(number) != there.get(number) and
            not (number in on and there.get(number, ("", ""))[0] == "n/a" and there[number][1].startswith(on[number][1] + ": "))]
    units = [next((line for line in lines if REGISTERS.match(line)), "no first line") for lines in (model, qemu)]
    return text + (["the units are not alike: " + " / ".join(units)] if units[0] != units[1] else [])


def run_qemu(total, run):
    model, _ = on_model(run, "qemu", 0)
    qemu, problem = in_qemu()
    wrong = [problem] if problem else []
    wrong += [line for line in qemu if line.startswith("FAIL")]
    wrong += [why for why in [complete(numbered(qemu))] if why] + compare(model, qemu)
    for number, verdict, rest in numbered(qemu):
        if verdict == "n/a":
            print(f"n/a  conformance {number}: {rest}")
    total.add("conformance in QEMU, as on the model", *count(qemu, wrong), "\n".join(wrong))
