/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bits.h: fields of registers, descriptors and table entries, named by the spec's bit ranges.  The only place with shifts.
 */
#ifndef NIDUS_BITS_H
#define NIDUS_BITS_H

#include <stdint.h>

#define BIT(n)          (1ULL << (n))
#define BITS(high, low) ((~0ULL >> (63 - (high))) & (~0ULL << (low)))

/* The field of value that mask selects, as a number. */
static inline uint64_t field(uint64_t value, uint64_t mask)
{
    return (value & mask) >> __builtin_ctzll(mask);
}

/* A number in its place in the field that mask selects; what does not fit is cut off, so it never sets a neighbour's bits. */
static inline uint64_t place(uint64_t mask, uint64_t number)
{
    return (number << __builtin_ctzll(mask)) & mask;
}

/* For log lines with %llx. */
typedef unsigned long long ull;

/* A function's address in the form that people know: segment:bus:device.function. */
#define BDF_FORMAT "%04x:%02x:%02x.%x"
#define BDF_ARGS(segment, bdf) \
    (unsigned)(segment), (unsigned)field(bdf, BITS(15, 8)), (unsigned)field(bdf, BITS(7, 3)), (unsigned)field(bdf, BITS(2, 0))


/* Of PCI configuration space. */
#define PCI_VENDOR_ID    0x00u
#define     PCI_ABSENT      0xffffu     /* of nothing, and of each virtual function */
#define PCI_COMMAND      0x04u
#define     PCI_COMMAND_BUS_MASTER BIT(2)
#define PCI_HEADER_TYPE  0x0eu
#define     PCI_HEADER_LAYOUT BITS(6, 0)

#endif
