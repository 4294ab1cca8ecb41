/* SPDX-License-Identifier: BSD-2-Clause */
/* syscalls.c: what newlib asks of its system.  Output is the console; there are no files and no other processes. */
#include <errno.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "guests/runtime/call.h"
#include "guests/runtime/frames.h"

#define CONSOLE_WRITE_MAX 4096u

_READ_WRITE_RETURN_TYPE write(int fd, const void *text, size_t length)
{
    size_t done = 0;

    if (fd != STDOUT_FILENO && fd != STDERR_FILENO) {
        errno = EBADF;
        return -1;
    }
    while (done < length) {
        size_t left = length - done;
        struct nidus_console_write call = {
            .size = sizeof(call),
            .length = (uint32_t)(left < CONSOLE_WRITE_MAX ? left : CONSOLE_WRITE_MAX),
            .data_uptr = (uint64_t)text + done,
        };

        if (nidus_call(NIDUS_CALL_CONSOLE_WRITE, &call, 0) < 0) {
            errno = EIO;
            return -1;
        }
        done += call.length;
    }
    return (_READ_WRITE_RETURN_TYPE)length;
}

void _exit(int code)
{
    struct nidus_exit call = { .size = sizeof(call), .code = code };

    nidus_call(NIDUS_CALL_EXIT, &call, 0);
    for (;;)
        __asm__ volatile("hlt");
}

void *sbrk(ptrdiff_t increment)
{
    static char *end = image_end;
    char *old = end;

    if (increment > heap_limit() - end || increment < image_end - end) {
        errno = ENOMEM;
        return (void *)-1;
    }
    end += increment;
    return old;
}

_READ_WRITE_RETURN_TYPE read(int fd, void *buffer, size_t length)
{
    (void)fd, (void)buffer, (void)length;
    errno = EBADF;
    return -1;
}

int close(int fd)
{
    (void)fd;
    errno = EBADF;
    return -1;
}

off_t lseek(int fd, off_t offset, int whence)
{
    (void)fd, (void)offset, (void)whence;
    errno = ESPIPE;
    return -1;
}

int fstat(int fd, struct stat *st)
{
    (void)fd;
    *st = (struct stat){ .st_mode = S_IFCHR };
    return 0;
}

int isatty(int fd)
{
    return fd <= STDERR_FILENO;
}

pid_t getpid(void)
{
    return 1;
}

int kill(pid_t pid, int signal)
{
    (void)pid;
    _exit(128 + signal);
}
