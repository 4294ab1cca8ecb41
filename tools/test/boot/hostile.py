# SPDX-License-Identifier: BSD-2-Clause
"""Two guests that make any calls with any payloads (guests/hostile) while their devices do DMA, and one whose DMA goes on as it should."""
from . import Scenario, guest
from .dma import NO_FAILURE, PAGING, poweroff

CALLS = 100000                  # of each guest
SEEDS = {"a": 1, "b": 2}
# Two more devices: the hostile guests' nidus-dma have PASIDs and a TLB of their own, and ask for pages.
MACHINE = dict(PAGING, devices=tuple(d + ",msix=on" if "pri=on" in d else d for d in PAGING["devices"]) +
               ("nidus-dma,pasid=on,ats=on,pri=on,msix=on,addr=08.0",))
DEVICES = {"a": ["00:04.0", "00:05.0 ats=trust"], "b": ["00:08.0 ats=trust"]}
PEACEFUL = guest("c", devices=["00:06.0", "00:07.0"], args="step=3 step=4 step=5 step=9 again")


def scenario(name, seeds, calls, timeout):
    """Each hostile guest makes its calls and ends with nothing of its left, and the peaceful one, which never ends, is well after that."""
    hostile = [guest(g, image="hostile", memory="32M", devices=DEVICES[g], args=f"seed={seed} calls={calls}") for g, seed in seeds.items()]
    ends = [[rf" {g}\| hostile: seed {seed}: {calls} calls held$", rf"guest {g}: exited with code 0; DMA of its devices is stopped and blocked$",
             rf"guest {g}: its 32 MiB are scrubbed and free; of 1024 pages for tables and objects 0 are missing$",
             r" c\| dma-check: \d+ ok, 0 failed$", r" c\| dma-check: \d+ ok, 0 failed$"] for g, seed in seeds.items()]
    return Scenario(name, conf=poweroff(*hostile, PEACEFUL), guests=("hostile", "dma-check"), machine=MACHINE, expect=ends[0], also=ends[1:],
                    forbid=NO_FAILURE + [r"guest \w: exited with code [^0]", r"objects [^0]\d* are missing"], ending="running", timeout=timeout)


SCENARIOS = [scenario("hostile", SEEDS, CALLS, 600)]
