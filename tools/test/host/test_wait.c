/* SPDX-License-Identifier: BSD-2-Clause */
/* test_wait.c: kernel/events.c: when units are looked at, when a guest that waits goes on, how long the processor may sleep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "drivers/lapic.h"
#include "iommu/iommu.h"
#include "kernel/events.h"
#include "kernel/guest.h"
#include "kernel/time.h"
#include "kernel/trap.h"

#define US 1000ULL
#define MS 1000000ULL

/* The surroundings ------------------------------------------------------------------------------------- */

struct guest guests[BOOT_MAX_GUESTS];
static uint64_t now, look_takes, due, channels, ready, message_address;
static uint32_t message_data;
static bool has_apic, units_can, more;
static unsigned looks;

uint64_t time_ns(void) { return now; }
uint64_t iommu_channels(const struct iommu_context *c) { (void)c; return channels; }
uint64_t iommu_ready(const struct iommu_context *c) { (void)c; return ready; }
uint64_t iommu_overdue(struct iommu_context *c) { (void)c; return due; }

/* The guest's CPU: does it take interrupts, and is there one? */
static bool takes_interrupts, has_interrupt;

bool guest_apic_poll(struct guest_apic *a) { (void)a; return has_interrupt; }

static uint64_t get(struct vcpu *v, enum vcpu_register r)
{
    (void)v;
    assert_int_equal(r, VCPU_RFLAGS);
    return takes_interrupts ? 0x202 : 2;
}

static const struct vcpu_ops cpu = { .get = get };
const struct vcpu_ops *guest_cpu = &cpu;

bool lapic_message(uint8_t vector, uint64_t *address, uint32_t *data)
{
    *address = 0xfee03000;
    *data = vector;
    return has_apic;
}

bool iommu_interrupts(uint64_t address, uint32_t data)
{
    message_address = address;
    message_data = data;
    return units_can;
}

bool iommu_poll(void)
{
    looks++;
    now += look_takes;
    return more;
}

static int setup(void **state)
{
    (void)state;
    memset(guests, 0, sizeof guests);
    now += 1000000 * MS;
    due = UINT64_MAX;
    channels = 6;
    ready = 0;
    has_apic = units_can = true;
    more = takes_interrupts = has_interrupt = false;
    look_takes = 0;
    events_init();
    events_look(true);
    looks = 0;
    guests[1].iommu = (struct iommu_context *)&guests[1];
    guests[1].state = guests[2].state = GUEST_RUNNING;
    return 0;
}

static int64_t wait_for(unsigned g, uint64_t wanted, uint64_t ns, uint64_t *got)
{
    struct nidus_event_wait w = { .size = sizeof w, .channels = wanted, .timeout_ns = ns };
    int64_t result = events_wait(&guests[g], &w);
    *got = w.channels;
    return result;
}

/* Looking ---------------------------------------------------------------------------------------------- */

static void units_get_the_message(void **state)
{
    (void)state;
    assert_int_equal(message_address, 0xfee03000);
    assert_int_equal(message_data, VECTOR_UNIT);
}

static void units_are_looked_at_when_they_say_so(void **state)
{
    (void)state;
    events_look(false);
    events_look(true);
    assert_int_equal(looks, 0);
    events_note();
    events_look(false);
    assert_int_equal(looks, 1);
    events_look(true);
    assert_int_equal(looks, 1);
}

static void what_is_left_is_looked_at_again(void **state)
{
    (void)state;
    events_note();
    more = true;
    events_look(false);
    more = false;
    events_look(false);
    events_look(false);
    assert_int_equal(looks, 2);
}

/* A storm: a quarter of the time, and each tick. */
static void looking_takes_a_quarter_of_the_time(void **state)
{
    (void)state;
    look_takes = 20 * US;
    for (uint64_t end = now + 4 * MS; now < end; now += US) {
        events_note();
        events_look(false);
    }
    assert_in_range(looks, 45, 51);
    events_note();
    events_look(false);
    unsigned before = looks;
    events_note();
    events_look(false);
    assert_int_equal(looks, before);
    events_look(true);
    assert_int_equal(looks, before + 1);
}

/* No local APIC, or units that cannot reach it. */
static void without_interrupts_each_tick_looks(void **state)
{
    uint64_t got;
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        has_apic = i == 0;
        units_can = i != 0;
        events_init();
        looks = 0;
        events_look(true);
        events_look(true);
        events_look(false);
        assert_int_equal(looks, 2);
        assert_int_equal(wait_for(1, 2, UINT64_MAX, &got), CALL_AGAIN);
        assert_int_equal(events_rest_ns(), SLICE_NS);
        guests[1] = (struct guest){ .iommu = guests[1].iommu };
    }
}

/* Waiting ---------------------------------------------------------------------------------------------- */

static void a_guest_that_waits_is_not_run(void **state)
{
    uint64_t got;
    (void)state;
    assert_int_equal(wait_for(1, 2, UINT64_MAX, &got), CALL_AGAIN);
    assert_int_equal(guests[1].state, GUEST_WAITING);
    events_wake(&guests[1]);
    assert_int_equal(guests[1].state, GUEST_WAITING);
    ready = 4; /* another channel */
    events_wake(&guests[1]);
    assert_int_equal(guests[1].state, GUEST_WAITING);
    ready = 6;
    events_wake(&guests[1]);
    assert_int_equal(guests[1].state, GUEST_RUNNING);
    assert_int_equal(wait_for(1, 2, UINT64_MAX, &got), 0);
    assert_int_equal(got, 2);
    assert_int_equal(guests[1].state, GUEST_RUNNING);
}

