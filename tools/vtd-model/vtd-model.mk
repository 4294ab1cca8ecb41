# SPDX-License-Identifier: BSD-2-Clause
# The software model of VT-d.  VTD_MODEL_SRC is for the host tests that link it; build/host/vtd-model prints walks.

VTD_MODEL_SRC := $(addprefix tools/vtd-model/, cache.c check.c dma.c entries.c fault.c image.c interrupt.c invalidate.c legacy.c model.c \
                 presets.c prq.c queue.c registers.c trace.c walk.c)

$(B)/host/vtd-model: $(VTD_MODEL_SRC) tools/vtd-model/main.c $(wildcard tools/vtd-model/*.h)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 -O2 -g -Wall -Wextra -Werror -o $@ $(VTD_MODEL_SRC) tools/vtd-model/main.c

.PHONY: vtd-model
vtd-model: $(B)/host/vtd-model
