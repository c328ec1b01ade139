/*
 * Deliberate defects: the simulator has to find each of them (tests/sim/README.md). They exist in
 * one program of the tests only; everywhere else DEFECT() is the constant false.
 */
#pragma once

#include <stdbool.h>

enum defect {
    NO_DEFECT,
    DEFECT_ACKNOWLEDGE_BEFORE_FLUSH,
    DEFECT_VOTE_NOT_SYNCED,
    DEFECT_STALE_READ,
    DEFECT_APPLY_ABOVE_DURABLE,
    DEFECT_SKIP_BARRIER,
    DEFECT_CHANGE_IN_THE_MIDDLE,
    DEFECT_WIPED_UNDER_OLD_ID,
    DEFECT_LOST_TRUNCATE,
    DEFECT_TORN_TAIL_ACCEPTED,
    DEFECT_REMOVED_COUNTS,
    DEFECT_WRITE_SENT_TWICE,
    DEFECT_LOST_SECOND_CHANGE,
    DEFECT_REPLACED_MEMBER_LOCKED_OUT,
    DEFECT_SWITCH_NOT_ATOMIC,
    DEFECT_NOTHING_KEPT_ASIDE,
    DEFECT_CUT_BEFORE_FLUSH,
    DEFECT_LOG_NOT_RESET,
    DEFECT_CUT_UNDER_STREAM,
    DEFECT_DAMAGE_ACCEPTED,
    DEFECT_PAGES_BEFORE_JOURNAL,
    DEFECT_FAREWELL_TO_ALL,
    DEFECT_CACHE_WITHOUT_LIMIT,
    DEFECT_WINDOW_WITHOUT_LIMIT,
    DEFECT_COUNT
};

#ifdef RAFTKV_DEFECTS
extern enum defect defect_chosen;
#define DEFECT(name) (defect_chosen == DEFECT_##name)
#else
#define DEFECT(name) false
#endif