static void what_is_there_needs_no_waiting(void **state)
{
    uint64_t got;
    (void)state;
    ready = 2;
    assert_int_equal(wait_for(1, 6, UINT64_MAX, &got), 0);
    assert_int_equal(got, 2);
    ready = 0;
    assert_int_equal(wait_for(1, 6, 0, &got), 0);
    assert_int_equal(got, 0);
}

/* Its time is that of the first try, however often it is woken. */
static void time_ends(void **state)
{
    uint64_t got;
    (void)state;
    assert_int_equal(wait_for(1, 2, 10 * MS, &got), CALL_AGAIN);
    now += 6 * MS;
    assert_int_equal(wait_for(1, 2, 10 * MS, &got), CALL_AGAIN);
    now += 3 * MS;
    events_wake(&guests[1]);
    assert_int_equal(guests[1].state, GUEST_WAITING);
    now += 1 * MS;
    events_wake(&guests[1]);
    assert_int_equal(guests[1].state, GUEST_RUNNING);
    assert_int_equal(wait_for(1, 2, 10 * MS, &got), 0);
    assert_int_equal(got, 0);
    assert_int_equal(wait_for(1, 2, 10 * MS, &got), CALL_AGAIN); /* a new one */
    now += 9 * MS;
    events_wake(&guests[1]);
    assert_int_equal(guests[1].state, GUEST_WAITING);
}

/* An interrupt is taken, and the call made again: it has what is left of its time. */
static void interrupts_are_taken_meanwhile(void **state)
{
    uint64_t got;
    (void)state;
    has_interrupt = true;
    assert_int_equal(wait_for(1, 2, 10 * MS, &got), CALL_AGAIN);
    events_wake(&guests[1]);
    assert_int_equal(guests[1].state, GUEST_WAITING); /* the guest has them off */
    takes_interrupts = true;
    now += 6 * MS;
    assert_int_equal(wait_for(1, 2, 10 * MS, &got), CALL_AGAIN);
    events_wake(&guests[1]);
    assert_int_equal(guests[1].state, GUEST_RUNNING);
    has_interrupt = false;
    assert_int_equal(wait_for(1, 2, 10 * MS, &got), CALL_AGAIN);
    events_wake(&guests[1]);
    assert_int_equal(guests[1].state, GUEST_WAITING);
    now += 4 * MS;
    assert_int_equal(wait_for(1, 2, 10 * MS, &got), 0);
}

static void errors(void **state)
{
    struct nidus_event_wait w = { .size = sizeof w, .flags = 1, .channels = 8 };
    uint64_t got;
    (void)state;
    assert_int_equal(events_wait(&guests[1], &w), -NIDUS_EOPNOTSUPP);
    assert_int_equal(wait_for(1, 8, 0, &got), -NIDUS_ENOENT);
    assert_int_equal(wait_for(1, 1, 0, &got), -NIDUS_ENOENT);
    assert_int_equal(wait_for(2, 2, 0, &got), -NIDUS_ENOENT); /* a guest without devices has no channels, */
    assert_int_equal(wait_for(2, 0, MS, &got), CALL_AGAIN);   /* but time */
    now += MS;
    events_wake(&guests[2]);
    assert_int_equal(guests[2].state, GUEST_RUNNING);
    assert_int_equal(wait_for(2, 0, MS, &got), 0);
}

/* Resting ---------------------------------------------------------------------------------------------- */

static void the_processor_rests_until_something_is_due(void **state)
{
    uint64_t got;
    (void)state;
    assert_int_equal(wait_for(2, 0, UINT64_MAX, &got), CALL_AGAIN);
    assert_true(events_rest_ns() > 1000000 * MS);
    assert_int_equal(wait_for(1, 2, 700 * MS, &got), CALL_AGAIN);
    assert_int_equal(events_rest_ns(), 700 * MS);
    due = now + 300 * MS;
    assert_int_equal(events_rest_ns(), 300 * MS);
    due = now - MS;
    assert_int_equal(events_rest_ns(), 0);
    due = UINT64_MAX;
    guests[3].state = GUEST_HALTED;
    guests[3].waits = true; /* for an interrupt, which its timer knows of */
    assert_int_equal(events_rest_ns(), 700 * MS);
    guests[3].waits = false; /* until the next tick */
    assert_int_equal(events_rest_ns(), SLICE_NS);
    events_note();
    assert_int_equal(events_rest_ns(), 0);
}

#define T(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(units_get_the_message), T(units_are_looked_at_when_they_say_so), T(what_is_left_is_looked_at_again),
        T(looking_takes_a_quarter_of_the_time), T(without_interrupts_each_tick_looks), T(a_guest_that_waits_is_not_run),
        T(what_is_there_needs_no_waiting), T(time_ends), T(interrupts_are_taken_meanwhile), T(errors), T(the_processor_rests_until_something_is_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
