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
    lacking("vmx", "corei7_skylake_x", r"VMX is not supported yet"),
]
