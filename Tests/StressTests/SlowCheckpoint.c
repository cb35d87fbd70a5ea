/* Preloaded into an application: a checkpointer waits a little between reading the header of the wal-index and asking
** how many frames are copied, so that the WAL may restart in between. In that moment SQLite up to 3.51.2 damages a
** database. The only call that SQLite makes to the system just there is munmap, where the connection maps the database
** file and somebody has committed since (wal.c, sqlite3WalCheckpoint: sqlite3OsUnfetch).
** DELAY_MICROSECONDS is the longest wait. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int munmap(void *start, size_t length) {
    int (*next)(void *, size_t) = (int (*)(void *, size_t))dlsym(RTLD_NEXT, "munmap");
    int code = next(start, length);
    const char *text = getenv("DELAY_MICROSECONDS");
    int longest = text ? atoi(text) : 0;
    if (longest > 0) usleep(rand() % longest);
    return code;
}
