/* SPDX-License-Identifier: BSD-2-Clause */
/* inih.h: the inih library as nidus uses it: one key a line, # and ; begin comments, the first error ends it. */
#ifndef NIDUS_BOOT_INIH_H
#define NIDUS_BOOT_INIH_H

#define INI_HANDLER_LINENO              1
#define INI_STOP_ON_FIRST_ERROR         1
#define INI_CALL_HANDLER_ON_NEW_SECTION 1
#define INI_ALLOW_MULTILINE             0
#define INI_ALLOW_NO_VALUE              1 /* the handler says it better */
#define INI_INLINE_COMMENT_PREFIXES     ";#"
#define INI_MAX_LINE                    512

#include "ini.h"

#endif
