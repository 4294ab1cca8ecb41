/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ats.h: devices that keep translations themselves (ATS, VT-d 5.10 chapter 4): who may, on and off in order, invalidations.
 *
 * Where ATS is on the unit lets the device's translated requests through as they are: the device is trusted.
 */
#ifndef NIDUS_ATS_H
#define NIDUS_ATS_H

#include "iommu/unit.h"

/* Decides from dev->policy, firmware's tables and the device what is to be done; dev->unit is set.  false: the policy cannot be followed, or
 * firmware demands another; reason says why. */
bool ats_decide(struct device *dev, char reason[160]);

/* The device is attached: ATS on, if it is wanted. */
void ats_on(struct device *dev);
/* The device's table is about to go: page requests and ATS off (4.5.2).  Its TLB is invalidated with the IOTLB. */
void ats_stop(struct device *dev);

/* Adds the invalidation of 2^am pages at addr in the device's TLB, if that is on; it comes behind the IOTLB's.  am QI_ALL: everything. */
void ats_add(const struct device *dev, uint32_t pasid, uint64_t addr, unsigned am);
/* Adds those that a change of d's table needs on u: everything, as what is nested on it is kept by addresses that nidus does not know. */
void ats_add_second_stage(struct unit *u, const struct domain *d);

/* For the queue: an invalidation of the device's TLB timed out.  It is not asked again.  false: it is no such device. */
bool ats_device_lost(struct unit *u, uint16_t source_id);
/* For the queue, when the request is done: shuts the devices out that were lost, and tells their guests.  -EIO. */
int ats_block_lost(struct unit *u);

/* engine_page_requests, for who has the unit's lock. */
int ats_page_requests(struct device *dev, bool on);

#endif
