/* backup and check: a backup file is made of what a node sends, or read to its end. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "client/commands.h"
#include "format/backup.h"

typedef Raftkv__V1__Request Request;
typedef Raftkv__V1__Response Response;
typedef Raftkv__V1__BackupRequest BackupRequest;
typedef Raftkv__V1__BackupResponse BackupResponse;

/* ---- where a backup goes ---- */

/* A file beside the one that is wanted, which it replaces when it is complete and on the disk. */
struct target {
    const char *path;
    char *temporary; /* NULL: standard output */
    int fd;
};

/* For the signals that end the program: what is half written goes. */
static char *volatile to_remove;
static const int ending[] = {SIGINT, SIGTERM, SIGHUP};

static void remove_and_die(int number) {
    if (to_remove)
        unlink(to_remove);
    signal(number, SIG_DFL);
    raise(number);
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = remove_and_die};

    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++)
        sigaction(ending[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* the node is told when nobody reads any more */
}

/* Makes the file, for nobody else (mode 0600); no signal comes between it and its mention. */
static int make_temporary(char *name) {
    sigset_t blocked, before;
    int fd;

    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++)
        sigaddset(&blocked, ending[i]);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        fd = -errno;
    else
        to_remove = name;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return fd;
}

static int target_open(struct target *target, const char *path) {
    struct stat found;

    *target = (struct target){.path = path, .fd = STDOUT_FILENO};
    catch_signals();
    if (strcmp(path, "-") == 0) {
        target->path = "standard output";
        return isatty(STDOUT_FILENO) ? -ENOTSUP : 0;
    }
    if (stat(path, &found) == 0 && !S_ISREG(found.st_mode))
        return S_ISDIR(found.st_mode) ? -EISDIR : -EEXIST;
    target->temporary = xasprintf("%s.XXXXXX", path);
    target->fd = make_temporary(target->temporary);
    if (target->fd < 0) {
        free(TAKE(target->temporary));
        return target->fd;
    }
    return 0;
}

static int target_write(struct target *target, struct buffer *buffer) {
    size_t done = 0;

    while (done < buffer->size) {
        ssize_t n = write(target->fd, buffer->data + done, buffer->size - done);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            done += (size_t)n;
    }
    buffer->size = 0;
    return 0;
}

static int sync_directory_of(const char *path) {
    _cleanup_free_ char *copy = xstrdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

    if (fd < 0)
        return -errno;
    r = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return r;
}

/* The backup is complete: it gets its name. */
static int target_finish(struct target *target) {
    if (!target->temporary)
        return 0;
    if (fsync(target->fd) < 0 || rename(target->temporary, target->path) < 0)
        return -errno;
    to_remove = NULL;
    free(TAKE(target->temporary));
    return sync_directory_of(target->path);
}

static void target_close(struct target *target) {
    if (target->temporary)
        unlink(target->temporary);
    to_remove = NULL;
    if (target->fd >= 0 && target->fd != STDOUT_FILENO)
        close(target->fd);
    free(target->temporary);
}

/* ---- backup ---- */

struct transfer {
    struct session *session;
    uint32_t timeout_ms;
    uint64_t token, sequence;
    struct target target;
    struct backup_header header;
    struct backup_writer writer;
    struct buffer buffer;
    uint64_t size; /* written */
};

/* --timeout= is the time for one answer: a backup takes as long as it takes. Returns an exit
 * status. */
static int ask(struct transfer *transfer, bool end, Response **ret) {
    BackupRequest body = RAFTKV__V1__BACKUP_REQUEST__INIT;
    Request request = RAFTKV__V1__REQUEST__INIT;

    body.token = transfer->token;
    body.sequence = end ? 0 : transfer->sequence;
    body.end = end;
    request.body_case = RAFTKV__V1__REQUEST__BODY_BACKUP;
    request.backup = &body;
    transport_set_deadline(transfer->session->transport, transport_now() + transfer->timeout_ms);
    return session_call(transfer->session, &request, ret);
}

static int say_bad_answer(struct transfer *transfer, const struct failure *failure) {
    fprintf(transfer->session->errors, "raftkvctl: The node did not send a whole backup: %s\n",
            failure->message);
    return EXIT_STATUS_LOCAL;
}

static int say_local(struct session *session, const char *path, int error) {
    const char *reason = strerror(-error);

    if (error == -EEXIST)
        reason = "It exists, and is not a regular file";
    else if (error == -ENOTSUP)
        reason = "A backup is not for a terminal";
    fprintf(session->errors, "raftkvctl: %s: %s\n", path, reason);
    return EXIT_STATUS_LOCAL;
}

