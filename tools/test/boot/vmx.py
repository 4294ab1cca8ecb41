# SPDX-License-Identifier: BSD-2-Clause
"""The processor that guests see: the same in QEMU, whose SVM it comes from, and in Bochs, whose VMX it comes from."""
import bochs

from . import Scenario, guest

NO_FAILURE = [r"panic", r"\| FAIL "]


def cpu_check(name="a", **keys):
    return guest(name, image="cpu-check", **dict({"memory": "16M"}, **keys))


def both(name, guests, expect, **more):
    return Scenario("cpu-" + name, both=True, conf="[system]\nat-end = poweroff\n" + "".join(guests), guests=("cpu-check", "dma-check"),
                    expect=expect, forbid=NO_FAILURE, timeout=120, **more)


SUMMARY = r"\| cpu-check: \d+ ok, 0 failed$"
# How a guest ends, and what nidus says then.
ENDS = {
    "io": r"wrote I/O port 0x80: guests have no ports",
    "memory": r"wrote guest-physical address 0x30000000, which is neither its RAM nor a BAR of its devices",
    "fetch": r"ran into guest-physical address 0x30000000, which is not its RAM",
    "wbinvd": r"executed WBINVD, which would stall every guest \(CLFLUSH is there\)",
    "msr": r"read MSR 0x3a, which nidus does not offer, and no IDT for the exception",
    "exception": r"crashed: undefined instruction \(vector 6\), and it has no IDT",
    "triple": r"crashed: triple fault",
    "code": r"exited with code 3",
}

SCENARIOS = [
    both("steps", [cpu_check(), guest("b", args="no-iommu")], [r" a" + SUMMARY, r"nidus: 2 guests ended, 0 failed$"]),
    both("state", [cpu_check("a", args="state=1"), cpu_check("b", args="state=2"), cpu_check("c", args="end=spin")], [],
         also=[[rf" {name}" + SUMMARY, rf"guest {name}: exited with code 0", rf"guest {name}: .* scrubbed and free$"] for name in "ab"],
         ending="running"),
    both("ends", [cpu_check(end, args="end=" + end) for end in ENDS], [r"nidus: 8 guests ended, 8 failed$"],
         also=[[rf"guest {end}: {why}$"] for end, why in ENDS.items()]),
]
