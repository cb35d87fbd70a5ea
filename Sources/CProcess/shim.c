#define _GNU_SOURCE
#include "CProcess.h"
#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void cprocess_close_from(int first) {
    if (close_range((unsigned)first, ~0U, 0) == 0) return;
    struct rlimit limit;
    int end = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 65536 ? (int)limit.rlim_cur : 65536;
    for (int number = first; number < end; number++) close(number);
}

void cprocess_raise_open_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    rlim_t wanted = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
    if (limit.rlim_cur >= wanted) return;
    limit.rlim_cur = wanted;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int limit_softly(int resource, uint64_t soft, uint64_t hard) {
    struct rlimit both = {.rlim_cur = soft, .rlim_max = hard};
    return setrlimit((__rlimit_resource_t)resource, &both) == 0 ? 0 : -errno;
}

static int limit(int resource, uint64_t value) { return limit_softly(resource, value, value); }

/* Address space in use, in bytes (proc(5), statm). */
static uint64_t address_space(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) return 0;
    if (fscanf(file, "%lu", &pages) != 1) pages = 0;
    fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* 65534 is the kernel's overflow id (/proc/sys/kernel/overflowuid): it owns nothing. */
static int become_nobody(void) {
    if (geteuid() != 0) return 0;
    if (setgroups(0, 0) != 0 || setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0)
        return -errno;
    return getuid() == 65534 && geteuid() == 65534 ? 0 : -EPERM;
}

/* The language's runtime catches what crashes send, to start a program that prints a backtrace. It gives the signal
** back to its default and lets the instruction fail again, which one that was sent by kill(2) does not. */
static void crash_plainly(void) {
    static const int signals[] = {SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS};
    for (unsigned at = 0; at < sizeof signals / sizeof *signals; at++) signal(signals[at], SIG_DFL);
}

/* All that asking a database takes, and what a language's runtime does meanwhile: bytes of what is open, memory, time, the
** end. Everything else fails: a path needs no descriptor to be removed, cut or renamed, and without root this process has
** the agent's user, which is often the application's. */
static const int allowed[] = {
    SYS_read, SYS_readv, SYS_pread64, SYS_preadv, SYS_write, SYS_writev, SYS_lseek, SYS_fstat, SYS_newfstatat, SYS_close,
    SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise,
    SYS_futex, SYS_sched_yield, SYS_membarrier, SYS_restart_syscall,
    SYS_clock_gettime, SYS_clock_nanosleep, SYS_nanosleep, SYS_getrandom, SYS_getpid, SYS_gettid, SYS_getrusage,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack, SYS_exit, SYS_exit_group,
};

#if defined(__x86_64__)
static const uint32_t architecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
static const uint32_t architecture = AUDIT_ARCH_AARCH64;
#else
#error "the number of this architecture for seccomp is not known"
#endif

/* A filter in classic BPF (seccomp(2)): what is not allowed fails with EPERM, x32 among it, whose numbers begin at 2^30. A
** call by the numbers of another architecture ends the process. By prctl(2), which systemd's @system-service has. */
static int stay_within(void) {
    enum { count = sizeof allowed / sizeof *allowed, head = 4 };
    struct sock_filter rules[head + count + 2] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, architecture, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    for (unsigned at = 0; at < count; at++)
        rules[head + at] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)allowed[at], count - at, 0);
    rules[head + count] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    rules[head + count + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = sizeof rules / sizeof *rules, .filter = rules};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 ? 0 : -errno;
}

int cprocess_confine(uint64_t memoryBytes, uint64_t seconds) {
    uint64_t used = address_space();
    crash_plainly();
    /* Local time is in a file that cannot be read later. */
    tzset();
    int alone = unshare(CLONE_NEWNET | CLONE_NEWIPC) == 0;
    /* Before any user namespace: in there ids mean nothing, and root would look like nobody already. */
    int code = become_nobody();
    /* Without privileges it takes a user namespace of its own, which not every system gives. */
    if (code == 0 && !alone) unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC);
    if (code == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) != 0) code = -errno;
    /* No tracer, no core, and /proc/self belongs to root. */
    if (code == 0 && prctl(PR_SET_DUMPABLE, 0UL, 0UL, 0UL, 0UL) != 0) code = -errno;
    /* After the change of ids, which takes it back (kernel/cred.c, commit_creds). */
    if (code == 0 && cprocess_die_with_parent() != 0) code = -errno;
    if (code == 0 && used > 0) code = limit(RLIMIT_AS, used + memoryBytes);
    /* The soft limit sends SIGXCPU, the hard one SIGKILL, which is also what comes where memory runs out (setrlimit(2)):
    ** where both are the same, only the second comes. */
    if (code == 0) code = limit_softly(RLIMIT_CPU, seconds, seconds + 5);
    if (code == 0) code = limit(RLIMIT_CORE, 0);
    if (code == 0) code = limit(RLIMIT_FSIZE, 0);
    if (code == 0) code = limit(RLIMIT_NPROC, 0);
    /* None at all: a number below the limit could be closed and given to another file. What is open stays so. */
    if (code == 0) code = limit(RLIMIT_NOFILE, 0);
    /* The clock on the wall too: whoever started us may be gone. */
    alarm((unsigned)seconds + 60);
    if (code == 0) code = stay_within();
    return code;
}

void cprocess_step_back(void) {
    /* Not SCHED_IDLE, nor 19: on a node whose cores are all busy such a process never ends, and that is no verdict on
    ** a backup. */
    errno = 0;
    int nice = getpriority(PRIO_PROCESS, 0);
    if (errno == 0) setpriority(PRIO_PROCESS, 0, nice + 5 > 19 ? 19 : nice + 5);
    /* ioprio_set(2) has no wrapper: IOPRIO_WHO_PROCESS is 1, IOPRIO_CLASS_IDLE is 3 and stands above 13 bits. */
    syscall(SYS_ioprio_set, 1, 0, 3 << 13);
}
