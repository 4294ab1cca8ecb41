/* SPDX-License-Identifier: BSD-2-Clause */
/* presets.c: capability registers of units that exist, and of some that could. */
#include <string.h>

#include "model.h"

#define SPR_CAP  0x19ed008c40780c66ULL
#define SPR_ECAP 0x3ee9e86f050dfULL

const struct model_preset model_presets[] = {
    { "spr", 0x60, SPR_CAP, SPR_ECAP, 52 },                              /* Sapphire Rapids */
    { "spr4", 0x60, 0x9ed008c40780466ULL, SPR_ECAP, 52 },                /* … with 5-level tables off */
    { "spr-svm", 0x60, SPR_CAP, 0x3ef9ea6f050dfULL, 52 },                /* … with PASID and PRS */
    { "qemu", 0x10, 0x81d2008c222f0606ULL, 0x3e80084f00fcbULL, 48 },     /* the patched QEMU: ESRTPS, neither PASID nor ATS */
    { "caching", 0x10, 0x81d2008c222f0686ULL, 0x3e80084f00fcbULL, 48 },  /* … with CM=1: remembers what is absent */
    /* SAGAW of 3 levels alone, MGAW 39. */
    { "3-level", 0x60, 0x9ed008c40660266ULL, SPR_ECAP, 39 },
    /* C, SMPWCS and with it SSADS, EAFS are 0. */
    { "noncoherent", 0x60, SPR_CAP, SPR_ECAP & ~(1ULL << 0 | 1ULL << 34 | 1ULL << 45 | 1ULL << 48), 52 },
    { "granite", 0x70, 0xf9ed008cee780c66ULL, 0x3fef9ea6f0efdfULL, 52 }, /* ESRTPS, ESIRTPS, RPRIVS, ADMS */
    { "meteor", 0x70, 0xc9de008cee690462ULL, 0x12ca9a00f0efdeULL, 42 },  /* no NEST, C=0, SMPWCS=0 */
    { "legacy", 0x10, 0x8d2078c106f0466ULL, 0xf020dfULL, 46 },           /* Ice Lake server: no scalable mode, 8 records */
    { NULL, 0, 0, 0, 0 },
};

const struct model_preset *model_preset(const char *name)
{
    for (const struct model_preset *p = model_presets; p->name; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}
