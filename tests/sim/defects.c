#include "defects.h"

#include <stdio.h>
#include <string.h>

#include "base/defect.h"

#ifdef RAFTKV_DEFECTS
enum defect defect_chosen;

static const char *const defect_names[DEFECT_COUNT] = {
    [DEFECT_ACKNOWLEDGE_BEFORE_FLUSH] = "acknowledge-before-flush",
    [DEFECT_VOTE_NOT_SYNCED] = "vote-not-synced",
    [DEFECT_STALE_READ] = "stale-read",
    [DEFECT_APPLY_ABOVE_DURABLE] = "apply-above-durable",
    [DEFECT_SKIP_BARRIER] = "skip-barrier",
    [DEFECT_CHANGE_IN_THE_MIDDLE] = "change-in-the-middle",
    [DEFECT_WIPED_UNDER_OLD_ID] = "wiped-under-old-id",
    [DEFECT_LOST_TRUNCATE] = "lost-truncate",
    [DEFECT_TORN_TAIL_ACCEPTED] = "torn-tail-accepted",
    [DEFECT_REMOVED_COUNTS] = "removed-counts",
    [DEFECT_WRITE_SENT_TWICE] = "write-sent-twice",
    [DEFECT_LOST_SECOND_CHANGE] = "lost-second-change",
    [DEFECT_REPLACED_MEMBER_LOCKED_OUT] = "replaced-member-locked-out",
    [DEFECT_SWITCH_NOT_ATOMIC] = "switch-not-atomic",
    [DEFECT_NOTHING_KEPT_ASIDE] = "nothing-kept-aside",
    [DEFECT_CUT_BEFORE_FLUSH] = "cut-before-flush",
    [DEFECT_LOG_NOT_RESET] = "log-not-reset",
    [DEFECT_CUT_UNDER_STREAM] = "cut-under-stream",
    [DEFECT_DAMAGE_ACCEPTED] = "damage-accepted",
    [DEFECT_PAGES_BEFORE_JOURNAL] = "pages-before-journal",
    [DEFECT_FAREWELL_TO_ALL] = "farewell-to-all",
    [DEFECT_CACHE_WITHOUT_LIMIT] = "cache-without-limit",
    [DEFECT_WINDOW_WITHOUT_LIMIT] = "window-without-limit",
};

bool defects_choose(const char *name) {
    for (int i = NO_DEFECT + 1; i < DEFECT_COUNT; i++)
        if (strcmp(defect_names[i], name) == 0) {
            defect_chosen = (enum defect)i;
            return true;
        }
    for (int i = NO_DEFECT + 1; i < DEFECT_COUNT; i++)
        fprintf(stderr, "%s\n", defect_names[i]);
    return false;
}
#else
bool defects_choose(const char *name) {
    fprintf(stderr, "The defect %s is not built in; raftkv-sim-defects has it.\n", name);
    return false;
}
#endif
