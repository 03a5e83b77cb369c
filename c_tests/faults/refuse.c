/*
 * Runs a program again and again under a system that refuses it something: in the n-th run the library's n-th
 * call of one kind fails, that one alone or all from there on; until a run makes fewer calls.
 *
 *     refuse <file of the library> <mmap|mremap|mprotect|madvise|clone> <all> <once|on> <program> [argument]...
 *
 * All n up to `all` have their run, then every other one, then one out of three, and so on: what is called that
 * often is called for the same reason.
 *
 * The program gets "once" or "on" as its last argument, and has to end with 0. The library makes its system
 * calls without libc, where nothing could come between. A seccomp filter hands them to this process, which
 * knows the library's own by the address that they come from: what the dynamic linker and libc want, to load
 * the library among other things, they get.
 */
#define _GNU_SOURCE
#include "../check_basics.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A run that takes longer hangs. */
enum { SECONDS = 60 };

/* The exit status that says: this kernel can't do it. */
enum { SKIPPED = 77 };

/* So little that the first reservation fills up, and another heap has to be made. */
static const rlim_t address_space = 512 << 20;

static const struct {
    const char *name;
    int number;
    int error;
} calls[] = {
    {"mmap", SYS_mmap, ENOMEM},
    {"mremap", SYS_mremap, ENOMEM},
    {"mprotect", SYS_mprotect, ENOMEM},
    {"madvise", SYS_madvise, ENOMEM},
    {"clone", SYS_clone, EAGAIN},
};

static const char *library;
static int number, error;
static bool only_once;

static inline void check_failed(const char *file, int line, const char *what, const char *values) {
    fprintf(stderr, "%s:%d: %s%s (errno %d)\n", file, line, what, values, errno);
    exit(1);
}

/* The child's part: whatever it executes makes the calls in question only by our leave. */
static int install_filter(void) {
    struct sock_filter instructions[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {
        .len = sizeof instructions / sizeof *instructions, .filter = instructions};
    CHECK_EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                        &filter);
}

/* Where a process has the library's code, if it has it at this address. */
struct code {
    uint64_t start, end;
};

static bool find_code(pid_t process, uint64_t address, struct code *code) {
    char line[4096];
    snprintf(line, sizeof line, "/proc/%d/maps", process);
    FILE *maps = fopen(line, "r");
    bool found = false;
    while (maps != NULL && !found && fgets(line, sizeof line, maps) != NULL) {
        struct code mapping;
        CHECK_EQUAL(sscanf(line, "%lx-%lx", &mapping.start, &mapping.end), 2);
        found = mapping.start <= address && address < mapping.end && strstr(line, library) != NULL;
        if (found) {
            *code = mapping;
        }
    }
    if (maps != NULL) {
        fclose(maps);
    }
    return found;
}

/* Answers the program's calls until it has ended; how many there were. */
static size_t answer_calls(int listener, size_t refused) {
    struct code code = {0};
    size_t count = 0;
    for (;;) {
        struct pollfd wait = {.fd = listener, .events = POLLIN};
        CHECK_EQUAL(poll(&wait, 1, -1), 1);
        if ((wait.revents & POLLIN) == 0) {
            return count;
        }
        struct seccomp_notif call = {0};
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) {
            CHECK(errno == ENOENT || errno == EINTR); /* It was killed meanwhile. */
            continue;
        }
        uint64_t address = call.data.instruction_pointer;
        bool is_known = code.start <= address && address < code.end;
        bool is_the_librarys =
            is_known || (code.end == 0 && find_code((pid_t)call.pid, address, &code));
        count += is_the_librarys;
        bool refuse = is_the_librarys && (only_once ? count == refused : count >= refused);
        struct seccomp_notif_resp response = {.id = call.id};
        if (refuse) {
            response.error = -error;
        } else {
            response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        }
        CHECK(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response) == 0 || errno == ENOENT);
    }
}

/* One run. How many calls it made; `status` is how it ended. */
static size_t run(char **program, size_t refused, int *status) {
    int channel[2];
    CHECK_EQUAL(pipe(channel), 0);
    /* A fork whose open files are ours too, until it executes the program. */
    pid_t child = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
    CHECK(child >= 0);
    if (child == 0) {
        struct rlimit limit = {.rlim_cur = address_space, .rlim_max = address_space};
        CHECK_EQUAL(setrlimit(RLIMIT_AS, &limit), 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(SECONDS);
        int listener = install_filter();
        CHECK_EQUAL(write(channel[1], &listener, sizeof listener), sizeof listener);
        if (listener >= 0) {
            execv(program[0], program);
        }
        _exit(SKIPPED);
    }
    int listener;
    CHECK_EQUAL(read(channel[0], &listener, sizeof listener), sizeof listener);
    close(channel[0]);
    close(channel[1]);
    size_t count = listener >= 0 ? answer_calls(listener, refused) : 0;
    close(listener);
    CHECK_EQUAL(waitpid(child, status, 0), child);
    return count;
}

int main(int argc, char **argv) {
    CHECK(argc > 5);
    library = argv[1];
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (strcmp(calls[i].name, argv[2]) == 0) {
            number = calls[i].number;
            error = calls[i].error;
        }
    }
    size_t all = strtoul(argv[3], NULL, 10);
    CHECK(error != 0 && all > 0);
    only_once = strcmp(argv[4], "once") == 0;

    /* The arguments of the program, and the mode behind them. */
    char **program = calloc((size_t)argc, sizeof *program);
    CHECK(program != NULL);
    memcpy(program, argv + 5, (size_t)(argc - 5) * sizeof *program);
    program[argc - 5] = argv[4];

    size_t refused = 0, count, failures = 0;
    do {
        int status;
        refused += 1 + refused / all;
        count = run(program, refused, &status);
        if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
            return SKIPPED;
        }
        if (status != 0) {
            fprintf(stderr, "%s refused %s, call %zu of %zu: status 0x%x\n", argv[2], argv[4],
                    refused, count, (unsigned)status);
            failures++;
        }
    } while (count >= refused);
    CHECK_EQUAL(failures, 0);
    /* Else nothing was refused. */
    CHECK(refused > 1);
    return 0;
}
