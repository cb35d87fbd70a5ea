#pragma once
#include <stdint.h>

/* The wal-index (-shm) and SQLite's file locks, reached through descriptors of
** our own and not through a connection.
**
** Each fact and its place: W = sqlite.org/walformat.html, else a function of
** SQLite's own sources (read in 3.40.1 and 3.53.4).
**
** - Bytes 0..47 and 48..95 are two copies of the header, 96 nBackfill,
**   100..119 five read marks, 120..127 lock bytes, 128 nBackfillAttempted;
**   native byte order (W 2.1; wal.c, struct WalCkptInfo).
** - A writer stores copy 2, a barrier, copy 1; a reader takes them the other way
**   round, and believes two equal ones whose checksum holds (wal.c,
**   walIndexWriteHdr, walIndexTryHdr).
** - Locks are bytes of the file: 120 WRITE, 121 CKPT, 122 RECOVER, 123..127
**   READ0..READ4 (W 2.1.3; os_unix.c, UNIX_SHM_BASE), and 128, on which every
**   attached process keeps a read lock. Who finds it free cuts the file to
**   3 bytes (os_unix.c, unixLockSharedMemory): it must be ours before we map.
** - A read mark changes only under EXCLUSIVE on its own lock byte; 0xffffffff
**   means unused and limits no checkpoint (W 2.3.1; wal.c, walTryBeginRead,
**   walCheckpoint).
** - SHARED on a database file is a read lock on 510 bytes after 1 GiB, taken
**   behind PENDING (os_unix.c, unixLock).
**
** All locks are open file description locks (fcntl(2), F_OFD_SETLK): they
** conflict with SQLite's POSIX locks of every process, ours included, and live
** as long as our descriptor, whatever else this process closes. Only the other
** way round there is a trap: closing OUR descriptor drops the POSIX locks that
** SQLite holds for this process on the same file (see CaptureLease). */

#define CSQLITE_INDEX_BYTES 32768
#define CSQLITE_INDEX_BACKFILL 96
#define CSQLITE_INDEX_MARKS 100
#define CSQLITE_INDEX_ATTEMPTED 128
#define CSQLITE_MARK_UNUSED 0xffffffffu

#define CSQLITE_LOCK_WRITE 120
#define CSQLITE_LOCK_CHECKPOINT 121
#define CSQLITE_LOCK_READ 123

/* Maps the first block of the wal-index. 0, or -errno; -ENODATA where the file is too short.
** Touching pages that the file lost since is a SIGBUS: see csqlite_index_is_whole. */
int csqlite_index_map(int descriptor, int isWritable, volatile void **block);
int csqlite_index_unmap(volatile void *block);
/* 1 if the file still holds all that is mapped. SQLite never shortens it while lock byte 128 is
** held; a person with `cp` or `truncate` may. Ask before each look at the block. */
int csqlite_index_is_whole(int descriptor);
/* The word at a byte offset of the block, with a full barrier on both sides. */
uint32_t csqlite_index_word(const volatile void *block, int offset);
/* Marks a read slot unused. Only with EXCLUSIVE on its lock byte. */
void csqlite_index_clear_mark(volatile void *block, int slot);

typedef enum { CSQLITE_UNLOCK = 0, CSQLITE_SHARED = 1, CSQLITE_EXCLUSIVE = 2 } CSQLiteLock;
/* 0 done, 1 somebody's lock is in the way, otherwise -errno. EXCLUSIVE over our own SHARED, or the
** other way round, changes it in one step. */
int csqlite_lock(int descriptor, CSQLiteLock kind, int64_t start, int64_t count);
/* SHARED on one byte, waiting up to `milliseconds` (at most 1000) until it is free: the same answers.
** A timer's SIGURG, sent to this thread alone, ends the wait; the default action of that signal is to be ignored,
** so a stray one does no harm. */
int csqlite_lock_wait(int descriptor, int64_t start, int milliseconds);
/* 1 if a lock of somebody else is in the way of such a lock, 0 if none, otherwise -errno. `holder` is its
** process, 0 or less where that is not known. A question only (F_OFD_GETLK): nobody sees SQLITE_BUSY for it. */
int csqlite_lock_holder(int descriptor, CSQLiteLock kind, int64_t start, int32_t *holder);

/* Starts a thread that nobody waits for: 0, or the reason as errno has it. It blocks all signals. */
int csqlite_start_thread(void *(*run)(void *), void *context, int stackBytes);
/* Brings the calling thread up to normal scheduling and nice 0, as far as the process may: CAP_SYS_NICE, or a limit of
** RLIMIT_NICE (sched(7)). Where it may not, all stays. Linux counts both for each thread by itself. */
void csqlite_prefer_normal_priority(void);

/* Watches a directory for files that come into being: a descriptor, or -errno. */
int csqlite_watch_directory(const char *path);
/* 1 if a file of that name was made or moved there since, or if that cannot be known; 0 if not. */
int csqlite_watch_saw(int watch, const char *name);
