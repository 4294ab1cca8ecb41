# SPDX-License-Identifier: BSD-2-Clause
"""Mutants: nidus without one of its flushes.  Each patch of tools/test/mutants takes one out and names, in its head, the boot
test that has to fail for it:

    Mutant: what is taken out
    Boot: the arguments that dma-check gets, on a guest with `nested = on` unless `Nested:` says otherwise
    Fails: what the line of dma-check that has to fail begins with, after its number

A flush that can be taken out without a test that fails is a flush that no test has looked at.
"""
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess

import boot
import machine

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mutants")
SOURCES = ("Makefile", "boot", "kernel", "iommu", "drivers", "guests/guests.mk", "tools")
BUILT = ("inih", "inih.stamp", "deps.stamp")    # made once, the same for all


class Mutant:
    def __init__(self, path):
        self.path = path
        self.name = os.path.basename(path)[:-len(".patch")]
        with open(path, encoding="utf-8") as f:
            head = dict(re.findall(r"^(\w+): (.*)$", f.read().split("\n---", maxsplit=1)[0], re.M))
        self.what, self.args, self.fails = head["Mutant"], head["Boot"], head["Fails"]
        self.nested = head.get("Nested", "on")


def mutants():
    return [Mutant(path) for path in sorted(glob.glob(os.path.join(FOLDER, "*.patch")))]


def command(line, **more):
    done = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **more)
    if done.returncode:
        raise OSError(f"{' '.join(line)}: " + done.stdout.decode("utf-8", "replace").rstrip())


def build(mutant):
    """nidus.efi of the mutant, in build/mutants/NAME; only what the patch changes is compiled the second time."""
    tree = boot.built(f"mutants/{mutant.name}")
    fresh = tree + ".new"
    shutil.rmtree(fresh, ignore_errors=True)
    for source in SOURCES:
        path = os.path.join(machine.TOP, source)
        copy = shutil.copytree if os.path.isdir(path) else shutil.copy2
        os.makedirs(os.path.dirname(os.path.join(fresh, source)), exist_ok=True)
        copy(path, os.path.join(fresh, source))
    command(["patch", "-p1", "--no-backup-if-mismatch", "-F0", "-i", mutant.path], cwd=fresh)
    shutil.rmtree(tree, ignore_errors=True)
    os.rename(fresh, tree)
    os.makedirs(os.path.join(tree, "build"))
    for name in BUILT:
        os.symlink(os.path.abspath(boot.built(name)), os.path.join(tree, "build", name))
    command(["make", "-s", "B=build", "build/nidus.efi"], cwd=tree, env={k: v for k, v in os.environ.items() if k != "MAKEFLAGS"})
    return os.path.join(tree, "build", "nidus.efi")


def run(mutant):
    """Empty text when the boot test notices, else what happened."""
    try:
        efi = build(mutant)
    except OSError as error:
        return f"{error}\nthe patch has to be made anew: the code that it changes has changed"
    conf = "[system]\nat-end = poweroff\n" + boot.guest("a", devices=["00:04.0", "00:05.0"], nested=mutant.nested, args=mutant.args)
    problem = boot.run(boot.Scenario("mutant-" + mutant.name, expect=[r"a\| FAIL [\d.]+ " + re.escape(mutant.fails)], conf=conf, boot=efi,
                                     timeout=60))
    return problem and f"no test notices: {mutant.what}\n{problem}"


def run_all(at_a_time, wanted, report):
    chosen = [m for m in mutants() if wanted("mutant " + m.name)]
    with concurrent.futures.ThreadPoolExecutor(at_a_time) as pool:
        for mutant, why in zip(chosen, pool.map(run, chosen)):
            report("mutant " + mutant.name, int(not why), int(bool(why)), why)
    return len(chosen)
