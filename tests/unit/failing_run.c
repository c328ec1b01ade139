#include "failing_run.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "failing_calls.h"
#include "test_directories.h"

enum {
    HANGS_AFTER_S = 120,
    TEXT_SIZE = 4096,
    SANITIZED_STEP = 13, /* with sanitizers a process takes ten times as long: one in so many */
    /* How a process of a run ends by itself. */
    FINISHED = 0,
    STOPPED = 40,
    LEAKED = 41,
};

/* What the processes of a run share. */
struct run {
    const char *failed; /* the name of the call */
    _Alignas(16) char acknowledged[FAILING_ACKNOWLEDGED_MAX];
};

struct series {
    const struct failing_scenario *scenario;
    enum failing_kind kind;
    int error;
    unsigned long n;
    unsigned wrong;
    struct run *run;
    char text[TEXT_SIZE]; /* what the last process has written to standard error */
};

/* Of the leak sanitizer, where there is one. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

/* What Berkeley DB allocated stays when its environment panics, or can't be opened. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libdb-5.3.so";
}

int failing_describe(struct failure *failure, const char *what, int error) {
    if (error < 0)
        failure_set(failure, ERROR_INTERNAL, "%s: %s.", what, strerror(-error));
    return error;
}

/* Berkeley DB orders some of its work by address: the n-th call is to be the same each time. */
__attribute__((constructor)) static void fix_addresses(int count, char **arguments) {
    int current = personality(0xffffffff);

    (void)count;
    if (current >= 0 && !(current & ADDR_NO_RANDOMIZE) &&
        personality((unsigned long)current | ADDR_NO_RANDOMIZE) >= 0)
        execv("/proc/self/exe", arguments);
}

static void work(struct series *series, const char *directory) {
    const struct failing_scenario *scenario = series->scenario;
    struct failure failure = {0};
    int r;

    failing_begin(series->kind, series->error, series->n, &series->run->failed);
    r = scenario->work(scenario, directory, series->run->acknowledged, &failure);
    failing_end();
    if (r != 0)
        fprintf(stderr, "%s\n", failure.message);
    if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check() != 0)
        _exit(LEAKED);
    _exit(r == 0 ? FINISHED : STOPPED);
}

static void check(struct series *series, const char *directory) {
    const struct failing_scenario *scenario = series->scenario;

    /* What fails now is no matter for the tests' own process to go on from. */
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    scenario->check(scenario, directory, series->run->acknowledged);
    _exit(FINISHED);
}

/* Returns its status, as of waitpid(2). */
static int run_process(struct series *series, const char *directory,
                       void (*function)(struct series *series, const char *directory)) {
    int output = memfd_create("output", MFD_CLOEXEC), status;
    pid_t child = fork();
    ssize_t n;
    /* By cmocka, which would go on with the next test. */
    static const int caught[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

    assert_true(output >= 0 && child >= 0);
    if (child == 0) {
        for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
            signal(caught[i], SIG_DFL);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        dup2(output, STDERR_FILENO);
        alarm(HANGS_AFTER_S);
        function(series, directory);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    n = pread(output, series->text, sizeof series->text - 1, 0);
    series->text[n > 0 ? n : 0] = '\0';
    close(output);
    return status;
}

static bool says(const struct series *series, const char *text) {
    return strstr(series->text, text) != NULL;
}

static bool was_a_sync(const char *name) {
    return strcmp(name, "fsync") == 0 || strcmp(name, "fdatasync") == 0;
}

/* Whether the process ended as it should after that failure. */
static bool ended_well(const struct series *series, int status) {
    const char *failed = series->run->failed;

    if (says(series, "runtime error"))
        return false;
    if (!failed)
        return WIFEXITED(status) && WEXITSTATUS(status) == FINISHED;
    if (series->kind == FAILING_MEMORY)
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && says(series, "Out of memory");
    if (was_a_sync(failed))
        return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE &&
               says(series, "A sync of the disk failed");
    if (WIFEXITED(status) && WEXITSTATUS(status) == STOPPED)
        return says(series, strerror(series->error));
    return WIFEXITED(status) && WEXITSTATUS(status) == FINISHED;
}

/* All that go wrong are shown, since one alone says little. */
static void complain(struct series *series, const char *when, int status) {
    series->wrong++;
    print_error("Call %lu (%s, %s), %s: %s %d: %s\n", series->n,
                series->run->failed ? series->run->failed : "none", strerror(series->error), when,
                WIFSIGNALED(status) ? "signal" : "exit status",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), series->text);
}

/* Returns whether the n-th call came. */
static bool fail_one(struct series *series) {
    char *directory = make_directory_in_memory();
    int status;

    memset(series->run, 0, sizeof *series->run);
    if (series->scenario->directory)
        copy_directory(series->scenario->directory, directory);
    status = run_process(series, directory, work);
    if (!ended_well(series, status))
        complain(series, "while it works", status);
    status = run_process(series, directory, check);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != FINISHED)
        complain(series, "after the restart", status);
    remove_directory(directory);
    return series->run->failed;
}

static void fail_each(const struct failing_scenario *scenario, enum failing_kind kind, int error) {
    struct series series = {.scenario = scenario, .kind = kind, .error = error, .n = 1};
    unsigned long step = __lsan_do_recoverable_leak_check ? SANITIZED_STEP : 1, failed = 0;

    series.run =
        mmap(NULL, sizeof *series.run, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(series.run != MAP_FAILED);
    for (; fail_one(&series); series.n += step)
        failed++;
    print_message("%lu calls failed.\n", failed);
    assert_int_equal(series.wrong, 0);
    assert_true(failed * step > 2);
    munmap(series.run, sizeof *series.run);
}

void memory_that_is_not_there_ends_the_process_and_loses_nothing(void **scenario) {
    fail_each(*scenario, FAILING_MEMORY, ENOMEM);
}

void a_call_of_the_library_that_fails_loses_nothing(void **scenario) {
    fail_each(*scenario, FAILING_LIBRARY, EIO);
}

void a_call_of_the_library_that_finds_no_space_loses_nothing(void **scenario) {
    fail_each(*scenario, FAILING_LIBRARY, ENOSPC);
}

void a_system_call_that_fails_loses_nothing(void **scenario) {
    fail_each(*scenario, FAILING_SYSTEM, EIO);
}

void a_system_call_that_finds_no_space_loses_nothing(void **scenario) {
    fail_each(*scenario, FAILING_SYSTEM, ENOSPC);
}
