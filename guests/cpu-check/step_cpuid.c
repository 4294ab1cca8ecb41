/* SPDX-License-Identifier: BSD-2-Clause */
/* 2: what every processor gets from nidus, whatever the machine's has. */
#include <string.h>

#include "guests/cpu-check/steps.h"
#include "guests/cpu-check/trap.h"
#include "guests/runtime/check.h"

#define BIT(n) (1u << (n))

void step_cpuid(void)
{
    struct cpuid one = cpuid(1, 0), name = cpuid(0x40000000, 0), seven = cpuid(7, 0), end = cpuid(0, 0), c;

    check_step("2", "CPUID");
    check(name.eax == 0x40000000 && memcmp(&name.ebx, "nidusnidusni", 12) == 0 && (one.ecx & BIT(31)), "hypervisor: nidusnidusni");
    check(one.ebx >> 16 == 1, "one CPU, APIC id 0");
    check((one.ecx & (BIT(21) | BIT(24))) == (BIT(21) | BIT(24)) && (one.edx & BIT(9)), "APIC, x2APIC, TSC-deadline timer");
    check((one.ecx & (BIT(3) | BIT(5))) == 0, "no MONITOR, no VMX");
    check((one.edx & (BIT(7) | BIT(12) | BIT(14))) == 0, "no MCE, MTRR, MCA");
    check((one.edx & (BIT(4) | BIT(5) | BIT(24) | BIT(25) | BIT(26))) == (BIT(4) | BIT(5) | BIT(24) | BIT(25) | BIT(26)),
          "TSC, MSR, FXSR, SSE, SSE2");
    check((seven.ebx & (BIT(11) | BIT(14) | BIT(25))) == 0, "no TSX, MPX, PT");
    check((seven.ecx & (BIT(3) | BIT(7) | BIT(16) | BIT(22))) == 0, "no PKU, CET, LA57, RDPID");
    check((cpuid(0x80000001, 0).ecx & BIT(2)) == 0 && (cpuid(0x80000001, 0).edx & BIT(27)) == 0, "no SVM, RDTSCP");
    c = cpuid(end.eax + 1, 0);
    check((c.eax | c.ebx | c.ecx | c.edx) == 0, "the leaf behind the last is 0");
    c = cpuid(0x8000000a, 0);
    check((c.eax | c.ebx | c.ecx | c.edx) == 0, "SVM's leaf is 0");
    check((cpuid(1, 0).ecx & BIT(27)) == 0, "OSXSAVE is off, as CR4.OSXSAVE is");
}
