#pragma once
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
// What the Glibc module leaves out of the process's own settings: glibc's heap, in <malloc.h>, and
#include <malloc.h>

// prctl(2), which takes any number of arguments: the kernel kills this process when the thread that started it ends.
static inline int cprocess_die_with_parent(void) { return prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL); }

// Closes every descriptor from `first` on: what this process inherited and has no business with.
void cprocess_close_from(int first);

// Gives up what a process that reads one hostile file does not need, for good. Open descriptors stay; no file can be
// opened, made, removed, renamed or cut any more, no process or program started, no other process looked into, changed or
// sent a signal, and no socket made: all calls fail but those that asking a database takes. As root it becomes `nobody`
// first. Nobody but root may look into it, and a crash ends it at once. Where the system permits, it also leaves the
// network. Call it while there is one thread.
//
// Returns 0, or a negative errno where something that must not fail did.
int cprocess_confine(uint64_t memoryBytes, uint64_t seconds);

// As many open files as this process may have at most, up to 65536: each followed database, connection and store takes
// some, and what a process begins with is often 1024. Nothing of ours uses select(2), which more would break. What is
// refused stays as it was.
void cprocess_raise_open_files(void);

// A lower priority for the processor than the process that started this one, and the lowest for the disk; what is refused
// stays as it was.
void cprocess_step_back(void);
