#define _GNU_SOURCE
#include "CSQLite.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

_Static_assert(sizeof(csqlite_wal_index_header) == 48, "WalIndexHdr has 48 bytes");

int csqlite_wal_index_map(sqlite3_file *database, const volatile void **index) {
    volatile void *block = 0;
    *index = 0;
    if (database->pMethods->iVersion < 2 || !database->pMethods->xShmMap) return SQLITE_NOTFOUND;
    int code = database->pMethods->xShmMap(database, 0, 32768, 0, &block);
    if (!block) return code == SQLITE_OK ? SQLITE_CANTOPEN : code;
    if (code != SQLITE_OK && code != SQLITE_READONLY) return code;
    *index = block;
    return SQLITE_OK;
}

int csqlite_wal_index_read(const volatile void *index, csqlite_wal_index_header *header) {
    csqlite_wal_index_header second;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    /* A writer stores copy 2, a barrier, then copy 1 (walIndexWriteHdr): read them the other way round. */
    memcpy(header, (const void *)index, sizeof second);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    memcpy(&second, (const uint8_t *)index + sizeof second, sizeof second);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (memcmp(header, &second, sizeof second) != 0 || !header->isInitialised) return 0;
    uint32_t sum[2] = {0, 0};
    const uint32_t *words = (const uint32_t *)header;
    for (int i = 0; i < 10; i += 2) {
        sum[0] += words[i] + sum[1];
        sum[1] += words[i + 1] + sum[0];
    }
    return sum[0] == header->checksum[0] && sum[1] == header->checksum[1];
}

static uint32_t word(const uint8_t *bytes, int isBigEndian) {
    uint32_t value;
    memcpy(&value, bytes, 4);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return isBigEndian ? __builtin_bswap32(value) : value;
#else
    return isBigEndian ? value : __builtin_bswap32(value);
#endif
}

void csqlite_wal_checksum(int isBigEndian, const uint8_t *bytes, int count, uint32_t sum[2]) {
    uint32_t first = sum[0], second = sum[1];
    for (int i = 0; i < count; i += 8) {
        first += word(bytes + i, isBigEndian) + second;
        second += word(bytes + i + 4, isBigEndian) + first;
    }
    sum[0] = first;
    sum[1] = second;
}

int csqlite_wal_verify_frames(const uint8_t *frames, int count, int pageSize, int isBigEndian, const uint8_t salt[8],
                              uint32_t sum[2], uint32_t *pages, uint32_t *commits) {
    for (int i = 0; i < count; i++, frames += 24 + pageSize) {
        uint32_t running[2] = {sum[0], sum[1]};
        csqlite_wal_checksum(isBigEndian, frames, 8, running);
        csqlite_wal_checksum(isBigEndian, frames + 24, pageSize, running);
        uint32_t page = word(frames, 1);
        if (page == 0 || memcmp(frames + 8, salt, 8) != 0 || word(frames + 16, 1) != running[0] ||
            word(frames + 20, 1) != running[1])
            return i;
        sum[0] = running[0];
        sum[1] = running[1];
        pages[i] = page;
        commits[i] = word(frames + 4, 1);
    }
    return count;
}

int csqlite_lock_shared(int descriptor) {
    /* unixLock(): a writer that waits holds PENDING, so that no new reader starves it. */
    int pending = csqlite_lock(descriptor, CSQLITE_SHARED, CSQLITE_SHARED_FIRST - 2, 1);
    if (pending != 0) return pending;
    int shared = csqlite_lock(descriptor, CSQLITE_SHARED, CSQLITE_SHARED_FIRST, CSQLITE_SHARED_COUNT);
    int released = csqlite_lock(descriptor, CSQLITE_UNLOCK, CSQLITE_SHARED_FIRST - 2, 1);
    return shared != 0 ? shared : released;
}

int csqlite_lock_is_held(int descriptor, int64_t start, int64_t count, int asReader) {
    struct flock lock = {
        .l_type = asReader ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = count};
    if (fcntl(descriptor, F_GETLK, &lock) != 0) return -errno;
    return lock.l_type != F_UNLCK;
}
