/* SPDX-License-Identifier: BSD-2-Clause */
/* 1: a CPU as after power-on, in 64-bit mode; nothing in it is another guest's. */
#include <string.h>

#include "guests/cpu-check/steps.h"
#include "guests/cpu-check/trap.h"
#include "guests/runtime/call.h"
#include "guests/runtime/check.h"

#define RDI 7
#define FXSAVE_FIP   8          /* last x87 instruction and operand pointers */
#define FXSAVE_MXCSR 24
#define FXSAVE_ST    32
#define FXSAVE_XMM   160
#define FXSAVE_END   416

extern const uint64_t start_registers[16];
extern const uint8_t start_fxsave[512];

static bool all_zero(const uint8_t *bytes, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

void step_start(void)
{
    uint32_t mxcsr;
    unsigned used = 0;

    check_step("1", "what the CPU holds when a guest starts");
    for (unsigned i = 0; i < 16; i++)
        used += i != RDI && start_registers[i] != 0;
    check(used == 0 && start_registers[RDI] == (uint64_t)guest_info, "general registers are 0, but for RDI: the guest-info page");
    memcpy(&mxcsr, start_fxsave + FXSAVE_MXCSR, sizeof(mxcsr));
    check(start_fxsave[0] == 0x7f && start_fxsave[1] == 0x03 && mxcsr == 0x1f80, "x87 control word 0x37f, MXCSR 0x1f80");
    check(all_zero(start_fxsave, FXSAVE_FIP, FXSAVE_MXCSR), "x87 instruction and operand pointers are 0");
    check(all_zero(start_fxsave, FXSAVE_ST, FXSAVE_XMM), "x87 registers are 0");
    check(all_zero(start_fxsave, FXSAVE_XMM, FXSAVE_END), "XMM0 to XMM15 are 0");
    check((read_dr0() | read_dr1() | read_dr2() | read_dr3()) == 0, "DR0 to DR3 are 0");
    check(read_dr6() == 0xffff0ff0 && read_dr7() == 0x400, "DR6 is 0xffff0ff0, DR7 is 0x400");
    check(read_cr2() == 0, "CR2 is 0");
    check((rdmsr(0xc0000081) | rdmsr(0xc0000082) | rdmsr(0xc0000083) | rdmsr(0xc0000084)) == 0, "STAR, LSTAR, CSTAR, SFMASK are 0");
    check((rdmsr(0xc0000100) | rdmsr(0xc0000101) | rdmsr(0xc0000102)) == 0, "FS.base, GS.base, KernelGSbase are 0");
    check((rdmsr(0x174) | rdmsr(0x175) | rdmsr(0x176)) == 0, "SYSENTER_CS, ESP, EIP are 0");
    check(rdmsr(0x277) == 0x0007040600070406, "PAT is as after power-on");
    check((read_cr0() & ~0x2ull) == 0x80010031 && (read_cr4() & ~0x600ull) == 0x60, "CR0, CR4: paging, protection, PAE, MCE");
    check(rdmsr(0xc0000080) == 0xd00, "EFER: LME, LMA, NXE");
}
