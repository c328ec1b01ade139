#include "daemon/tools.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "daemon/owner.h"
#include "offline/offline.h"

/* ---- what they share ---- */

static void close_descriptor(int *descriptor) {
    if (*descriptor >= 0)
        close(*descriptor);
}

/* Returns the exit status. */
static int refuse(int r, const struct failure *failure) {
    fprintf(stderr, "raftkvd: %s\n",
            r > 0 || failure->message[0] ? failure->message : strerror(-r));
    return EXIT_FAILURE;
}

/* ---- progress, for a person who waits ---- */

enum { PROGRESS_MS = 200 };

struct progress {
    bool watched; /* standard error is a terminal */
    uint64_t shown_at;
};

static uint64_t now_ms(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct progress progress_begin(void) {
    return (struct progress){.watched = isatty(STDERR_FILENO) == 1};
}

static void progress_show(void *data, uint64_t done, uint64_t total) {
    struct progress *progress = data;
    uint64_t now = now_ms();

    if (!progress->watched || now < progress->shown_at + PROGRESS_MS)
        return;
    progress->shown_at = now;
    if (total > 0)
        fprintf(stderr, "\r%.0f %%\033[K", (double)done * 100 / (double)total);
    else
        fprintf(stderr, "\r%.1f MiB\033[K", (double)done / 1048576);
}

static void progress_end(const struct progress *progress) {
    if (progress->watched)
        fputs("\r\033[K", stderr);
}

static void say(void *data, bool wrong, const char *sentence) {
    progress_end(data);
    fprintf(wrong ? stderr : stdout, "%s%s\n", wrong ? "raftkvd: " : "", sentence);
}

static uint64_t random_id(void) {
    uint64_t id = 0;

    while (id == 0) {
        ssize_t n = getrandom(&id, sizeof id, 0);

        check(n == sizeof id || errno == EINTR);
    }
    return id;
}

/* This node as a member of a new cluster. */
static struct identity new_identity(const struct options *options) {
    struct identity identity = {.cluster_id = random_id(), .member_id = random_id()};

    strcpy(identity.name, options->name);
    strcpy(identity.peer_address, options->advertise_peers);
    strcpy(identity.client_address, options->advertise_clients);
    return identity;
}

static void say_what_next(const struct options *options, const struct identity *identity) {
    printf("%s is the only member of the new cluster %016" PRIx64 ".\n"
           "Start it, then add the others, each with an empty data directory:\n"
           "  raftkvctl --endpoints=%s add-voter NAME ADDRESS\n",
           options->name, identity->cluster_id, options->advertise_clients);
}

/* ---- --verify ---- */

static int verify(const struct options *options) {
    struct progress progress = progress_begin();
    int r = offline_verify(options->data_directory, options->name, say, progress_show, &progress);

    progress_end(&progress);
    if (r != 0)
        return EXIT_FAILURE;
    printf("%s is sound.\n", options->data_directory);
    return EXIT_SUCCESS;
}

/* ---- --restore= ---- */

static int restore(const struct options *options, const char *file, int backup) {
    struct identity identity = new_identity(options);
    struct backup_summary summary;
    struct progress progress = progress_begin();
    struct failure failure = {0};
    int r = offline_restore(backup, options->data_directory, &identity, progress_show, &progress,
                            &summary, &failure);

    progress_end(&progress);
    if (r != 0) {
        fprintf(stderr, "raftkvd: %s can't be restored to %s.\n", file, options->data_directory);
        return refuse(r, &failure);
    }
    printf("Restored %" PRIu64 " keys, %" PRIu64 " bytes of keys and values, of revision %" PRIu64
           " of cluster %016" PRIx64 ".\n",
           summary.records, summary.bytes, summary.header.snapshot.index,
           summary.header.cluster_id);
    backup_summary_deinit(&summary);
    say_what_next(options, &identity);
    return EXIT_SUCCESS;
}

/* ---- --recover ---- */

static void say_what_recovery_does(const struct offline *offline) {
    const struct configuration *configuration = &offline->configuration;

    printf("\n%s becomes the only member of a new cluster, with the data above. What others of\n"
           "cluster %016" PRIx64 " have and this node has not is lost. Do this only when a\n"
           "majority of them is gone for good.\n",
           offline->directory.name, offline->directory.cluster_id);
    for (size_t i = 0; i < configuration->count; i++) {
        const struct server *server = &configuration->servers[i];

        if (server->id != offline->directory.member_id)
            printf("Given up, and unable to come back with its data: %s at %s.\n", server->name,
                   server->peer_address);
    }
}

static bool is_confirmed(void) {
    char answer[8] = "";

    printf("Type yes to go on: ");
    fflush(stdout);
    return fgets(answer, sizeof answer, stdin) && strcmp(answer, "yes\n") == 0;
}

static int recover_opened(const struct options *options, struct offline *offline, bool yes) {
    struct identity identity = new_identity(options);
    struct failure failure = {0};
    int r;

    say_what_recovery_does(offline);
    if (!yes && !isatty(STDIN_FILENO)) {
        fputs("raftkvd: Nothing was changed: there is no terminal to ask on, and no --yes.\n",
              stderr);
        return EXIT_FAILURE;
    }
    if (!yes && !is_confirmed()) {
        fputs("raftkvd: Nothing was changed.\n", stderr);
        return EXIT_FAILURE;
    }
    r = offline_recover(offline, &identity, &failure);
    if (r != 0)
        return refuse(r, &failure);
    say_what_next(options, &identity);
    return EXIT_SUCCESS;
}

static int recover(const struct options *options, bool yes) {
    struct offline offline;
    struct progress progress = progress_begin();
    int r = offline_open(&offline, options->data_directory, options->name, say, progress_show,
                         &progress);

    progress_end(&progress);
    if (r != 0) {
        fputs("raftkvd: Nothing was changed.\n", stderr);
        return EXIT_FAILURE;
    }
    r = recover_opened(options, &offline, yes);
    offline_close(&offline);
    return r;
}

/* ---- which one ---- */

int tools_run(const struct options *options, const struct arguments *arguments) {
    _cleanup_(close_descriptor) int backup = -1;
    struct failure failure = {0};
    int r;

    /* Opened by who was asked: the owner of the directory may not be allowed to. */
    if (arguments->work == WORK_RESTORE) {
        backup = open(arguments->backup, O_RDONLY | O_CLOEXEC);
        if (backup < 0) {
            fprintf(stderr, "raftkvd: Can't open %s: %s.\n", arguments->backup, strerror(errno));
            return EXIT_FAILURE;
        }
    }
    r = owner_become(options->data_directory, &failure);
    if (r != 0)
        return refuse(r, &failure);
    switch (arguments->work) {
    case WORK_VERIFY:
        return verify(options);
    case WORK_RESTORE:
        return restore(options, arguments->backup, backup);
    default:
        return recover(options, arguments->yes);
    }
}
