/* SPDX-License-Identifier: BSD-2-Clause */
/* main.c: seeds, episodes, steps; what is said when the property does not hold. */
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "property.h"

#define EPISODE_STEPS 20000u    /* at the most */

static struct {
    uint64_t seed, steps, episode;
    unsigned units;
    bool one;                   /* that episode alone */
    bool quiet, trace, progress, no_shrink;
    const char *keep;           /* steps that are done, all others are left out */
} option = { .seed = 1, .steps = 1000000 };

static uint64_t step, done;     /* in the episode; in all */
static uint8_t *left_out;       /* by step */
static bool attempting;         /* a child that finds out whether fewer steps fail too */

#define SAME_FAILURE 3

/* Choices: splitmix64, begun anew at each step. ---------------------------------------------------------- */

static uint64_t choices;

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return x ^ x >> 31;
}

static void begin_choices(uint64_t episode, uint64_t at)
{
    choices = mix(mix(option.seed + 0x632be59bd9b4e019ULL * episode) + at * 0x9e3779b97f4a7c15ULL);
}

uint64_t below(uint64_t n)
{
    uint64_t x = mix(choices += 0x9e3779b97f4a7c15ULL);

    return (uint64_t)((unsigned __int128)x * n >> 64);
}

/* What happened ------------------------------------------------------------------------------------------- */

#define NOTES 64u
static struct note {
    uint64_t step;
    const char *format;
    ull number[6];
} notes[NOTES];
static uint64_t noted;

static void print_note(const struct note *n)
{
    fprintf(stderr, "  %6llu  ", (ull)n->step);
    fprintf(stderr, n->format, n->number[0], n->number[1], n->number[2], n->number[3], n->number[4], n->number[5]);
    fputc('\n', stderr);
}

void note_(const char *format, const ull *numbers, unsigned count)
{
    struct note *n = &notes[noted++ % NOTES];

    n->step = step;
    n->format = format;
    memcpy(n->number, numbers, count * sizeof *numbers);
    if (option.trace && !attempting)
        print_note(n);
}

static void report(const char *text)
{
    uint64_t first = noted > NOTES ? noted - NOTES : 0;

    if (!option.trace) {
        fprintf(stderr, "the last operations, each after its step:\n");
        for (uint64_t i = first; i < noted; i++)
            print_note(&notes[i % NOTES]);
    }
    fprintf(stderr, "units:");
    for (unsigned i = 0; i < m.units; i++)
        fprintf(stderr, " %s", m.unit[i].name);
    fprintf(stderr, "\nproperty: FAILED: seed %llu, step %llu (episode %llu, its step %llu): %s\n", (ull)option.seed, (ull)done, (ull)option.episode,
            (ull)step, text);
}

static void replay_line(const char *keep)
{
    fprintf(stderr, "replay: build/host/property --seed %llu --units %u --episode %llu --trace%s%s\n", (ull)option.seed, option.units,
            (ull)option.episode, keep ? " --keep " : "", keep ? keep : "");
}

/* Fewer steps --------------------------------------------------------------------------------------------- */

static void episode(uint64_t number, uint64_t steps);

/* Does the episode fail as well without the steps that are left out? */
static bool still_fails(void)
{
    pid_t child = fork();
    int status = 0;

    if (child < 0)
        return false;
    if (child == 0) {
        alarm(20);
        attempting = true;
        freopen("/dev/null", "w", stderr);
        noted = 0;
        episode(option.episode, step + 1);
        _exit(0);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) == SAME_FAILURE : WTERMSIG(status) == SIGABRT || WTERMSIG(status) == SIGSEGV;
}

