#pragma once
#include <signal.h>
#include <sys/prctl.h>
// What the Glibc module leaves out of the process's own settings: glibc's heap, in <malloc.h>, and
#include <malloc.h>

// prctl(2), which takes any number of arguments: the kernel kills this process when the thread that started it ends.
static inline int cprocess_die_with_parent(void) { return prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL); }
