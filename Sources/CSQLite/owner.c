#define _GNU_SOURCE
#include "CSQLite.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* 65534 is the kernel's overflow id (/proc/sys/kernel/overflowgid): it owns nothing. */
enum { nobodysGroup = 65534 };

uint32_t csqlite_group_of(uint32_t user) {
    struct passwd entry, *found = 0;
    char text[16384];
    return getpwuid_r(user, &entry, text, sizeof text, &found) == 0 && found ? found->pw_gid : nobodysGroup;
}

typedef struct {
    uint32_t user, group;
    void (*body)(void *);
    void *context;
    int code;
} Errand;

/* Linux keeps all of this for each thread by itself; the wrappers of setgroups and capset in glibc and libcap would not. The
** real and saved ids stay, so that the user can neither signal this process nor look into it (kill(2), ptrace(2)). */
static int become(uint32_t user, uint32_t group) {
    if (syscall(SYS_setgroups, 0, 0) != 0) return -errno;
    setfsgid(group);
    setfsuid(user);
    /* They tell no error, only what was there before. */
    if ((uint32_t)setfsgid((gid_t)-1) != group || (uint32_t)setfsuid((uid_t)-1) != user) return -EPERM;
    /* The change of fsuid took the rights over files (capabilities(7)) unless somebody forbade that by securebits. */
    struct __user_cap_header_struct version = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    return syscall(SYS_capset, &version, none) == 0 ? 0 : -errno;
}

static void *run(void *context) {
    Errand *errand = context;
    errand->code = become(errand->user, errand->group);
    if (errand->code == 0) errand->body(errand->context);
    return 0;
}

int csqlite_act_as(uint32_t user, uint32_t group, void (*body)(void *), void *context) {
    Errand errand = {.user = user, .group = group, .body = body, .context = context};
    sigset_t all, before;
    sigfillset(&all);
    /* A thread begins with its maker's mask. */
    int code = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (code != 0) return -code;
    pthread_t thread;
    code = pthread_create(&thread, 0, run, &errand);
    pthread_sigmask(SIG_SETMASK, &before, 0);
    if (code == 0) code = pthread_join(thread, 0);
    return code == 0 ? errand.code : -code;
}

int csqlite_exchange(const char *first, const char *second) {
    return renameat2(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE) == 0 ? 0 : -errno;
}
