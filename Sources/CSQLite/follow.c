#define _GNU_SOURCE
#include "CSQLite.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

int csqlite_index_is_whole(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) == 0 && status.st_size >= CSQLITE_INDEX_BYTES;
}

int csqlite_index_map(int descriptor, int isWritable, volatile void **block) {
    *block = 0;
    if (!csqlite_index_is_whole(descriptor)) return -ENODATA;
    int protection = isWritable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *mapped = mmap(0, CSQLITE_INDEX_BYTES, protection, MAP_SHARED, descriptor, 0);
    if (mapped == MAP_FAILED) return -errno;
    *block = mapped;
    return 0;
}

int csqlite_index_unmap(volatile void *block) {
    return munmap((void *)block, CSQLITE_INDEX_BYTES) == 0 ? 0 : -errno;
}

uint32_t csqlite_index_word(const volatile void *block, int offset) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint32_t word = __atomic_load_n((const volatile uint32_t *)block + offset / 4, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return word;
}

void csqlite_index_clear_mark(volatile void *block, int slot) {
    volatile uint32_t *mark = (volatile uint32_t *)block + CSQLITE_INDEX_MARKS / 4 + slot;
    __atomic_store_n(mark, CSQLITE_MARK_UNUSED, __ATOMIC_SEQ_CST);
}

static struct flock lock_of(CSQLiteLock kind, int64_t start, int64_t count) {
    static const short types[] = {F_UNLCK, F_RDLCK, F_WRLCK};
    /* OFD locks want l_pid 0. */
    return (struct flock){.l_type = types[kind], .l_whence = SEEK_SET, .l_start = start, .l_len = count};
}

int csqlite_lock(int descriptor, CSQLiteLock kind, int64_t start, int64_t count) {
    struct flock lock = lock_of(kind, start, count);
    if (fcntl(descriptor, F_OFD_SETLK, &lock) == 0) return 0;
    return errno == EAGAIN || errno == EACCES ? 1 : -errno;
}

int csqlite_lock_holder(int descriptor, CSQLiteLock kind, int64_t start, int32_t *holder) {
    struct flock lock = lock_of(kind, start, 1);
    *holder = 0;
    if (fcntl(descriptor, F_OFD_GETLK, &lock) != 0) return -errno;
    if (lock.l_type == F_UNLCK) return 0;
    *holder = lock.l_pid;
    return 1;
}

static void ignore(int signal) { (void)signal; }

static int isWaitPossible;
static void install_wake_up(void) {
    struct sigaction present, wakeUp = {.sa_handler = ignore};
    if (sigaction(SIGURG, 0, &present) != 0) return;
    /* Somebody else's handler stays; the wait is a poll then. No SA_RESTART: the signal has to end fcntl. */
    if (!(present.sa_flags & SA_SIGINFO) && (present.sa_handler == SIG_DFL || present.sa_handler == SIG_IGN))
        isWaitPossible = sigaction(SIGURG, &wakeUp, 0) == 0;
}

static int64_t monotonic_microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int poll_for_lock(int descriptor, int64_t start, int64_t deadline) {
    while (1) {
        int code = csqlite_lock(descriptor, CSQLITE_SHARED, start, 1);
        if (code != 1 || monotonic_microseconds() >= deadline) return code;
        usleep(100);
    }
}

int csqlite_lock_wait(int descriptor, int64_t start, int milliseconds) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (milliseconds > 1000) milliseconds = 1000;
    int64_t deadline = monotonic_microseconds() + (int64_t)milliseconds * 1000;
    int code = csqlite_lock(descriptor, CSQLITE_SHARED, start, 1);
    if (code != 1) return code;
    if (pthread_once(&once, install_wake_up) != 0) return poll_for_lock(descriptor, start, deadline);

    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGURG};
    event.sigev_notify_thread_id = gettid();
    if (!isWaitPossible || timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
        return poll_for_lock(descriptor, start, deadline);
    sigset_t wakeUp, before;
    sigemptyset(&wakeUp);
    sigaddset(&wakeUp, SIGURG);
    pthread_sigmask(SIG_UNBLOCK, &wakeUp, &before);
    /* It fires again and again: the first signal may come before fcntl waits. */
    struct itimerspec times = {.it_interval = {.tv_nsec = 5000000},
                               .it_value = {milliseconds / 1000, (milliseconds % 1000) * 1000000L + 1}};
    code = 1;
    if (timer_settime(timer, 0, &times, 0) == 0) {
        struct flock lock = lock_of(CSQLITE_SHARED, start, 1);
        do {
            code = fcntl(descriptor, F_OFD_SETLKW, &lock) == 0 ? 0 : errno == EINTR ? 1 : -errno;
        } while (code == 1 && monotonic_microseconds() < deadline);
    }
    timer_delete(timer);
    pthread_sigmask(SIG_SETMASK, &before, 0);
    return code;
}

int csqlite_start_thread(void *(*run)(void *), void *context, int stackBytes) {
    pthread_attr_t attributes;
    int code = pthread_attr_init(&attributes);
    if (code != 0) return code;
    sigset_t all, before;
    sigfillset(&all);
    code = pthread_attr_setstacksize(&attributes, (size_t)stackBytes);
    if (code == 0) code = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    /* A thread begins with its maker's mask. */
    if (code == 0) code = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (code == 0) {
        pthread_t thread;
        code = pthread_create(&thread, &attributes, run, context);
        pthread_sigmask(SIG_SETMASK, &before, 0);
    }
    pthread_attr_destroy(&attributes);
    return code;
}

void csqlite_prefer_normal_priority(void) {
    struct sched_param none = {0};
    int policy = sched_getscheduler(0);
    if (policy == SCHED_IDLE || policy == SCHED_BATCH) sched_setscheduler(0, SCHED_OTHER, &none);
    errno = 0;
    int nice = getpriority(PRIO_PROCESS, 0);
    if (errno == 0 && nice > 0) setpriority(PRIO_PROCESS, 0, 0);
}

int csqlite_watch_directory(const char *path) {
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch < 0) return -errno;
    if (inotify_add_watch(watch, path, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) < 0) {
        int code = -errno;
        close(watch);
        return code;
    }
    return watch;
}

int csqlite_watch_saw(int watch, const char *name) {
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    while (1) {
        ssize_t count = read(watch, events, sizeof events);
        if (count <= 0) return count < 0 && errno == EAGAIN ? 0 : 1;
        for (char *place = events; place < events + count;) {
            const struct inotify_event *event = (const struct inotify_event *)place;
            /* IN_Q_OVERFLOW: some were dropped. IN_IGNORED: the directory itself is gone. */
            if (event->mask & (IN_Q_OVERFLOW | IN_IGNORED)) return 1;
            if (event->len > 0 && strcmp(event->name, name) == 0) return 1;
            place += sizeof *event + event->len;
        }
    }
}
