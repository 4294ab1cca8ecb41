/* SPDX-License-Identifier: BSD-2-Clause */
/* main.c: the command: prints a walk in a saved machine, or the presets. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

static int usage(void)
{
    fputs("vtd-model trace FILE [-u UNIT] [-p PASID] [-w] [-s] BUS:DEVICE.FUNCTION ADDRESS\n"
          "    the walk of a request, step by step, in a machine that model_save wrote\n"
          "    -u  the unit, 0 unless told    -p  a request with that PASID    -w  a write    -s  a supervisor request\n"
          "vtd-model presets\n"
          "    the units that the model knows\n", stderr);
    return 2;
}

static bool number(const char *text, uint64_t limit, uint64_t *value)
{
    char *end;

    errno = 0;
    *value = strtoull(text, &end, 0);
    return end != text && *end == '\0' && errno == 0 && *value <= limit;
}

static int trace(int argc, char **argv)
{
    struct model_request request = { .access = MODEL_READ };
    unsigned bus, device, function;
    uint64_t value, unit = 0, address;
    char error[160];
    struct model *model;
    FILE *in;
    int i = 1, length = 0;

    for (; i + 1 < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "-w") == 0) {
            request.access = MODEL_WRITE;
        } else if (strcmp(argv[i], "-s") == 0) {
            request.privileged = true;
        } else if (strcmp(argv[i], "-u") == 0 && number(argv[++i], 15, &unit)) {
        } else if (strcmp(argv[i], "-p") == 0 && number(argv[++i], 0xfffff, &value)) {
            request.with_pasid = true;
            request.pasid = (uint32_t)value;
        } else {
            return usage();
        }
    }
    if (argc - i != 2 || sscanf(argv[i], "%x:%x.%x%n", &bus, &device, &function, &length) != 3 || argv[i][length] || bus > 255 || device > 31 ||
        function > 7 || !number(argv[i + 1], UINT64_MAX, &address))
        return usage();
    request.source_id = (uint16_t)(bus << 8 | device << 3 | function);
    in = fopen(argv[0], "rb");
    if (!in) {
        fprintf(stderr, "vtd-model: %s: %s\n", argv[0], strerror(errno));
        return 1;
    }
    model = model_load(in, error);
    fclose(in);
    if (!model) {
        fprintf(stderr, "vtd-model: %s: %s\n", argv[0], error);
        return 1;
    }
    if (!model_unit(model, (unsigned)unit)) {
        fprintf(stderr, "vtd-model: %s: no unit %u\n", argv[0], (unsigned)unit);
        return 1;
    }
    model_trace(model_unit(model, (unsigned)unit), &request, address, stdout);
    model_free(model);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 3 && strcmp(argv[1], "trace") == 0)
        return trace(argc - 2, argv + 2);
    if (argc == 2 && strcmp(argv[1], "presets") == 0) {
        for (const struct model_preset *p = model_presets; p->name; p++)
            printf("%-12s VER %x.%x CAP 0x%016llx ECAP 0x%016llx HAW %u\n", p->name, p->version >> 4, p->version & 15, (unsigned long long)p->cap,
                   (unsigned long long)p->ecap, p->haw);
        return 0;
    }
    return usage();
}
