#pragma once
#include <sqlite3.h>
#include <stdint.h>
#include "CSQLiteFollow.h"

/* What Swift cannot import from sqlite3.h (expression macros, variadic
** functions, methods behind pointers), and the few lines that read the mapped
** wal-index and take file locks. One importer: MusterSQLite. */

static inline sqlite3_destructor_type csqlite_transient(void) { return SQLITE_TRANSIENT; }
static const int csqlite_ioerr_read = SQLITE_IOERR_READ;
static const int csqlite_ioerr_short_read = SQLITE_IOERR_SHORT_READ;
static const int csqlite_readonly_rollback = SQLITE_READONLY_ROLLBACK;
static const int csqlite_readonly_moved = SQLITE_READONLY_DBMOVED;

static inline int csqlite_config(sqlite3 *db, int option, int value) {
    return sqlite3_db_config(db, option, value, (int *)0);
}

/* The open file that SQLite itself reads: the database, or its journal or WAL. */
static inline int csqlite_file_pointer(sqlite3 *db, int isJournal, sqlite3_file **file) {
    *file = 0;
    int operation = isJournal ? SQLITE_FCNTL_JOURNAL_POINTER : SQLITE_FCNTL_FILE_POINTER;
    int code = sqlite3_file_control(db, "main", operation, file);
    if (code == SQLITE_OK && (!*file || !(*file)->pMethods)) return SQLITE_NOTFOUND;
    return code;
}
static inline int csqlite_file_read(sqlite3_file *file, void *bytes, int count, int64_t offset) {
    return file->pMethods->xRead(file, bytes, count, offset);
}
static inline int csqlite_file_size(sqlite3_file *file, int64_t *size) {
    sqlite3_int64 found = 0;
    int code = file->pMethods->xFileSize(file, &found);
    *size = found;
    return code;
}
/* SQLITE_FCNTL_HAS_MOVED: the path no longer leads to the open file. */
static inline int csqlite_file_has_moved(sqlite3_file *file, int *moved) {
    *moved = 0;
    return file->pMethods->xFileControl(file, SQLITE_FCNTL_HAS_MOVED, moved);
}

/* WalIndexHdr of SQLite's wal.c, version 3007000, in native byte order. */
typedef struct {
    uint32_t version, unused, changeCount;
    uint8_t isInitialised, isBigEndianChecksum;
    uint16_t pageSize;
    uint32_t lastFrame, pageCount;
    uint32_t frameChecksum[2];
    uint8_t salt[8];
    uint32_t checksum[2];
} csqlite_wal_index_header;

/* Maps the first block of the wal-index that the connection already uses.
** SQLITE_READONLY with a block means that it may not be written: fine for us. */
int csqlite_wal_index_map(sqlite3_file *database, const volatile void **index);
/* Copies the header: 1 if both copies agree and the checksum holds, otherwise 0. */
int csqlite_wal_index_read(const volatile void *index, csqlite_wal_index_header *header);

/* The running checksum of the WAL (fileformat2.html, 4.2); `count` is a multiple of 8. */
void csqlite_wal_checksum(int isBigEndian, const uint8_t *bytes, int count, uint32_t sum[2]);
/* Checks whole frames in a row; stores their page numbers, and the size in pages that each commits (0: it commits
** nothing). Returns how many are good; `sum` runs along. */
int csqlite_wal_verify_frames(const uint8_t *frames, int count, int pageSize, int isBigEndian, const uint8_t salt[8],
                              uint32_t sum[2], uint32_t *pages, uint32_t *commits);

/* SHARED on a database file as os_unix.c takes it, but owned by the descriptor:
** 0 locked, 1 somebody's lock is in the way, otherwise -errno. */
int csqlite_lock_shared(int descriptor);
/* 1 if another process holds a lock that a writer's lock on these bytes would meet, 0 if none, otherwise -errno.
** A question only (F_GETLK): taking the lock to find out would make others see SQLITE_BUSY. */
int csqlite_lock_is_held(int descriptor, int64_t start, int64_t count, int asReader);

#define CSQLITE_SHARED_FIRST (0x40000000 + 2)
#define CSQLITE_SHARED_COUNT 510
/* The byte of -shm on which every attached connection holds a lock (os_unix.c, UNIX_SHM_DMS). */
#define CSQLITE_SHM_ATTACHED 128

/* Runs `body` on a thread of its own that has the rights of this user on files and no privilege whatever, and waits for it. For a
** process that is root. 0, or -errno where the rights could not be changed: then `body` did not run. */
int csqlite_act_as(uint32_t user, uint32_t group, void (*body)(void *), void *context);
/* The user's own group, as the system's list of users has it; a group that owns nothing where the user is not in it. */
uint32_t csqlite_group_of(uint32_t user);

/* The two names change files in one step (renameat2(2), RENAME_EXCHANGE): 0, or -errno; -EINVAL or -ENOSYS where the file
** system or the kernel does not have it. */
int csqlite_exchange(const char *first, const char *second);
