# SPDX-License-Identifier: BSD-2-Clause
"""The machine that has VMX but no VT-d: Bochs 3.0 (tools/bochs/build), with OVMF, an i440FX and one disk.

It has no ACPI tables, so nidus cannot switch it off: whoever started it ends it, at a line that matches ENDS or when it is late.  Time in it
is instructions: one tick of the TSC is one instruction, and nothing repeats its figures better.
"""
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile

import machine

FIRMWARE = "/usr/share/ovmf/OVMF.fd"
VGA = "/usr/share/seabios/vgabios.bin"
ENDS = r"\] nidus: halted$|^nidus: nothing was started"   # the last line, one way or the other
MODEL = "sapphire_rapids"       # what nidus is for

# ignore_bad_msrs: OVMF reads MSRs that this machine has not.
CONFIGURATION = """\
config_interface: textconfig
display_library: nogui
plugin_ctrl: unmapped=1, biosdev=1, extfpuirq=1
cpu: model={model}, count=1, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest={memory}, host={memory}
romimage: file={firmware}
vgaromimage: file={vga}
pci: enabled=1, chipset=i440fx
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, mode=volatile, path="{disk}", journal="{work}/journal"
boot: disk
com1: enabled=1, mode=file, dev=/dev/fd/{console}
speaker: enabled=0
log: /dev/fd/{log}
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
"""


def _end_with_parent():
    """A machine that is halted says nothing more and would run for ever."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Bochs:
    """One boot.  A context manager, for the files that it takes."""

    ends = ENDS

    def __init__(self, disk, model=MODEL, memory=512):
        self.disk, self.model, self.memory = disk, model, memory

    def __enter__(self):
        for needed in (FIRMWARE, VGA):
            if not os.path.exists(needed):
                raise FileNotFoundError(f"no {needed}: install the packages ovmf and seabios (make deps)")
        self.work = tempfile.mkdtemp(prefix="nidus-bochs.")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.work, ignore_errors=True)

    def start(self, errors):
        """The process, whose stdout is the serial console.  errors: a file, for what Bochs itself has to say."""
        console, serial = os.pipe()
        configuration = os.path.join(self.work, "bochsrc")
        with open(configuration, "w", encoding="ascii") as f:
            f.write(CONFIGURATION.format(model=self.model, memory=self.memory, firmware=FIRMWARE, vga=VGA, disk=self.disk,
                                         work=self.work, console=serial, log=errors.fileno()))
        process = subprocess.Popen([os.path.join(machine.BUILD, "bochs", "bochs"), "-q", "-f", configuration], stdin=subprocess.DEVNULL,
                                   stdout=errors, stderr=errors, pass_fds=(serial, errors.fileno()), start_new_session=True,
                                   preexec_fn=_end_with_parent)
        os.close(serial)
        process.stdout = os.fdopen(console, "rb", buffering=0)
        return process
