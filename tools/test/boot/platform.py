# SPDX-License-Identifier: BSD-2-Clause
"""Machines that lack what device assignment needs: each gets its reason in words, and guests run all the same."""
import machine

from . import Scenario, guest

CONF = "[system]\nat-end = poweroff\n" + guest("a", devices=["00:04.0"], args="no-iommu") + guest("b", args="no-iommu")


def lacking(name, reason, iommu, unit=r"unit 0 at 0xfed90000: "):
    return Scenario("platform-" + name, conf=CONF, timeout=60,
                    machine={"iommu": iommu, "devices": (machine.EDU + ",addr=04.0",)},
                    expect=[r"^nidus\.conf: 2 guests: a \(64M, 1 device\), b \(64M, 0 devices\)$",
                            unit + reason,
                            r"guest a: starts without device 0000:00:04\.0: " + unit + reason,
                            r"guest a: 64 MiB, 0 devices",
                            r"guest b: 64 MiB, 0 devices",
                            r"nidus: 2 guests ended, 0 failed"],
                    also=[[r" a\| dma-check: guest a, 64 MiB, 0 devices", r"guest a: exited with code 0"],
                          [r" b\| dma-check: guest b, 64 MiB, 0 devices", r"guest b: exited with code 0"]])


LEGACY = {"x-scalable-mode": "off", "x-flts": "off", "x-nested": "off"}

SCENARIOS = [
    lacking("no-dmar", r"firmware has no DMAR table", None, unit=""),
    lacking("no-intremap", r"no interrupt remapping \(ECAP\.IR=0\)", {"intremap": "off"}),
    lacking("no-scalable-mode", r"no scalable mode \(ECAP\.SMTS=0\)", LEGACY),
    lacking("first-stage-only", r"no second-stage translation \(ECAP\.SSTS=0\)", {"x-nested": "off"}),
]
