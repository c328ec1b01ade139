/*
 * The small files of a data directory: identity, current, floor.
 *
 * Input: 1 byte (which file; with the highest bit set the content is given its checksum first), the
 * content.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "store/directory.h"
#include "store/log_files.h"
#include "store/state_internal.h"
#include "store/sync.h"

enum { NEW_MEMBER = 99 };

/* Who refuses has to say why. */
static void check_refusal(int r, const struct failure *failure) {
    check(r > 0 && r == (int)failure->code && failure->message[0]);
}

static void take_identity(const char *where) {
    struct directory opened;
    struct failure failure;
    uint64_t incarnation;
    int r;

    for (size_t i = 0; i < 2; i++) {
        _cleanup_free_ char *path = xasprintf("%s/%s", where, i ? "log" : "state");

        check(mkdir(path, 0700) == 0);
    }
    r = directory_open(&opened, where, "node", NEW_MEMBER, &failure);
    if (r != 0) {
        check_refusal(r, &failure);
        return;
    }
    check(!opened.fresh && opened.member_id != 0 && opened.incarnation > 1);
    check(strcmp(opened.name, "node") == 0);
    incarnation = opened.incarnation;
    directory_deinit(&opened);
    r = directory_open(&opened, where, "node", NEW_MEMBER, &failure);
    check(r == 0 || incarnation == UINT64_MAX);
    if (r == 0)
        directory_deinit(&opened);
}

static void take_current(const char *where) {
    char *name, *again;
    struct failure failure;
    int r = state_read_current(where, &name, &failure);

    if (r != 0) {
        check_refusal(r, &failure);
        return;
    }
    /* It is the name of a directory here, and of nothing elsewhere. */
    check(strncmp(name, "state-", 6) == 0 && !strchr(name, '/'));
    check(state_write_current(where, name) == 0);
    check(state_read_current(where, &again, &failure) == 0 && strcmp(name, again) == 0);
    free(name);
    free(again);
}

static void take_floor(const char *where) {
    struct log_floor floor, again;
    int r = log_floor_read(where, &floor);

    if (r < 0) {
        check(r == -EBADMSG);
        return;
    }
    check(log_floor_write(where, &floor) == 0);
    check(log_floor_read(where, &again) == 0);
    check(floor.member_id == again.member_id && floor.first == again.first &&
          floor.file == again.file && floor.sequence == again.sequence);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct {
        const char *name;
        void (*take)(const char *where);
    } files[] = {{"identity", take_identity}, {"current", take_current}, {"floor", take_floor}};
    struct input input = {data, size};
    uint8_t first = take_byte(&input);
    size_t which = (first & 0x7f) % 3;
    const char *where = fuzz_directory();

    if (first & 0x80) {
        _cleanup_free_ char *text = take_text(&input, input.size);

        check(store_replace_file(where, files[which].name, text) == 0);
    } else {
        fuzz_write_file(where, files[which].name, input.data, input.size);
    }
    files[which].take(where);
    return 0;
}
