# SPDX-License-Identifier: BSD-2-Clause
"""The emulated machine that nidus is booted on: QEMU's command line, and the serial console as readable text."""
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, os.environ.get("B", "build"))
FIRMWARE = "/usr/share/OVMF"

EDU = "edu,dma_mask=0xffffffffffffffff"
DEVICES = (EDU + ",addr=04.0", "nidus-dma,addr=05.0", EDU + ",addr=06.0", "nidus-dma,addr=07.0")
IOMMU = {"intremap": "on", "x-scalable-mode": "on", "x-flts": "on", "x-nested": "on", "fs1gp": "on",
         "snoop-control": "on"}
# Interrupt remapping is QEMU's: under KVM its I/O APIC has to be QEMU's as well.
ACCELERATORS = {"tcg": "q35,accel=tcg", "kvm": "q35,accel=kvm,kernel-irqchip=split"}
SAPPHIRE_RAPIDS = "max,vendor=GenuineIntel,family=6,model=143,+svm"


def qemu_binary():
    return os.environ.get("NIDUS_QEMU") or os.path.join(BUILD, "qemu", "qemu-system-x86_64")


def no_kvm():
    """Why nidus cannot run its guests with KVM here, or None."""
    nested = "/sys/module/kvm_intel/parameters/nested"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm is not there, or not yours"
    if not os.path.exists(nested):
        return "KVM does not use VMX here (no kvm_intel): nidus would find no VMX"
    with open(nested, encoding="ascii") as f:
        return None if f.read().strip() in ("Y", "1") else "nested VMX is off: load kvm_intel with nested=1"


def firmware():
    """The code and the variables of OVMF; Debian 13 has only the 4 MiB variant."""
    for suffix in ("_4M", ""):
        pair = [f"{FIRMWARE}/OVMF_{part}{suffix}.fd" for part in ("CODE", "VARS")]
        if all(os.path.exists(name) for name in pair):
            return pair
    raise FileNotFoundError(f"no OVMF in {FIRMWARE}: install the package ovmf (make deps)")


class Machine:
    """One boot.  iommu: properties that differ from IOMMU, or None for a machine without VT-d.  A context manager, because
    firmware writes to its variables: every boot begins with a fresh copy."""

    ends = None                 # it switches itself off

    def __init__(self, disk, iommu=(), devices=DEVICES, cpu="max", memory="1G", options=(), display="none", accel="tcg"):
        self.disk, self.devices, self.cpu, self.memory = disk, devices, cpu, memory
        self.options, self.display, self.accel = options, display, accel
        self.iommu = None if iommu is None else dict(IOMMU, **dict(iommu))

    def __enter__(self):
        self.work = tempfile.mkdtemp(prefix="nidus-run.")
        self.code, variables = firmware()
        self.variables = os.path.join(self.work, "vars.fd")
        shutil.copyfile(variables, self.variables)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.work, ignore_errors=True)

    def command(self):
        """The serial console is QEMU's standard output."""
        line = [qemu_binary(), "-L", "/usr/share/qemu", "-L", "/usr/share/seabios", "-nodefaults", "-machine", ACCELERATORS[self.accel],
                "-cpu", self.cpu, "-m", self.memory, "-smp", "1", "-display", self.display, "-vga", "std",
                "-no-reboot", "-qmp", f"unix:{self.work}/qmp,server=on,wait=off", "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
                "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={self.code}",
                "-drive", f"if=pflash,format=raw,unit=1,file={self.variables}",
                "-drive", f"if=none,id=disk,format=raw,snapshot=on,file={self.disk}",
                "-device", "ide-hd,drive=disk,bootindex=0"]
        if self.iommu is not None:
            line += ["-device", "intel-iommu," + ",".join(f"{k}={v}" for k, v in self.iommu.items())]
        for device in self.devices:
            line += ["-device", device]
        return line + list(self.options)

    def start(self, errors):
        """The process, whose stdout is the serial console.  errors: a file, for what QEMU itself has to say.

        A session of its own: Ctrl-C comes to us, and QEMU ends after the last byte was read."""
        return subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                                start_new_session=True)

    def monitor(self, command):
        """The answer of QEMU's own monitor to a command."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(os.path.join(self.work, "qmp"))
            with s.makefile("rw", encoding="utf-8") as qmp:
                answer = {}
                for request in ({"execute": "qmp_capabilities"},
                                {"execute": "human-monitor-command", "arguments": {"command-line": command}}):
                    qmp.write(json.dumps(request))
                    qmp.flush()
                    answer = json.loads(qmp.readline())
                    while "return" not in answer:   # the greeting, events
                        answer = json.loads(qmp.readline())
                return answer["return"]

    def dma_bytes(self, slot):
        """Register BYTES of the nidus-dma in a slot (docs/nidus-dma.md), as the machine has it, whoever owns the device."""
        bar = re.search(rf"device +{slot}, function 0:.*?BAR0: .*? at (0x[0-9a-f]+)", self.monitor("info pci"), re.S)
        return int(self.monitor(f"xp /1gx {int(bar[1], 16) + 0x38:#x}").split()[1], 16)


class Console:
    """Serial bytes as text: terminal control sequences and carriage returns are taken out, nothing else."""
    CONTROL = re.compile(rb"\x1b(?:\[[0-9;=?]*[A-Za-z]|[()][A-Z0-9]|[=>78])|[\r\0]")
    UNFINISHED = re.compile(rb"\x1b(?:\[[0-9;=?]*|[()])?\Z")

    def __init__(self):
        self.rest = b""

    def feed(self, data, last=False):
        data = self.rest + data
        cut = self.UNFINISHED.search(data)
        self.rest = b""
        if cut and not last:
            data, self.rest = data[:cut.start()], data[cut.start():]
        return self.CONTROL.sub(b"", data).decode("ascii", "backslashreplace")
