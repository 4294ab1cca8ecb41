/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * registers.h: the register page of a remapping unit, VT-d 5.10 chapter 11: each register's offset, its fields indented under it.
 */
#ifndef NIDUS_REGISTERS_H
#define NIDUS_REGISTERS_H

#include "iommu/bits.h"

#define REG_VER     0x000u
#define     VER_MINOR           BITS(3, 0)
#define     VER_MAJOR           BITS(7, 4)

#define REG_CAP     0x008u
#define     CAP_ND              BITS(2, 0)      /* a DID has 4 + 2 ND bits */
#define     CAP_PLMR            BIT(5)
#define     CAP_PHMR            BIT(6)
#define     CAP_CM              BIT(7)
#define     CAP_SAGAW           BITS(12, 8)     /* second stage: bit 1: 3 levels, 2: 4, 3: 5 */
#define     CAP_MGAW            BITS(21, 16)    /* width - 1 */
#define     CAP_FRO             BITS(33, 24)    /* in 16 bytes */
#define     CAP_SSLPS_2M        BIT(34)
#define     CAP_SSLPS_1G        BIT(35)
#define     CAP_PSI             BIT(39)
#define     CAP_NFR             BITS(47, 40)    /* number - 1 */
#define     CAP_MAMV            BITS(53, 48)
#define     CAP_FS1GP           BIT(56)
#define     CAP_FS5LP           BIT(60)
#define     CAP_ESRTPS          BIT(63)

#define REG_ECAP    0x010u
#define     ECAP_C              BIT(0)
#define     ECAP_QI             BIT(1)
#define     ECAP_DT             BIT(2)
#define     ECAP_IR             BIT(3)
#define     ECAP_EIM            BIT(4)
#define     ECAP_SC             BIT(7)
#define     ECAP_NEST           BIT(26)
#define     ECAP_PRS            BIT(29)
#define     ECAP_SRS            BIT(31)
#define     ECAP_EAFS           BIT(34)
#define     ECAP_PSS            BITS(39, 35)    /* bits of a PASID - 1 */
#define     ECAP_PASID          BIT(40)
#define     ECAP_DIT            BIT(41)
#define     ECAP_PDS            BIT(42)
#define     ECAP_SMTS           BIT(43)
#define     ECAP_SSADS          BIT(45)
#define     ECAP_SSTS           BIT(46)
#define     ECAP_FSTS           BIT(47)
#define     ECAP_SMPWCS         BIT(48)

#define REG_GCMD    0x018u      /* write only; GSTS has the same bits */
#define REG_GSTS    0x01cu
#define     GCMD_TE             BIT(31)
#define     GCMD_SRTP           BIT(30)
#define     GCMD_QIE            BIT(26)
#define     GCMD_IRE            BIT(25)
#define     GCMD_SIRTP          BIT(24)
#define     GCMD_CFI            BIT(23)
#define     GCMD_PERSISTENT     0x96ffffffULL   /* the rest are one-shot, 11.4.4 */

#define REG_RTADDR  0x020u
#define     RTADDR_TTM          BITS(11, 10)
#define     TTM_SCALABLE        1u

#define REG_FSTS    0x034u
#define     FSTS_PFO            BIT(0)
#define     FSTS_PPF            BIT(1)
#define     FSTS_IQE            BIT(4)
#define     FSTS_ICE            BIT(5)
#define     FSTS_ITE            BIT(6)
#define     FSTS_FRI            BITS(15, 8)

#define REG_FECTL   0x038u      /* what follows each of the three: */
#define REG_IECTL   0x0a0u
#define REG_PECTL   0x0e0u
#define     EVENT_IM            BIT(31)
#define     EVENT_DATA          0x04u           /* the message, */
#define     EVENT_ADDRESS       0x08u           /* … its address, */
#define     EVENT_UPPER         0x0cu           /* … bits 63:32 of that */

#define REG_PMEN    0x064u
#define     PMEN_EPM            BIT(31)
#define     PMEN_PRS            BIT(0)
#define REG_PLMBASE 0x068u
#define REG_PLMLIMIT 0x06cu
#define REG_PHMBASE 0x070u
#define REG_PHMLIMIT 0x078u

#define REG_IQH     0x080u
#define REG_IQT     0x088u
#define     IQ_256_OFFSET       BITS(18, 5)     /* in entries of 256 bits */
#define REG_IQA     0x090u
#define     IQA_QS              BITS(2, 0)      /* 2^QS pages */
#define     IQA_DW              BIT(11)
#define REG_IQERCD  0x0b0u
#define     IQERCD_IQEI         BITS(3, 0)
#define     IQERCD_ITESID       BITS(47, 32)
#define     IQERCD_ICESID       BITS(63, 48)

#define REG_IRTA    0x0b8u
#define     IRTA_S              BITS(3, 0)      /* 2^(S+1) entries */

#define REG_PQH     0x0c0u
#define REG_PQT     0x0c8u
#define     PQ_OFFSET           BITS(18, 5)
#define REG_PQA     0x0d0u
#define     PQA_PQS             BITS(2, 0)      /* 2^PQS pages */
#define REG_PRS     0x0dcu
#define     PRS_PPR             BIT(0)
#define     PRS_PRO             BIT(1)

/* A fault record, at 16 x FRO + 16 x its number, 11.4.7.6. */
#define FRCD_SIZE   16u
#define FRCD_LOW    0u
#define     FRCD_FI             BITS(63, 12)
#define FRCD_HIGH   8u          /* bits of the upper 64 */
#define     FRCD_SID            BITS(15, 0)
#define     FRCD_T2             BIT(28)
#define     FRCD_PP             BIT(31)
#define     FRCD_FR             BITS(39, 32)
#define     FRCD_PV             BITS(59, 40)
#define     FRCD_T1             BIT(62)
#define     FRCD_F              BIT(63)
#define FRCD_TOP    12u         /* writing F here, as 32 bits, clears the record */
#define     FRCD_TOP_F          BIT(31)

#endif
