/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmx.S: the way into a guest and back.
 */
#include "kernel/vcpu_gpr.h"
#include "kernel/vmx/vmcs.h"

    .text

/*
 * vmx_run: RDI: uint64_t gpr[16]; SIL: was the current VMCS launched?  RAX is 1 afterwards, 0 when VMLAUNCH or VMRESUME failed.
 * Interrupts are off at entry and at return: VMX puts nothing of the guest's into nidus's RFLAGS.
 */
    .globl vmx_run, vmx_exit
    .type vmx_run, @function
vmx_run:
    push %rbp
    push %rbx
    push %r12
    push %rdi

    mov $VMCS_HOST_RSP, %eax
    vmwrite %rsp, %rax
    test %sil, %sil
    mov RAX(%rdi), %rax
    FOR_GPRS LOAD_GPR, %rdi
    mov RSI(%rdi), %rsi
    mov RDI(%rdi), %rdi
    jz 1f
    vmresume
    jmp 2f
1:  vmlaunch
2:  pop %rdi
    xor %eax, %eax
    jmp .Lout

vmx_exit:
    push %rdi
    mov 8(%rsp), %rdi
    mov %rax, RAX(%rdi)
    FOR_GPRS SAVE_GPR, %rdi
    mov %rsi, RSI(%rdi)
    pop %rax
    mov %rax, RDI(%rdi)
    pop %rdi
    mov $1, %eax
    /* One call before the first return: else that return may still follow what the guest taught the predictor (Intel's advisory on
     * post-barrier return stack buffer predictions). */
    call 3f
    int3
3:  add $8, %rsp
    lfence
.Lout:
    FORGET_GPRS
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .size vmx_run, . - vmx_run

    .section .note.GNU-stack, "", @progbits
