# SPDX-License-Identifier: BSD-2-Clause
"""Machines that lack what device assignment needs: each gets its reason in words, and guests run all the same."""
import machine

from . import Scenario, guest

CONF = "[system]\nat-end = poweroff\n" + guest("a", devices=["00:04.0"], args="no-iommu") + guest("b", args="no-iommu")


EDU = (machine.EDU + ",addr=04.0",)


def lacking(name, reason, iommu, unit=r"unit 0 at 0xfed90000: ", options=(), **more):
    return Scenario("platform-" + name, conf=CONF, timeout=60,
                    machine={"iommu": iommu, "devices": EDU, "options": options}, **more,
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
    lacking("no-acpi", r"firmware has no DMAR table", None, unit="", options=("-machine", "acpi=off"), ending="running"),
    lacking("no-intremap", r"no interrupt remapping \(ECAP\.IR=0\)", {"intremap": "off"}),
    lacking("no-scalable-mode", r"no scalable mode \(ECAP\.SMTS=0\)", LEGACY),
    lacking("first-stage-only", r"no second-stage translation \(ECAP\.SSTS=0\)", {"x-nested": "off"}),
    Scenario("platform-no-svm", conf=CONF, timeout=60, machine={"cpu": "max,-svm", "devices": EDU},
             expect=[r"no guest can run: the processor has neither VMX nor SVM$", r"nidus: 2 guests ended, 2 failed$"]),

    Scenario("screen-is-ours", timeout=60, conf="[system]\nat-end = poweroff\nconsole = serial screen\n" +
             guest("a", devices=["00:01.0"], args="no-iommu"), machine={"devices": ()},
             expect=[r"guest a: starts without device 0000:00:01\.0: its BAR 0 at 0x[0-9a-f]+ is the screen that nidus prints on",
                     r"nidus: 1 guest ended, 0 failed$"]),

    # at-end: poweroff is what every other scenario has
    Scenario("end-halt", conf=guest(args="no-iommu"), machine={"devices": ()}, timeout=60, ending="running",
             expect=[r"nidus: 1 guests? ended, 0 failed", r"nidus: halted$"]),
    Scenario("end-reboot", conf="[system]\nat-end = reboot\n" + guest(args="no-iommu"), machine={"devices": ()}, timeout=60,
             expect=[r"nidus: 1 guests? ended, 0 failed"]),
    Scenario("no-processor-reboot", conf="[system]\nat-end = reboot\n" + guest(args="no-iommu"), machine={"devices": (), "cpu": "max,-svm"}, timeout=60,
             expect=[r"no guest can run: the processor has neither VMX nor SVM$", r"nidus: 1 guest ended, 1 failed$"], forbid=[r"panic", r"halted"]),
    # the kernel ran, since the machine switched itself off, and said nothing here
    Scenario("console-screen", machine={"devices": ()}, timeout=60,
             conf="[system]\nconsole = screen\nat-end = poweroff\n" + guest(args="no-iommu"),
             expect=[r"^nidus\.conf: 1 guest: a \(64M, 0 devices\)$"], forbid=[r"^\[ *\d+\.\d+\]"]),
]
