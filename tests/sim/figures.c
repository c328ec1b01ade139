#include "figures.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#include "base/check.h"

static const char *const names[FIGURE_COUNT] = {
    [FIGURE_SECONDS] = "virtual seconds",
    [FIGURE_EVENTS] = "events",
    [FIGURE_MESSAGES] = "messages",
    [FIGURE_ENTRIES] = "entries",
    [FIGURE_ACKNOWLEDGED] = "acknowledged writes",
    [FIGURE_REFUSED] = "refused",
    [FIGURE_UNKNOWN] = "unknown",
    [FIGURE_READS] = "reads",
    [FIGURE_CRASHES] = "crashes",
    [FIGURE_PARTITIONS] = "partitions",
    [FIGURE_PAUSES] = "pauses",
    [FIGURE_CLOCKS] = "clocks set wrong",
    [FIGURE_DAMAGED] = "damaged messages",
    [FIGURE_STRAYS] = "lost, repeated and late messages",
    [FIGURE_FULL] = "full disks",
    [FIGURE_SHORT_WRITES] = "short writes",
    [FIGURE_FAILED] = "failed writes and syncs",
    [FIGURE_CHANGES] = "changes of members",
    [FIGURE_ANNOUNCEMENTS] = "announcements",
    [FIGURE_ACCEPTED] = "accepted nodes",
    [FIGURE_WIPES] = "wiped disks",
    [FIGURE_MOVES] = "moves to other addresses",
    [FIGURE_STOPS] = "stops in order",
    [FIGURE_CUTS] = "cuts of logs",
    [FIGURE_INSTALLS] = "installed states",
    [FIGURE_CHECKPOINTS] = "checkpoints",
};

struct figures *figures_share(void) {
    struct figures *sum =
        mmap(NULL, sizeof *sum, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    check(sum != MAP_FAILED);
    return sum;
}

void figures_add(struct figures *sum, const struct figures *more) {
    for (int i = 0; i < FIGURE_COUNT; i++)
        __atomic_fetch_add(&sum->count[i], more->count[i], __ATOMIC_RELAXED);
}

void figures_print(const struct figures *figures) {
    for (int i = 0; i < FIGURE_COUNT; i++)
        printf("%s%" PRIu64 " %s", i > 0 ? ", " : "", figures->count[i], names[i]);
}
