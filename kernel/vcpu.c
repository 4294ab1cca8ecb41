/* SPDX-License-Identifier: BSD-2-Clause */
/* vcpu.c: which backend this machine can run. */
#include <stddef.h>

#include "kernel/cpu.h"
#include "kernel/vcpu.h"

#define CPUID_HAS_VMX (1u << 5) /* leaf 1 ECX */

extern const struct vcpu_ops svm_ops;

const struct vcpu_ops *vcpu_select(const char **reason)
{
    if (svm_ops.probe(reason))
        return &svm_ops;
    /* Where there is VMX, the lack of SVM is not what a person wants to read. */
    if (cpuid(1, 0).ecx & CPUID_HAS_VMX)
        *reason = "VMX is not supported yet";
    return NULL;
}