/* Leaves out ever smaller pieces, for some seconds. */
static void shrink(void)
{
    uint64_t count = step + 1, kept = 0;
    time_t until = time(NULL) + 20;
    char *keep = calloc(1, 8 * EPISODE_STEPS), *p = keep;

    for (uint64_t piece = count / 2; piece; piece /= 2)
        for (uint64_t at = 0; at + 1 < count && time(NULL) < until; at += piece) {
            uint8_t before[EPISODE_STEPS];
            bool any = false;

            memcpy(before, left_out, sizeof before);
            for (uint64_t i = at; i < at + piece && i + 1 < count; i++) {
                any |= !left_out[i];
                left_out[i] = true;
            }
            if (any && !still_fails())
                memcpy(left_out, before, sizeof before);
        }
    for (uint64_t i = 0; i < count; i++)
        if (!left_out[i]) {
            kept++;
            p += sprintf(p, "%s%llu", p == keep ? "" : ",", (ull)i);
        }
    fprintf(stderr, "%llu of %llu steps are enough:\n", (ull)kept, (ull)count);
    replay_line(keep);
    free(keep);
}

static _Noreturn void end(void)
{
    if (attempting)
        _exit(SAME_FAILURE);
    replay_line(option.keep);
    if (!option.no_shrink && !option.keep)
        shrink();
    exit(1);
}

void fails(const char *format, ...)
{
    char text[1200];
    va_list arguments;

    if (!attempting) {
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        report(text);
    }
    end();
}

void dma_fails(unsigned unit, const struct model_request *request, uint64_t address, const char *text)
{
    if (!attempting) {
        report(text);
        fprintf(stderr, "the walk as memory is now, without caches:\n");
        model_trace(m.unit[unit].model, request, address, stderr);
    }
    end();
}

void require_no_violation(void)
{
    if (model_violations(m.model))
        fails("against the specification: %s", model_violation(m.model, 0));
}

static void crashed(int number)
{
    if (attempting)
        _exit(SAME_FAILURE);
    report(number == SIGABRT ? "abort" : "crash");
    replay_line(option.keep);
    _exit(1);
}

/* Steps --------------------------------------------------------------------------------------------------- */

/* Most are short: many machines. */
static uint64_t episode_steps(uint64_t number)
{
    uint64_t left = option.steps - done, length = number % 4 == 3 ? EPISODE_STEPS : EPISODE_STEPS / 5;

    return left < length ? left : length;
}

static void one_step(void)
{
    struct guest_ *g = &m.guest[below(m.guests)];
    struct device_ *d = &m.device[below(m.devices)];
    struct use *use = &d->use[d->pasids && percent(60) ? below(USES) : 0];
    unsigned kind = (unsigned)below(1000);
    struct tree *t;
    struct hwpt *h;

    if (one_in(8))
        iommu_poll(); /* the timer */
    if ((m.crowded || m.family) && one_in(8))
        kind = 962 + (unsigned)below(24);
    if (kind < 750)
        some_dma();
    else if (kind < 880) {
        t = some_tree(g);
        if (t)
            tree_changes(g, t);
        h = t && percent(50) ? stale_of(g, t) : NULL;
        if (h) /* at once, as a system does that unmaps a page */
            hwpt_invalidates(g, h);
    } else if (kind < 930) {
        h = stale_hwpt(g);
        if (h)
            hwpt_invalidates(g, h);
    } else if (kind < 945)
        space_maps(g, some_space(g));
    else if (kind < 949)
        space_copies(g, some_space(g));
    else if (kind < 953)
        dirty_asks(g);
    else if (kind < 962)
        space_unmaps(g, some_space(g));
    else if (kind < 977)
        hwpt_attaches(d->guest, use);
    else if (kind < 981)
        hwpt_detaches(d->guest, use);
    else if (kind < 986)
        hwpt_allocs(g);
    else if (kind < 989)
        hwpt_destroys(g);
    else if (kind < 990)
        space_allocs(g);
    else if (kind < 995) {
        while (read_faults(g, 64)) /* all that there is */
            ;
        dma_burst(g);
        read_faults(g, (uint32_t)below(65));
    } else if (kind < 998)
        bad_call(g);
    else if (kind < 999)
        hwpt_goes_silent(d);
    else if (one_in(10))
        restart_guest(g);
    require_no_violation();
}

