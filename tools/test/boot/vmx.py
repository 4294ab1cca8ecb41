# SPDX-License-Identifier: BSD-2-Clause
"""Machines with VMX, in Bochs."""
import bochs

from . import Scenario, guest

CONF = guest("a", args="no-iommu")


def boots(name, *expect, conf=CONF, **more):
    return Scenario("vmx-" + name, conf=conf, rig=bochs.Bochs, ending="running", timeout=120, expect=[*expect, bochs.ENDS], **more)


def lacking(name, model, reason, **more):
    """No guest can run, the reason is told, and nidus ends as it was told to."""
    return boots("lacks-" + name, rf"no guest can run: {reason}$", r"nidus: 1 guest ended, 1 failed$", machine={"model": model}, **more)


SCENARIOS = [
    boots("one-guest", r" a\| dma-check: 2 ok, 0 failed$", r"guest a: exited with code 0", r"nidus: 1 guest ended, 0 failed$"),
]
