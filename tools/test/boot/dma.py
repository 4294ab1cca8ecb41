# SPDX-License-Identifier: BSD-2-Clause
"""dma-check through nested tables: the demonstration, the erratum on every kind of CPU, guests that end while DMA runs."""
import os

import machine

from . import Scenario, guest

ALPHA = ["00:04.0", "00:05.0"]
BETA = ["00:06.0", "00:07.0"]
SPR = {"cpu": machine.SAPPHIRE_RAPIDS}
PAGING = {"iommu": {"x-pasid-mode": "on", "device-iotlb": "on", "x-prs": "on", "x-pds": "on"},
          "devices": (machine.DEVICES[0], "nidus-dma,pasid=on,ats=on,pri=on,addr=05.0") + machine.DEVICES[2:]}
NO_FAILURE = [r"panic", r"\| FAIL ", r"\| skip "]
ALL_CHECKS = 97                 # of steps 1 to 9: a check that is not made is a failure as well


def poweroff(*sections, **system):
    keys = "".join(f"{key.replace('_', '-')} = {value}\n" for key, value in dict(at_end="poweroff", **system).items())
    return "[system]\n" + keys + "".join(sections)


def default_conf():
    with open(os.path.join(machine.TOP, "tools", "image", "nidus.conf"), encoding="ascii") as f:
        return f.read()


def summary(name, checks):
    return rf" {name}\| dma-check: {checks} ok, 0 failed$"


def all_steps(name):
    return [rf" {name}\| step {n}: " for n in range(1, 10)] + [summary(name, ALL_CHECKS), rf"guest {name}: exited with code 0"]


def one(name, args, checks, *expect, system=None, guest_keys=None, before="", **more):
    """One guest on edu and nidus-dma, which says that all is well."""
    return Scenario("dma-" + name, forbid=NO_FAILURE,
                    conf=poweroff(before, guest("a", devices=ALPHA, args=args, **(guest_keys or {})), **(system or {})),
                    expect=[*expect, summary("a", checks), r"nidus: 1 guest ended, 0 failed"], **more)


def busy(name, how, end, **more):
    """Guest a ends somehow while its device writes; guest b, which uses the same IOVAs, does not notice.  The device is looked at
    from outside as well."""
    return Scenario("dma-" + name, conf=poweroff(guest("a", devices=ALPHA, args=how), guest("b", devices=BETA)),
                    forbid=NO_FAILURE, expect=[r" a\| dma-check: now ", *end], also=[all_steps("b")], **more)


SHARED = "[shared ring]\nsize = 64K\n[shared back]\nsize = 4K\n"
STOPPED = r"; DMA of its devices is stopped and blocked$"
SCRUBBED = r"guest a: its 64 MiB are scrubbed and free; of 1536 pages for tables and objects 0 are missing$"

SCENARIOS = [
    Scenario("demo", conf=default_conf(), forbid=NO_FAILURE, expect=[r"nidus: 2 guests ended, 0 failed"],
             also=[all_steps("alpha"), all_steps("beta")]),

    one("errata-no", "step=2 errata=0", 3),
    one("errata-model-143", "step=2 errata=1", 3, r"erratum 772415 in force", machine=SPR),
    one("errata-switched-on", "step=2 errata=1", 3, r"erratum 772415 in force", system={"errata_772415": "on"}),
    one("errata-switched-off", "step=2 errata=0", 3, system={"errata_772415": "off"}, machine=SPR),
    one("errata-refuses-read-only", "refuse-readonly", 14, machine=SPR),
    one("errata-shown", "errata-demo", 4, system={"errata_772415": "off"},
        machine=dict(SPR, iommu={"x-errata-772415": "on"})),
    one("read-only-without-nested", "readonly", 16, guest_keys={"nested": "off"}),
    one("unit-without-nested", "no-nested", 10, r"second stage only \(no ECAP\.NEST\)",
        machine={"iommu": {"x-nested": "off", "x-flts": "off"}}),
    # A unit in caching mode may remember that an entry was absent.
    one("caching-mode", "step=1 step=3 step=5 step=6", 71, machine={"iommu": {"caching-mode": "on"}}),
    one("bad-payloads", "bad-payloads", 150, r" a\| line one$", r" a\| line two$", r" a\| line three$"),
    one("events", "events", 7),
    one("no-pasid", "pasid", 3),
    Scenario("dma-pasid", conf=poweroff(guest("a", devices=["00:05.0 ats=trust"], args="pasid")), forbid=NO_FAILURE, machine=PAGING,
             expect=[summary("a", 18), r"nidus: 1 guest ended, 0 failed"]),
    one("dirty-tracking", "dirty", 24),
    # The other guest, whose device has none of all that, does not notice.
    Scenario("dma-paging", conf=poweroff(guest("a", devices=["00:05.0 ats=trust"], args="paging"),
                                         guest("b", devices=BETA, args="step=3 step=5 step=9")),
             forbid=NO_FAILURE, machine=PAGING, timeout=180,
             expect=[r"guest a: page requests of device 2 were not answered for 10 seconds", summary("a", 14), r"nidus: 2 guests ended, 0 failed"],
             also=[[summary("b", 41)]]),
    Scenario("dma-storm", conf=poweroff(guest("a", devices=ALPHA, args="storm"),
                                        guest("b", devices=BETA, args="step=3 step=4 step=5 step=9")),
             forbid=NO_FAILURE, expect=[r"nidus: 2 guests ended, 0 failed"],
             also=[[summary("a", 2)], [summary("b", 49)]]),

    Scenario("dma-shared", conf=poweroff(SHARED, guest("a", devices=ALPHA, args="shared") + "shared = ring rw\nshared = back rw\n",
                                         guest("b", devices=BETA, args="shared", nested="off") + "shared = ring ro\nshared = back rw\n"),
             forbid=NO_FAILURE, machine=SPR, expect=[r"nidus: 2 guests ended, 0 failed"], also=[[summary("a", 4)], [summary("b", 9)]]),
    one("shared-left-out", "shared-left-out", 3, r"guest a: 0xc0000000 to 0xc000ffff, which it may only read, is left out of its default IOAS: "
        r"erratum 772415, and nested = on$", guest_keys={"shared": "ring ro"}, before=SHARED, machine=SPR),

    busy("guest-exits", "exit-busy", [r"guest a: exited with code 0" + STOPPED, SCRUBBED, r"nidus: 2 guests ended, 0 failed"],
         still=(STOPPED, 5)),
    busy("guest-crashes", "crash", [r"guest a: .*" + STOPPED, SCRUBBED, r"nidus: 2 guests ended, 1 failed"],
         still=(STOPPED, 5)),
    # Not every step: the endless DMA takes the emulator most of a processor.
    Scenario("dma-guest-spins", conf=poweroff(guest("a", devices=ALPHA, args="spin"),
                                              guest("b", devices=BETA, args="step=3 step=5 step=9")),
             forbid=NO_FAILURE, expect=[r" a\| dma-check: now a loop"], also=[[summary("b", 41)]],
             ending="running", timeout=180),
]