/* Some of what a guest has is there from the beginning. */
static void furnish(void)
{
    for (unsigned i = 0; i < m.guests; i++) {
        space_allocs(&m.guest[i]);
        for (unsigned n = 0; n < 8; n++)
            hwpt_allocs(&m.guest[i]);
    }
    for (unsigned i = 0; i < m.devices; i++)
        hwpt_attaches(m.device[i].guest, &m.device[i].use[0]);
}

static void episode(uint64_t number, uint64_t steps)
{
    option.episode = number;
    step = 0;
    begin_choices(number, UINT64_MAX);
    machine_start(mix(option.seed * 31 + number), option.units, true, 0);
    furnish();
    for (; step < steps; step++) {
        done += !attempting;
        if (left_out[step])
            continue;
        begin_choices(number, step);
        one_step();
    }
    begin_choices(number, UINT64_MAX - 1);
    machine_stop();
}

/* The command line ---------------------------------------------------------------------------------------- */

static void usage(void)
{
    fprintf(stderr, "usage: property [--seed N] [--steps N] [--units N] [--episode N] [--keep STEP,STEP…] [--trace] [--progress] [--no-shrink]\n"
                    "Random guests against the VT-d engine and a model of the hardware.  --units: 1 to %u, 0 for any number.\n"
                    "--episode, --keep: that episode alone, those steps of it.  --trace: each operation.\n", UNITS);
    exit(2);
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        { "seed", required_argument, NULL, 's' },  { "steps", required_argument, NULL, 'n' },  { "units", required_argument, NULL, 'u' },
        { "episode", required_argument, NULL, 'e' }, { "keep", required_argument, NULL, 'k' }, { "trace", no_argument, NULL, 't' },
        { "progress", no_argument, NULL, 'p' },    { "no-shrink", no_argument, NULL, 'x' },    { 0 },
    };
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (c) {
        case 's': option.seed = strtoull(optarg, NULL, 0); break;
        case 'n': option.steps = strtoull(optarg, NULL, 0); break;
        case 'u': option.units = (unsigned)strtoul(optarg, NULL, 0); break;
        case 'e': option.episode = strtoull(optarg, NULL, 0); option.one = true; break;
        case 'k': option.keep = optarg; break;
        case 't': option.trace = true; break;
        case 'p': option.progress = true; break;
        case 'x': option.no_shrink = true; break;
        default: usage();
        }
    if (optind != argc || option.units > UNITS)
        usage();
    left_out = calloc(1, EPISODE_STEPS);
    if (option.keep) {
        memset(left_out, 1, EPISODE_STEPS);
        for (const char *p = option.keep; *p; p += *p == ',') {
            char *after;
            uint64_t at = strtoull(p, &after, 10);

            if (after == p || at >= EPISODE_STEPS)
                usage();
            left_out[at] = false;
            p = after;
        }
    }
}

int main(int argc, char **argv)
{
    struct timespec start, now;
    double seconds;

    parse(argc, argv);
    signal(SIGABRT, crashed);
#ifndef __SANITIZE_ADDRESS__
    signal(SIGSEGV, crashed);
#endif
    clock_gettime(CLOCK_MONOTONIC, &start);
    if (option.one) {
        episode(option.episode, option.steps < EPISODE_STEPS ? option.steps : EPISODE_STEPS);
    } else {
        for (uint64_t number = 0; done < option.steps; number++) {
            episode(number, episode_steps(number));
            if (option.progress && number % 500 == 499) {
                clock_gettime(CLOCK_MONOTONIC, &now);
                fprintf(stderr, "seed %llu: %llu million steps, %lld s\n", (ull)option.seed, (ull)(done / 1000000), (long long)(now.tv_sec - start.tv_sec));
            }
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    seconds = (double)(now.tv_sec - start.tv_sec) + 1e-9 * (double)(now.tv_nsec - start.tv_nsec);
    printf("property: seed %llu: %llu steps hold, %.1f s, %.0f steps a second\n", (ull)option.seed, (ull)done, seconds, (double)done / seconds);
    return 0;
}
