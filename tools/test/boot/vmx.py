# SPDX-License-Identifier: BSD-2-Clause
"""The processor that guests see: the same in QEMU, whose SVM it comes from, and in Bochs, whose VMX it comes from."""
import bochs

from . import Scenario, built, guest

NO_FAILURE = [r"panic", r"\| FAIL "]
PATIENCE = 120                  # seconds: ten times what the slowest of these boots takes
SUMMARY = r"\| cpu-check: \d+ ok, 0 failed(, \d+ skipped)?$"


def cpu_check(name="a", **keys):
    return guest(name, image="cpu-check", **dict({"memory": "16M"}, **keys))


def on_model(name, model, *expect, **more):
    """A boot of one of Bochs's processors."""
    return Scenario("vmx-" + name, rig=bochs.Bochs, machine={"model": model}, guests=("cpu-check",), forbid=NO_FAILURE,
                    ending="running", timeout=PATIENCE, expect=[*expect, bochs.ENDS], **dict({"conf": cpu_check()}, **more))


def runs(model, **more):
    return on_model(model, model, r" a" + SUMMARY, r"guest a: exited with code 0", r"nidus: 1 guest ended, 0 failed$", **more)


def lacks(name, model, reason, **more):
    """Why no guest runs is one line, and nidus ends as nidus.conf says."""
    return on_model("lacks-" + name, model, rf"no guest can run: {reason}$", r"nidus: 1 guest ended, 1 failed$", **more)


def both(name, guests, expect, **more):
    return Scenario("cpu-" + name, both=True, conf="[system]\nat-end = poweroff\n" + "".join(guests), guests=("cpu-check", "dma-check"),
                    expect=expect, forbid=NO_FAILURE, timeout=240, **more)


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

# SVM with next RIP.  Without step 4: Bochs does not set DR6 when a debug exception leaves the guest.  (Nor does its VMRUN load CR2.)
RYZEN = "step=1 step=2 step=3 step=5 step=6 step=7 step=8"


def nmis(name, model, **guests):
    """NMIs at any moment, every 25 ms of emulated time: counted and told, and no guest notices.  One guest spins, so that nearly all come
    while a guest runs: without those their number would not double again and again."""
    told = r"NMI: \d+ so far, the last for a reason that port 61h does not tell$"
    conf = "".join(cpu_check(g, **({"args": args} if args else {})) for g, args in dict(guests, s="end=spin").items())
    return Scenario("vmx-" + name, rig=bochs.Bochs, machine={"model": model}, guests=("cpu-check",), forbid=NO_FAILURE, ending="running",
                    timeout=PATIENCE, conf=conf, boot="nmi.efi", files={"nidus/nidus.efi": built("nidus.efi")},
                    expect=[r" s\| cpu-check: now spin", told, told, told, told], also=[[rf" {g}" + SUMMARY] for g in guests])


def in_qemu(name, guests, **more):
    """A boot without VT-d, where QEMU's monitor is told something."""
    return Scenario("cpu-" + name, conf="".join(guests), guests=("cpu-check",), machine={"iommu": None, "devices": ()}, **more)


# A memory controller's error, which no processor corrects; bank, status, MCG_STATUS, address, what else.
MACHINE_CHECK = "mce 0 4 0xbe00000000000090 0x5 0x12345000 0x8c"
MACHINE_CHECK_TOLD = [r"machine check: bank 4: memory controller at 0x12345000, not corrected, the processor's state is damaged, "
                      r"status 0xbe00000000000090$", r"nidus: panic: machine check"]

SCENARIOS = [
    both("steps", [cpu_check(), guest("b", args="no-iommu")], [r" a" + SUMMARY, r"nidus: 2 guests ended, 0 failed$"]),
    both("state", [cpu_check("a", args="state=1"), cpu_check("b", args="state=2"), cpu_check("c", args="end=spin")], [],
         also=[[rf" {name}" + SUMMARY, rf"guest {name}: exited with code 0", rf"guest {name}: .* scrubbed and free; of \d+ .* 0 are missing$"] for name in "ab"],
         ending="running"),
    both("ends", [cpu_check(end, args="end=" + end) for end in ENDS], [r"nidus: 8 guests ended, 8 failed$"],
         also=[[rf"guest {end}: {why}$"] for end, why in ENDS.items()]),

    both("shared", ["[shared ring]\nsize = 64K\n[shared back]\nsize = 4K\n", cpu_check("a", args="shared") + "shared = ring rw\nshared = back rw\n",
                    cpu_check("b", args="shared end=shared") + "shared = back rw\nshared = ring ro\n"], [r"nidus: 2 guests ended, 1 failed$"],
         also=[[r"guest a: shared region ring, 64 KiB at 0xc0000000, read-write$", r" a" + SUMMARY],
               [r"guest b: shared region ring, 64 KiB at 0xc0000000, read-only$", r" b\| ok .* every word of ring is what it wrote$",
                r"guest b: wrote guest-physical address 0xc0000000 in shared region ring, which it may only read$"]]),

    # Each of Bochs's processors that has what nidus asks for: they differ in what it can do without (A and D bits, INVPCID, pages of
    # 1 GiB, the preemption timer's rate), and in what guests are offered.
    *(runs(model) for model in ("corei5_arrandale_m520", "corei7_sandy_bridge_2600k", "corei7_ivy_bridge_3770k", "corei7_haswell_4770",
                                "broadwell_ult", "corei7_skylake_x", "corei3_cnl", "corei7_icelake_u", "tigerlake", "arrow_lake")),
    runs("ryzen", conf=cpu_check(args=RYZEN)),
    nmis("nmi", bochs.MODEL, a="", b="state=1", c="state=2"),
    nmis("nmi-svm", "ryzen", a=RYZEN, b=RYZEN),
    in_qemu("nmi", [cpu_check("a", args="state=1"), cpu_check("c", args="end=spin")], forbid=NO_FAILURE, ending="running",
            monitor=[(r" c\| cpu-check: now spin", "nmi"), (r"NMI: 1", "nmi")], also=[[r" a" + SUMMARY]],
            expect=[r"NMI: 1 so far, the last for a reason that port 61h does not tell$", r"NMI: 2 so far"]),
    # (It may hit the microseconds in which nidus arms its timer between two slices.)
    in_qemu("machine-check", [cpu_check("c", args="end=spin")], forbid=[], ending="running", timeout=30, again=r"panic: machine check",
            monitor=[(r" c\| cpu-check: now spin", MACHINE_CHECK)],
            expect=[r"guest c was running when the machine failed$", *MACHINE_CHECK_TOLD]),
    in_qemu("machine-check-in-nidus", [cpu_check("a", args="end=code")], forbid=[r"was running"], ending="running",
            monitor=[(r"nidus: halted", MACHINE_CHECK)], expect=MACHINE_CHECK_TOLD),
    lacks("vmx", "athlon64_venice", r"the processor has neither VMX nor SVM"),
    lacks("ept", "core2_penryn_t9600", r"the processor's VMX has no EPT"),
    lacks("lock", bochs.MODEL, r"firmware has locked VMX off \(IA32_FEATURE_CONTROL 0x1\)", boot="locked.efi",
          files={"nidus/nidus.efi": built("nidus.efi")}),
    lacks("unrestricted-guest", "corei5_lynnfield_750", r"the processor's VMX has no unrestricted guest"),
]
