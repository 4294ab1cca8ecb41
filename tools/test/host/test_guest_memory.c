/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_guest_memory.c: a guest's RAM as kernel/guest.c makes it of frames that need not follow each other: what is copied, and what may be read where
 * it lies.  All else that a guest has is left out.
 */
#define platform_guest_piece kernel_guest_piece /* tools/test/host/platform.c has its own, for its own guests */
#define platform_guest_read kernel_guest_read
#define platform_guest_write kernel_guest_write
#include "kernel/guest.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>

#include <cmocka.h>

/* Memory: frames of 2 MiB, given in the order of layout; pages for the list of them. */
#define FRAMES (HOLE_START / CHUNK + 4)
static uint8_t *frames;
static unsigned layout[FRAMES], given;
static uint8_t list[8 * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

uint64_t frames_alloc(unsigned order)
{
    if (order < CHUNK_ORDER)
        return PAGE_SIZE << order <= sizeof(list) ? virt_to_phys(list) : 0;
    return order == CHUNK_ORDER && given < FRAMES ? virt_to_phys(frames + layout[given++] * CHUNK) : 0;
}

void frames_free(uint64_t phys, unsigned order) { (void)phys, (void)order; }
uint64_t frames_free_bytes(void) { return (FRAMES - given) * CHUNK; }
void memory_scrub(void *to, uint64_t size) { (void)to, (void)size; }

/* What these tests do not look at. */
static unsigned page_sizes(void) { return 0; }
static void cpu_init(void) { }
static void destroy(struct vcpu *vcpu) { (void)vcpu; }

static struct vcpu *create_vcpu(struct guest *g, struct stage2 *memory, const struct vcpu_start *start)
{
    (void)memory, (void)start;
    return (struct vcpu *)g;
}

static const struct vcpu_ops ops = { .cpu_init = cpu_init, .page_sizes = page_sizes, .create = create_vcpu, .destroy = destroy };

const struct vcpu_ops *vcpu_select(const char **reason) { (void)reason; return &ops; }
void vcpu_report(struct guest *g) { (void)g; }
void guest_apic_reset(struct guest_apic *a) { (void)a; }
void xstate_init(void) { }
bool xstate_create(struct xstate *x) { (void)x; return true; }
void xstate_destroy(struct xstate *x) { (void)x; }
void shared_init(const struct boot_info *boot) { (void)boot; }
void shared_give(struct guest *g) { (void)g; }
void pci_assign_init(const struct boot_info *boot) { (void)boot; }
void pci_unassign(struct guest *g, const struct nidus_guest_device *d) { (void)g, (void)d; }
uint64_t time_ns(void) { return 0; }
uint64_t tsc_hz(void) { return 0; }
void log_line(const char *format, ...) { (void)format; }
void log_guest_line(const char *name, const char *text, size_t length) { (void)name, (void)text, (void)length; }
int format_text(char *out, size_t size, const char *format, ...) { (void)size, (void)format; *out = 0; return 0; }
const char *iommu_unavailable(void) { return "there is none"; }
struct iommu_context *iommu_context_create(struct guest *g, bool nested) { (void)g, (void)nested; return NULL; }
uint32_t iommu_default_ioas(const struct iommu_context *c) { (void)c; return 0; }
bool iommu_context_block(struct iommu_context *c) { (void)c; return true; }
bool iommu_context_destroy(struct iommu_context *c) { (void)c; return true; }

bool pci_assign(struct guest *g, uint16_t segment, uint16_t bdf, struct nidus_guest_device *d, char reason[160])
{
    (void)g, (void)segment, (void)bdf, (void)d, (void)reason;
    return false;
}

bool iommu_assign(struct iommu_context *c, uint16_t segment, uint16_t bdf, const struct iommu_device_policy *policy, uint32_t *id, char reason[160])
{
    (void)c, (void)segment, (void)bdf, (void)policy, (void)id, (void)reason;
    return false;
}

int stage2_init(struct stage2 *s, const struct stage2_format *format, unsigned levels, unsigned sizes, bool coherent, struct guest *owner)
{
    (void)s, (void)format, (void)levels, (void)sizes, (void)coherent, (void)owner;
    return 0;
}

int stage2_map(struct stage2 *s, uint64_t gpa, uint64_t hpa, uint64_t size, unsigned prot)
{
    (void)s, (void)gpa, (void)hpa, (void)size, (void)prot;
    return 0;
}

void stage2_destroy(struct stage2 *s) { (void)s; }

/* The guest. */
static struct guest *const guest = &guests[0];

static int setup(void **state)
{
    uint8_t *room = mmap(NULL, (FRAMES + 1) * CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    assert_ptr_not_equal(room, MAP_FAILED);
    *state = room;
    frames = room + (CHUNK - (uintptr_t)room % CHUNK) % CHUNK;
    given = 0;
    for (unsigned i = 0; i < FRAMES; i++)
        layout[i] = i;
    return 0;
}

static int teardown(void **state)
{
    if (guest->state == GUEST_RUNNING)
        guest_end(guest, "the test is over");
    memset(guest, 0, sizeof(*guest));
    return munmap(*state, (FRAMES + 1) * CHUNK);
}

static void start(uint64_t memory)
{
    static struct boot_info boot;

    boot.guest_count = 1;
    boot.guest[0] = (struct boot_guest){ .name = "web", .memory = memory };
    assert_int_equal(guests_create(&boot), 1);
}

/* 8 MiB in three pieces: 0 to 4 MiB, and 2 MiB each. */
static void start_in_pieces(void)
{
    layout[2] = 3;
    layout[3] = 2;
    start(4 * CHUNK);
}

/* Where the byte at gpa of RAM below the hole lies. */
static uint8_t *byte(uint64_t gpa) { return frames + layout[gpa / CHUNK] * CHUNK + gpa % CHUNK; }

static void touch(uint64_t gpa)
{
    uint32_t word;

    assert_int_equal(kernel_guest_read(guest, gpa, &word, sizeof(word)), 0);
}

/* All of the RAM from first to end, and nothing behind it. */
static void expect_piece(uint64_t first, uint64_t end)
{
    assert_ptr_equal(kernel_guest_piece(guest, first, 8), byte(first));
    assert_ptr_equal(kernel_guest_piece(guest, first, end - first), byte(first));
    assert_ptr_equal(kernel_guest_piece(guest, end - 8, 8), byte(end - 8));
    assert_ptr_equal(kernel_guest_piece(guest, end - 1, 1), byte(end - 1));
    assert_null(kernel_guest_piece(guest, end - 1, 2));
    assert_null(kernel_guest_piece(guest, first, end - first + 1));
    assert_null(kernel_guest_piece(guest, end, 1));
    assert_null(kernel_guest_piece(guest, 0, 1));
}

static void a_piece_goes_as_far_as_the_frames_of_the_last_copy_do(void **state)
{
    (void)state;
    start_in_pieces();
    touch(2 * CHUNK);
    expect_piece(2 * CHUNK, 3 * CHUNK);
    assert_null(kernel_guest_piece(guest, 2 * CHUNK - 1, 2));
    touch(4 * CHUNK - 4);
    expect_piece(3 * CHUNK, 4 * CHUNK);
    assert_null(kernel_guest_piece(guest, 3 * CHUNK - 1, 2));
    touch(CHUNK + 0x1234);
    expect_piece(CHUNK, 2 * CHUNK);
    touch(0x1000);
    expect_piece(0x1000, 2 * CHUNK);
}

/* No payload may be at GPA 0, and none is found there: not after a copy in that page either. */
static void the_page_at_gpa_0_is_in_no_piece(void **state)
{
    static const uint64_t copied[] = { 0, 0x800, 0xffc, 0x1000, 0x5000 };

    (void)state;
    start_in_pieces();
    for (unsigned i = 0; i < sizeof(copied) / sizeof(copied[0]); i++) {
        touch(3 * CHUNK);
        touch(copied[i]);
        for (uint64_t gpa = 0; gpa < 0x1000; gpa += 8)
            assert_null(kernel_guest_piece(guest, gpa, 8));
        assert_null(kernel_guest_piece(guest, 0xff8, 16));
        expect_piece(0x1000, 2 * CHUNK);
    }
}

/* The hole is none of it, though the frames on its two sides may follow each other. */
static void no_piece_goes_across_the_hole(void **state)
{
    uint64_t hpa, run;

    (void)state;
    start(HOLE_START + 2 * CHUNK);
    touch(HOLE_START - 4);
    expect_piece(HOLE_START - CHUNK, HOLE_START);
    touch(0x1000);
    expect_piece(0x1000, HOLE_START);
    touch(HOLE_END + CHUNK);
    assert_ptr_equal(kernel_guest_piece(guest, HOLE_END + CHUNK, CHUNK), byte(HOLE_START + CHUNK));
    assert_null(kernel_guest_piece(guest, HOLE_END + CHUNK, CHUNK + 1));
    assert_null(kernel_guest_piece(guest, HOLE_START + CHUNK, 8));
    assert_int_equal(guest_ram(guest, HOLE_START - CHUNK, &hpa, &run), 0);
    assert_int_equal(run, CHUNK);
    assert_int_equal(guest_ram(guest, HOLE_START, &hpa, &run), -NIDUS_EFAULT);
}

/* Of any size, from anywhere, whatever the copy before it was: each byte is the one at its GPA. */
static void copies_go_across_pieces(void **state)
{
    static const uint64_t edges[] = { 0x1000, CHUNK, 2 * CHUNK, 3 * CHUNK };
    uint8_t out[24], in[24];
    uint8_t value = 0;

    (void)state;
    start_in_pieces();
    for (unsigned e = 0; e < 4; e++)
        for (uint64_t gpa = edges[e] - 12; gpa <= edges[e]; gpa++)
            for (unsigned size = 1; size <= sizeof(out); size++) {
                touch(value % 4 * CHUNK);
                for (unsigned i = 0; i < size; i++)
                    out[i] = ++value;
                assert_int_equal(kernel_guest_write(guest, gpa, out, size), 0);
                for (unsigned i = 0; i < size; i++)
                    assert_int_equal(*byte(gpa + i), out[i]);
                touch(value % 4 * CHUNK);
                memset(in, 0, sizeof(in));
                assert_int_equal(kernel_guest_read(guest, gpa, in, size), 0);
                assert_memory_equal(in, out, size);
                assert_true(size == sizeof(in) || in[size] == 0);
            }
}

static void a_copy_goes_across_all_ram(void **state)
{
    static uint8_t all[4 * CHUNK - 0x1000];

    (void)state;
    start_in_pieces();
    for (uint64_t gpa = 0x1000; gpa < 4 * CHUNK; gpa++)
        *byte(gpa) = (uint8_t)(gpa / 0x1000 + gpa);
    touch(3 * CHUNK);
    assert_int_equal(kernel_guest_read(guest, 0x1000, all, sizeof(all)), 0);
    for (uint64_t gpa = 0x1000; gpa < 4 * CHUNK; gpa++)
        if (all[gpa - 0x1000] != *byte(gpa))
            fail_msg("0x%llx", (unsigned long long)gpa);
    for (uint64_t i = 0; i < sizeof(all); i++)
        all[i] ^= 0x5a;
    assert_int_equal(kernel_guest_write(guest, 0x1000, all, sizeof(all)), 0);
    for (uint64_t gpa = 0x1000; gpa < 4 * CHUNK; gpa++)
        if (all[gpa - 0x1000] != *byte(gpa))
            fail_msg("0x%llx", (unsigned long long)gpa);
}

/* Nor is what begins in RAM and ends elsewhere: not a byte of it. */
static void what_is_no_ram_is_not_copied(void **state)
{
    static const uint64_t rows[] = { 4 * CHUNK, 4 * CHUNK - 4, 4 * CHUNK - 7, HOLE_START, HOLE_END, HOLE_END - 4, UINT64_MAX - 3, UINT64_MAX - 7 };

    (void)state;
    start_in_pieces();
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (unsigned known = 0; known < 2; known++) {
            uint64_t word = 0x1122334455667788;

            touch(known ? 3 * CHUNK : CHUNK);
            assert_int_equal(kernel_guest_write(guest, rows[i], &word, sizeof(word)), -NIDUS_EFAULT);
            assert_int_equal(kernel_guest_read(guest, rows[i], &word, sizeof(word)), -NIDUS_EFAULT);
            assert_int_equal(word, 0x1122334455667788);
            for (unsigned j = 1; j < 8; j++)
                assert_int_equal(*byte(4 * CHUNK - j), 0);
        }
}

/* Its frames are another's next. */
static void a_guest_that_has_ended_has_no_piece(void **state)
{
    uint32_t word;

    (void)state;
    start_in_pieces();
    touch(CHUNK);
    guest_end(guest, "it ends");
    assert_null(kernel_guest_piece(guest, CHUNK, 8));
    assert_int_equal(kernel_guest_read(guest, CHUNK, &word, sizeof(word)), -NIDUS_EFAULT);
    assert_int_equal(kernel_guest_write(guest, CHUNK, &word, sizeof(word)), -NIDUS_EFAULT);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_piece_goes_as_far_as_the_frames_of_the_last_copy_do),
        TEST(the_page_at_gpa_0_is_in_no_piece),
        TEST(no_piece_goes_across_the_hole),
        TEST(copies_go_across_pieces),
        TEST(a_copy_goes_across_all_ram),
        TEST(what_is_no_ram_is_not_copied),
        TEST(a_guest_that_has_ended_has_no_piece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
