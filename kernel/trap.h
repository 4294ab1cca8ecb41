/* SPDX-License-Identifier: BSD-2-Clause */
/* trap.h: exceptions and interrupts of the host CPU. */
#ifndef NIDUS_TRAP_H
#define NIDUS_TRAP_H

#define VECTOR_TICK     0x30
#define VECTOR_UNIT     0x31    /* a remapping unit has something for kernel/events.c */
#define VECTOR_SPURIOUS 0xff

/* Selectors of nidus's own GDT. */
#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_TSS  0x18

#define STACK_SIZE  0x8000
#define STACK_GUARD 0x1000

#ifndef __ASSEMBLER__
#include <stdint.h>

/* What the entry code in trap.S leaves on the stack. */
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};
_Static_assert(sizeof(struct trap_frame) == 22 * 8, "trap.S pushes 22 words");

/* An unmapped page below each stack turns an overflow into a page fault (or a double fault, on its own stack). */
enum stack_use { STACK_MAIN, STACK_DOUBLE_FAULT, STACK_NMI, STACK_MACHINE_CHECK, STACKS };
struct stack {
    uint8_t guard[STACK_GUARD];
    uint8_t bytes[STACK_SIZE];
};
extern struct stack stacks[STACKS];

/* nidus's own GDT, TSS and IDT; the legacy interrupt controllers masked. */
void traps_init(void);
/* Where they are, for a processor that loads them when a guest leaves. */
struct trap_tables {
    uint64_t gdt, idt, tss;
};
struct trap_tables traps_tables(void);
void trap_handle(struct trap_frame *frame);
/* How many NMIs came, in a line of the log: each of the first few, then at each doubling. */
void traps_tell_nmis(void);

/* Lines of the log, innermost call first, from a frame pointer on. */
void backtrace(uint64_t rip, uint64_t rbp);
#endif

#endif