/* Checks what has arrived, and writes it. Returns an exit status. */
static int take(struct transfer *transfer, const BackupResponse *answer) {
    struct failure failure;
    int r = 0;

    if (transfer->sequence == 0) {
        if (backup_header_decode(&transfer->header, answer->header.data, answer->header.len,
                                 &failure) < 0)
            return say_bad_answer(transfer, &failure);
        transfer->token = answer->token;
        backup_writer_begin(&transfer->writer, &transfer->header, &transfer->buffer);
    }
    r = backup_writer_chunk(&transfer->writer, answer->chunk.data, answer->chunk.len,
                            &transfer->buffer, &failure);
    if (r == 0 && answer->last)
        r = backup_writer_end(&transfer->writer, &transfer->buffer, &failure);
    if (r < 0)
        return say_bad_answer(transfer, &failure);
    transfer->size += transfer->buffer.size;
    r = target_write(&transfer->target, &transfer->buffer);
    if (r < 0)
        return say_local(transfer->session, transfer->target.path, r);
    progress_line_show_bytes(&transfer->session->progress, "being read", transfer->size,
                             transfer->header.snapshot.bytes_estimate);
    return 0;
}

static int receive_all(struct transfer *transfer) {
    bool last = false;

    for (int status; !last; transfer->sequence++) {
        _cleanup_(response_free) Response *response = NULL;

        status = ask(transfer, false, &response);
        if (status == 0) {
            last = response->backup->last;
            status = take(transfer, response->backup);
        }
        if (status != 0)
            return status;
    }
    return 0;
}

/* The node need not wait for more. It finds out by itself when this does not reach it, so a failure
 * is nobody's concern. */
static void let_go(struct transfer *transfer) {
    FILE *errors = transfer->session->errors, *nowhere = fopen("/dev/null", "we");
    _cleanup_(response_free) Response *response = NULL;

    if (transfer->token == 0 || !nowhere)
        return;
    transfer->session->errors = nowhere;
    ask(transfer, true, &response);
    transfer->session->errors = errors;
    fclose(nowhere);
}

static void show(const struct session *session, const struct transfer *transfer) {
    const struct backup_summary summary = {
        .header = transfer->header,
        .chunks = transfer->writer.reader.chunks,
        .records = transfer->writer.reader.records,
        .bytes = transfer->writer.reader.bytes,
        .size = transfer->size,
    };
    struct output output = session->output;

    if (transfer->target.fd == STDOUT_FILENO)
        output.file = session->errors;
    output_backup(&output, &summary);
}

int run_backup(struct session *session, const struct arguments *arguments) {
    struct transfer transfer = {.session = session, .timeout_ms = arguments->timeout_ms};
    const char *path = arguments->positional[0];
    int status, r = target_open(&transfer.target, path);

    if (r < 0)
        return say_local(session, transfer.target.path, r);
    status = receive_all(&transfer);
    progress_line_clear(&session->progress);
    let_go(&transfer);
    if (status == 0) {
        r = target_finish(&transfer.target);
        status = r < 0 ? say_local(session, path, r) : 0;
    }
    if (status == 0)
        show(session, &transfer);
    target_close(&transfer.target);
    backup_header_deinit(&transfer.header);
    backup_writer_deinit(&transfer.writer);
    buffer_deinit(&transfer.buffer);
    return status;
}

/* ---- check ---- */

struct check {
    struct session *session;
    uint64_t size; /* of the file; 0: not known */
};

static void show_read(void *data, uint64_t bytes) {
    const struct check *check = data;

    progress_line_show_bytes(&check->session->progress, "being checked", bytes, check->size);
}

int run_check(struct session *session, const struct arguments *arguments) {
    const char *path = arguments->positional[0];
    bool is_standard = strcmp(path, "-") == 0;
    int fd = is_standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC), r;
    struct backup_summary summary;
    struct check check = {.session = session};
    struct failure failure;
    struct stat found;

    if (fd < 0)
        return say_local(session, path, -errno);
    if (fstat(fd, &found) == 0)
        check.size = (uint64_t)found.st_size;
    r = backup_check(fd, show_read, &check, &summary, &failure);
    progress_line_clear(&session->progress);
    if (!is_standard)
        close(fd);
    if (r < 0)
        return say_local(session, is_standard ? "standard input" : path, r);
    if (r > 0)
        return report_failure(session->errors, &failure);
    output_backup(&session->output, &summary);
    backup_summary_deinit(&summary);
    return 0;
}
