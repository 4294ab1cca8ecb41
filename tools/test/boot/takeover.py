# SPDX-License-Identifier: BSD-2-Clause
"""Firmware that left the unit translating, interrupts remapped, faults recorded and devices writing: nidus takes over, and
nothing of that reaches a guest.  tools/test/dirty does the leaving."""
from . import Scenario, built, guest

SCENARIOS = [
    Scenario("takeover-dirty", boot="dirty.efi", timeout=120,
             conf="[system]\nat-end = poweroff\n" + guest("a", devices=["00:04.0", "00:05.0"]) +
             guest("b", devices=["00:06.0", "00:07.0"]),
             files={"nidus/nidus.efi": built("nidus.efi")},
             expect=[r"^dirty: status c7000000, faults 3, 2 devices write without end$",
                     r"^nidus\.conf: 2 guests",
                     r"pci: \d+ functions; Bus Master was on in [1-9]\d* and is off now$",
                     r"unit 0 at 0xfed90000: .*firmware had left on: translation interrupt-remapping invalidation-queue$",
                     r"nidus: 2 guests ended, 0 failed"],
             # dirty.efi's fault is not taken for one of a guest
             forbid=[r"panic", r"fault: .*0x200000000\b"]),
]
