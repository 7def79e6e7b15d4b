/* LD_PRELOAD: while the file SLOW_DISK is there, every fsync and fdatasync takes 2 s more. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int slowly(const char *name, int file) {
    const char *slow = getenv("SLOW_DISK");
    if (slow && !access(slow, F_OK)) sleep(2);
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(file);
}

int fsync(int file) { return slowly("fsync", file); }
int fdatasync(int file) { return slowly("fdatasync", file); }
