# SPDX-License-Identifier: BSD-2-Clause
"""A mistake in nidus.conf or an image: one line that names it, and back to firmware with nothing started.

What the text of nidus.conf alone can have wrong is in tools/test/host/test_config.c, what an image can, in test_image.c.
"""
import struct

from . import Scenario, guest

EDU = "00:04.0"
FORBID = [r"panic", r"^\[ *\d+\.\d+\]"]   # a line of the kernel


def elf(gpa):
    """The smallest executable: one page at gpa that halts."""
    code = b"\xf4\xeb\xfd"
    header = struct.pack("<4s12xHHIQQQIHHHHHH", b"\x7fELF", 2, 62, 1, gpa, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    header = header[:4] + b"\2\1\1" + header[7:]
    return header + struct.pack("<IIQQQQQQ", 1, 5, 120, gpa, gpa, len(code), 4096, 16) + code


def mistake(name, message, conf, **more):
    more.setdefault("files", {"nidus/guests/dma-check.elf": elf(0x100000)})
    return Scenario("conf-" + name, expect=[r"^nidus \d", message], conf=conf, forbid=FORBID, ending="firmware",
                    timeout=60, guests=(), **more)


def image(name, message, content):
    return mistake("image-" + name, r"^nidus\.conf:2: \\nidus\\guests\\bad\.elf: " + message, guest(image="bad", memory="2M"),
                   files={"nidus/guests/bad.elf": content})


SCENARIOS = [
    mistake("missing", r"^nidus\.conf: \\nidus\\nidus\.conf: not found$", None),
    mistake("empty", r"^nidus\.conf: the file is empty$", ""),
    mistake("no-text", r"^nidus\.conf:1: a zero byte: this is no plain text file$", b"\xff\xfe[\0s\0"),
    mistake("too-long", r"^nidus\.conf: \\nidus\\nidus\.conf: 70000 bytes; the most is 65536$", "#" * 70000),
    mistake("unknown-key", r"^nidus\.conf:4: 'memroy' is no key of \[guest\]$", guest() + "memroy = 2M\n"),
    mistake("no-guest", r"^nidus\.conf: there is no \[guest NAME\]: nothing to start$", "[system]\nconsole = serial\n"),
    mistake("device-missing", r"^nidus\.conf:4: there is no device at 0000:00:1b\.0$", guest(devices=["00:1b.0"])),
    mistake("id-missing", r"^nidus\.conf:4: there is no device 8086:10c9$", guest(devices=["8086:10c9"])),
    mistake("id-several", r"^nidus\.conf:4: several devices are 1234:11e8; give the address of one: "
            r"0000:00:04\.0 0000:00:06\.0$", guest(devices=["1234:11e8"])),
    mistake("bridge", r"^nidus\.conf:4: 0000:00:1f\.0 \(8086:2918\) is a bridge and cannot be given to a guest$",
            guest(devices=["00:1f.0"])),
    mistake("device-twice", r"^nidus\.conf:8: 0000:00:04\.0 \(1234:11e8\) was given away before, in line 4$",
            guest("a", devices=[EDU]) + guest("b", devices=["0000:00:04.0"])),
    mistake("image-missing", r"^nidus\.conf:2: \\nidus\\guests\\none\.elf: not found$", guest(image="none")),
    mistake("image-folder", r"^nidus\.conf:2: \\nidus\\guests: not found$", "[guest a]\nimage = guests\nmemory = 2M\n"),
    image("no-elf", r"no ELF file$", "MZ"),
    image("empty", r"no ELF file$", b""),
    image("cut-off", r"cut off inside the ELF header$", b"\177ELF\2\1\1"),
    mistake("memory", r"^nidus\.conf:3: too little memory: the guests, what they share and nidus take 2\d{3} MiB, free are \d{3,4} MiB$",
            guest(memory="2G")),
    image("outside", r"segment at 0x300000, 4096 bytes, lies outside the guest's memory of 2097152 bytes$", elf(0x300000)),
    image("below", r"segment at 0x8000 lies below 0x100000, where nidus puts the guest's first tables$", elf(0x8000)),
]
