# SPDX-License-Identifier: BSD-2-Clause
"""The machine that has VMX but no VT-d: Bochs 2.7 as Debian has it, with OVMF, an i440FX and one disk.

It has no ACPI tables, so nidus cannot switch it off: whoever started it ends it, at a line that matches ENDS or when it is late.  Time in it
is instructions: one tick of the TSC is one instruction, and nothing repeats its figures better.
"""
import os
import pty
import shutil
import subprocess
import tempfile
import threading

FIRMWARE = "/usr/share/ovmf/OVMF.fd"
VGA = "/usr/share/bochs/VGABIOS-lgpl-latest"
ENDS = r"\] nidus: halted$|^nidus: nothing was started"   # the last line, one way or the other
MODEL = "corei7_skylake_x"      # has EPT with all its features, AVX-512 and x2APIC

# ignore_bad_msrs: OVMF reads MSRs that this machine has not.  "c" for the debugger that Debian's build starts in.
CONFIGURATION = """\
config_interface: textconfig
display_library: term
plugin_ctrl: unmapped=1, biosdev=1, extfpuirq=1, iodebug=0, parallel=0, gameport=0
cpu: model={model}, count=1, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest={memory}, host={memory}
romimage: file={firmware}
vgaromimage: file={vga}
pci: enabled=1, chipset=i440fx
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, mode=volatile, path="{disk}", journal="{work}/journal"
boot: disk
com1: enabled=1, mode=file, dev=/dev/fd/{console}
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
speaker: enabled=0
log: /dev/fd/{log}
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
"""


class Bochs:
    """One boot.  A context manager, for the files that it takes."""

    ends = ENDS

    def __init__(self, disk, model=MODEL, memory=512):
        self.disk, self.model, self.memory = disk, model, memory

    def __enter__(self):
        for needed in (FIRMWARE, VGA):
            if not os.path.exists(needed):
                raise FileNotFoundError(f"no {needed}: install the packages ovmf and bochs (make deps)")
        self.work = tempfile.mkdtemp(prefix="nidus-bochs.")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.work, ignore_errors=True)

    def start(self, errors):
        """The process, whose stdout is the serial console.  errors: a file, for what Bochs itself has to say.

        Its screen needs a terminal that somebody reads; and when this process ends, however it does, so does that terminal, and
        Bochs with it."""
        master, terminal = pty.openpty()
        console, serial = os.pipe()
        paths = {name: os.path.join(self.work, name) for name in ("bochsrc", "commands")}
        with open(paths["bochsrc"], "w", encoding="ascii") as f:
            f.write(CONFIGURATION.format(model=self.model, memory=self.memory, firmware=FIRMWARE, vga=VGA, disk=self.disk,
                                         work=self.work, console=serial, log=errors.fileno()))
        with open(paths["commands"], "w", encoding="ascii") as f:
            f.write("c\n")
        process = subprocess.Popen(["bochs", "-q", "-f", paths["bochsrc"], "-rc", paths["commands"]],
                                   env=dict(os.environ, TERM="xterm"), pass_fds=(serial, errors.fileno()),
                                   preexec_fn=lambda: os.login_tty(terminal))
        os.close(terminal)
        os.close(serial)
        process.stdout = os.fdopen(console, "rb", buffering=0)
        threading.Thread(target=self._drain, args=(master,), daemon=True).start()
        return process

    @staticmethod
    def _drain(master):
        try:
            while os.read(master, 65536):
                pass
        except OSError:         # the other end is closed
            pass
        os.close(master)
