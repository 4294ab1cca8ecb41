# SPDX-License-Identifier: BSD-2-Clause
"""Seeded bugs: each patch of tools/test/property/bugs puts one into a source of the hypervisor, and says in its head

    Bug: what is wrong from then on
    Rule: what it breaks, with its section: 7.2 and 2.4 are those of the fact sheets, all others the specification's

The property test alone has to find it, within STEPS steps, from each of SEEDS.  A bug that it does not find is something that it does not
look at, or too seldom.

A patch is put in by its text: the lines of a hunk, context and all, have to be in the file exactly once, wherever that is.
"""
import concurrent.futures
import glob
import os
import re
import shlex
import subprocess

import machine

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "property", "bugs")
SEEDS = (1, 2, 3)
STEPS = 1000000
TIMEOUT = 600                   # seconds, a seed: a machine that does other things as well


class Bug:
    def __init__(self, path):
        self.path = path
        self.name = os.path.basename(path)[:-len(".patch")]
        with open(path, encoding="utf-8") as f:
            head, _, self.body = f.read().partition("\n--- ")
        said = dict(re.findall(r"^(\w+): (.*)$", head, re.M))
        self.what, self.rule = said["Bug"], said["Rule"]


def bugs():
    return [Bug(path) for path in sorted(glob.glob(os.path.join(FOLDER, "*.patch")))]


def hunks(body):
    """[(file, old text, new text)]"""
    found = []
    for part in ("--- " + body).split("\n--- "):
        name = re.search(r"^\+\+\+ b/(\S+)$", part, re.M)[1]
        for hunk in re.split(r"^@@.*@@.*\n", part, flags=re.M)[1:]:
            lines = hunk.rstrip("\n").split("\n")
            found.append((name, *("".join(line[1:] + "\n" for line in lines if line[:1] in kept) for kept in (" -", " +"))))
    return found


def patched(bug):
    """The sources that the bug changes: {name: text}."""
    texts = {}
    for name, old, new in hunks(bug.body):
        if name not in texts:
            with open(os.path.join(machine.TOP, name), encoding="utf-8") as f:
                texts[name] = f.read()
        if ("\n" + texts[name]).count("\n" + old) != 1:
            raise OSError(f"{name}: the code has changed, this is not there once:\n{old}")
        texts[name] = texts[name].replace(old, new)
    return texts


def command(line):
    done = subprocess.run(line, cwd=machine.TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise OSError(done.stdout.decode("utf-8", "replace").rstrip())


def build(bug):
    """The property test with the bug: its sources are compiled, the rest is that of the good one."""
    tree = os.path.join(machine.BUILD, "bugs", bug.name)
    compiler, objects = shlex.split(os.environ["NIDUS_PROPERTY_CC"]), os.environ["NIDUS_PROPERTY_OBJ"].split()
    for name, text in patched(bug).items():
        source = os.path.join(tree, name)
        os.makedirs(os.path.dirname(source), exist_ok=True)
        with open(source, "w", encoding="utf-8") as f:
            f.write(text)
        command(compiler + ["-c", "-o", source + ".o", source])
        objects = [source + ".o" if re.search(rf"/fast/{re.escape(name)}\.o$", o) else o for o in objects]
    command(compiler + ["-o", os.path.join(tree, "property")] + objects)
    return os.path.join(tree, "property")


def step_of(program, seed):
    """The step at which the seed finds it, None: it does not; and what it says."""
    line = [program, "--seed", str(seed), "--steps", str(STEPS), "--no-shrink"]
    try:
        done = subprocess.run(line, cwd=machine.TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT,
                              check=False)
    except subprocess.TimeoutExpired:
        return None, f"no end after {TIMEOUT} seconds"
    text = done.stdout.decode("utf-8", "replace")
    found = re.search(r"^property: FAILED: seed \d+, step (\d+) .*?: (.*)$", text, re.M)
    return (int(found[1]), found[2]) if found and done.returncode else (None, text.rstrip().split("\n")[-1])


def run(bug):
    """(the steps, empty text when each seed finds it)"""
    try:
        program = build(bug)
    except OSError as error:
        return [], f"{error}\nthe patch has to be made anew"
    results = [step_of(program, seed) for seed in SEEDS]
    os.remove(program)
    missed = [f"seed {seed}: {why}" for seed, (step, why) in zip(SEEDS, results) if step is None]
    return [step for step, _ in results], missed and f"not found within {STEPS} steps: {bug.what} ({bug.rule})\n" + "\n".join(missed)


def run_all(at_a_time, wanted, report):
    chosen = [b for b in bugs() if wanted("bug " + b.name)]
    with concurrent.futures.ThreadPoolExecutor(at_a_time) as pool:
        for bug, (steps, why) in zip(chosen, pool.map(run, chosen)):
            at = ", ".join("none" if step is None else str(step) for step in steps)
            report(f"bug {bug.name}: found at step {at}", int(not why), int(bool(why)), why)
    return len(chosen)
