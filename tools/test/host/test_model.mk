# SPDX-License-Identifier: BSD-2-Clause
HOST_TESTS += model
HOST_SRC_model := $(filter-out %/main.c,$(wildcard tools/vtd-model/*.c)) tools/test/host/model_tables.c
HOST_TESTS += model_caches
HOST_SRC_model_caches := $(HOST_SRC_model)
