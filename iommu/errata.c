/* SPDX-License-Identifier: BSD-2-Clause */
#include "iommu/errata.h"

#include <string.h>

#include "iommu/platform.h"
#include "iommu/registers.h"

#define CPU_FAMILY         BITS(11, 8)
#define CPU_MODEL_EXTENDED BITS(19, 16)
#define CPU_MODEL          BITS(7, 4)

#define SAPPHIRE_RAPIDS    0x8fu    /* model, of family 6 */

/* Units that are known not to have it.  Every other one with nested translation is taken to have it. */
static const struct {
    const char *hypervisor;         /* CPUID 40000000h */
    uint32_t version;               /* the unit's VER */
    const char *evidence;
} unaffected_772415[] = {
    { "TCGTCGTCGTCG", 0x10, "QEMU's emulated unit asks the second stage for write permission before it sets A or D" },
};

static bool cpu_is_sapphire_rapids(void)
{
    uint32_t signature = platform_cpu_signature();
    uint64_t model = place(BITS(7, 4), field(signature, CPU_MODEL_EXTENDED)) | field(signature, CPU_MODEL);
    return field(signature, CPU_FAMILY) == 6 && model == SAPPHIRE_RAPIDS;
}

bool errata_772415(uint64_t ecap, uint32_t version, enum iommu_errata_policy policy)
{
    char hypervisor[13];
    if (policy != IOMMU_ERRATA_AUTO)
        return policy == IOMMU_ERRATA_ON;
    if (!(ecap & ECAP_NEST))
        return false;
    if (cpu_is_sapphire_rapids()) /* an emulated one as well: that is how the rule is tested */
        return true;
    platform_hypervisor_id(hypervisor);
    for (unsigned i = 0; i < sizeof unaffected_772415 / sizeof unaffected_772415[0]; i++)
        if (!strcmp(hypervisor, unaffected_772415[i].hypervisor) && version == unaffected_772415[i].version)
            return false;
    return true;
}
