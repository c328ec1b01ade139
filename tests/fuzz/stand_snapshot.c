/* The stand's part of what src/node does with states: staging one, installing it, and cutting the
 * log. As there, each takes its time, and only what staging.c lets through is staged. */
#include <inttypes.h>

#include "stand.h"

static void move_mark(struct member_mark *to, struct member_mark *from) {
    member_mark_deinit(to);
    *to = *from;
    *from = (struct member_mark){0};
}

/* ---- staging ---- */

void stand_stage(uint64_t from, const struct member_mark *mark) {
    struct member_view view;

    member_get_view(stand.member, &view);
    if (view.leader != from || stand.installing || mark->index <= view.applied_index ||
        mark->term == 0 || mark->term > view.term || mark->configuration_index == 0 ||
        mark->configuration_index > mark->index || mark->index + 64 > STAND_LOG_MAX)
        return;
    fuzz_trace("a state at %" PRIu64 "^%" PRIu64 " is staged", mark->index, mark->term);
    member_mark_deinit(&stand.staged);
    stand.staged = member_mark_copy(mark);
    member_staged(stand.member, &stand.staged);
}

void stand_unstage(void) {
    if (stand.staged.index == 0 || stand.installing)
        return;
    fuzz_trace("what is staged goes");
    member_mark_deinit(&stand.staged);
    member_staged(stand.member, NULL);
}

/* ---- installing ---- */

void stand_begin_install(const struct member_mark *mark) {
    check(!stand.installing && stand.staged.index > 0 && !stand.applying);
    check(mark->index == stand.staged.index && mark->term == stand.staged.term &&
          mark->configuration_index == stand.staged.configuration_index);
    check(mark->index > stand.applied);
    fuzz_trace("installing begins%s", stand.writing ? ", behind a write" : "");
    stand.installing = true;
    stand.write_before_install = stand.writing;
}

static void install_on_disk(void) {
    stand_cut_off(stand.first);
    move_mark(&stand.mark, &stand.staged);
    stand.first = stand.mark.index + 1;
    stand.last = stand.applied = stand.mark.index;
    stand.configuration_index = stand.mark.configuration_index;
    stand.installing = false;
}

void stand_finish_install(void) {
    if (!stand.installing)
        return;
    /* They follow each other on the lane of the log. */
    if (stand.write_before_install)
        stand_finish_write();
    for (size_t i = 0; i < STAND_LOADS_MAX; i++)
        stand_finish_load(i, false);
    fuzz_trace("installing ends");
    install_on_disk();
    member_installed(stand.member);
}

/* ---- cutting the log ---- */

static bool mark_the_log(void) {
    struct member_mark *mark = &stand.compacting;

    if (stand.installing || mark->index <= stand.mark.index) {
        member_mark_deinit(mark);
        return false;
    }
    check(mark->index <= stand.applied && mark->configuration_index <= mark->index);
    member_mark_deinit(&stand.mark);
    stand.mark = member_mark_copy(mark);
    return true;
}

void stand_compact(uint64_t trailing, uint64_t still_wanted, bool whole) {
    uint64_t keep_from;

    if (stand.compacting.index == 0) {
        if (!member_mark_applied(stand.member, &stand.compacting))
            check(stand.compacting.index == 0);
        return;
    }
    if (!mark_the_log())
        return;
    keep_from = member_compacted(stand.member, &stand.mark, trailing, UINT64_MAX, still_wanted);
    member_mark_deinit(&stand.compacting);
    fuzz_trace("the log is marked at %" PRIu64 ", to be kept from %" PRIu64, stand.mark.index,
               keep_from);
    if (keep_from == 0)
        return;
    check(keep_from >= stand.first && keep_from <= stand.mark.index + 1);
    check(keep_from <= still_wanted || keep_from == stand.first);
    if (!whole)
        keep_from = stand.first + (keep_from - stand.first) / 2; /* whole files go */
    stand_cut_beginning(keep_from);
    member_log_cut(stand.member, stand.first);
}

/* ---- the process ends ---- */

void stand_forget_snapshots(bool installed) {
    if (stand.installing && installed)
        install_on_disk();
    stand.installing = stand.write_before_install = false;
    member_mark_deinit(&stand.staged);
    member_mark_deinit(&stand.compacting);
}
