/* A whole raftkvd in a process of its own, and how that ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/daemon.h"

enum { PATIENCE_MS = 60 * 1000 };

struct stage {
    char directory[64], notify[96], configuration[96];
    int socket; /* what the process tells its manager comes out here */
};

static void write_configuration(const struct stage *stage) {
    FILE *file = fopen(stage->configuration, "w");

    assert_non_null(file);
    fprintf(file,
            "[Node]\nListenClients=127.0.0.1:4711\nListenPeers=127.0.0.1:4712\n"
            "DataDirectory=%s/data\nBootstrap=yes\n",
            stage->directory);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state) {
    static struct stage stage;
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    strcpy(stage.directory, "/tmp/raftkv-test-daemon-XXXXXX");
    assert_non_null(mkdtemp(stage.directory));
    snprintf(stage.notify, sizeof stage.notify, "%s/notify", stage.directory);
    snprintf(stage.configuration, sizeof stage.configuration, "%s/node.conf", stage.directory);
    write_configuration(&stage);
    strcpy(address.sun_path, stage.notify);
    stage.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(stage.socket >= 0);
    assert_int_equal(bind(stage.socket, (struct sockaddr *)&address, sizeof address), 0);
    *state = &stage;
    return 0;
}

static int teardown(void **state) {
    struct stage *stage = *state;
    char command[128];

    close(stage->socket);
    snprintf(command, sizeof command, "rm -r %s", stage->directory);
    return system(command);
}

static void report(void *data, int priority, const char *file, unsigned line, const char *message) {
    (void)data;
    (void)priority;
    fprintf(stderr, "%s:%u: %s\n", file, line, message);
}

/* The process: after its node has stopped it is told to stop once more. */
static _Noreturn void run(const struct stage *stage) {
    static struct options options;
    int status;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setenv("NOTIFY_SOCKET", stage->notify, 1);
    daemon_prepare();
    if (options_load(&options, "nodeA", stage->configuration, report, NULL) != 0)
        _exit(EXIT_FAILURE);
    strcpy(options.listen_clients, "127.0.0.1:0"); /* any that is free, which no file can say */
    strcpy(options.listen_peers, "127.0.0.1:0");
    status = daemon_run(&(struct daemon_start){
        .options = &options, .file = stage->configuration, .report = report});
    raise(SIGTERM);
    raise(SIGINT);
    raise(SIGHUP);
    _exit(status);
}

static void await_readiness(const struct stage *stage) {
    char text[512];
    struct pollfd waiting = {.fd = stage->socket, .events = POLLIN};

    do {
        ssize_t size;

        assert_int_equal(poll(&waiting, 1, PATIENCE_MS), 1);
        size = recv(stage->socket, text, sizeof text - 1, 0);
        assert_true(size >= 0);
        text[size] = 0;
    } while (!strstr(text, "READY=1"));
}

/* A node that the cluster has removed stops by itself, and its manager may tell it to in the same
 * moment: then its status has to say which it was. */
static void a_signal_in_the_last_moment_leaves_the_exit_status_as_it_is(void **state) {
    const struct stage *stage = *state;
    pid_t process = fork();
    int status;

    assert_true(process >= 0);
    if (process == 0)
        run(stage);
    await_readiness(stage);
    assert_int_equal(kill(process, SIGTERM), 0);
    assert_int_equal(waitpid(process, &status, 0), process);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_SUCCESS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_signal_in_the_last_moment_leaves_the_exit_status_as_it_is,
                                        setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
