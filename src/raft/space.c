/*
 * space: the room on the members' disks, as each says it with every answer to the leader. A leader
 * refuses what makes the state grow while a majority could not take it, so that what is left serves
 * for deletions, barriers and changes of the members; and one whose own disk is full hands its
 * office over. (libraft's own threshold would refuse everything.)
 */
#include "raft/member_internal.h"

bool space_is_there(const struct member *member, uint64_t id) {
    if (id == member->id)
        return member->capacity > 0;
    for (size_t i = 0; i < member->sender_count; i++)
        if (member->senders[i].id == id)
            return membership_is_live(member, id) && member->senders[i].capacity > 0;
    return false;
}

/* What this leader can tell of the voters' disks. */
struct tally {
    size_t voters;
    size_t live; /* without itself */
    size_t full; /* that answer */
    size_t roomy;
};

/* A voter that does not answer can't take a write, whatever room it has; unless the leader is so
 * new that it can't have heard from everybody. */
static struct tally count_voters(const struct member *member) {
    bool new = member_now(member) - member->office_since < 2 * member->election_timeout;
    struct tally tally = {0};

    for (size_t i = 0; i < member->committed.count; i++) {
        const struct server *server = &member->committed.servers[i];
        bool live = membership_is_live(member, server->id);

        if (server->role != MEMBER_VOTER)
            continue;
        tally.voters++;
        tally.live += live && server->id != member->id;
        if (space_is_there(member, server->id) || (new && !live))
            tally.roomy++;
        else
            tally.full += live;
    }
    return tally;
}

static size_t majority(const struct tally *tally) {
    return tally->voters / 2 + 1;
}

/* ---- what grows ---- */

static void judge_growth(struct member *member, const struct tally *tally) {
    bool refused = tally->full > 0 && tally->roomy < majority(tally);

    struct journal_event event =
        JOURNAL_EVENT(refused ? MESSAGE_WRITES_REFUSED : MESSAGE_WRITES_ACCEPTED);

    if (refused == member->growth_refused)
        return;
    member->growth_refused = refused;
    member_event(&event, member, NULL);
    if (refused)
        journal_with(
            LOG_ERR, event.fields,
            "Writes that need space are refused: of %zu voters %zu have room on their disks.",
            tally->voters, tally->roomy);
    else
        journal_with(LOG_NOTICE, event.fields,
                     "A majority of the voters has room on its disks; writes go on.");
}

/* ---- stepping aside ---- */

static void aside_done(struct change *change, const struct failure *failure, uint64_t index,
                       const char *leader) {
    struct member *member = container_of(change, struct member, aside);

    (void)index;
    member_say_handed_over(member, failure ? LOG_WARNING : LOG_NOTICE, leader, failure);
    member->aside_at = member_now(member) + 10 * member->election_timeout;
}

/*
 * The successor has to win its election without this voter, which may not be able to write its vote
 * down: so the others have to be a majority.
 */
static void step_aside(struct member *member, const struct tally *tally) {
    struct journal_event event = JOURNAL_EVENT(MESSAGE_LEADER_STEPS_ASIDE);
    const struct server *successor;
    uint64_t target;

    if (member->capacity > 0 || member->change || member_now(member) < member->aside_at ||
        tally->live < majority(tally))
        return;
    target = membership_successor(member);
    if (!space_is_there(member, target) || !membership_is_near(member, target))
        return;
    successor = configuration_find(&member->committed, target);
    member->aside = (struct change){
        .kind = CHANGE_TRANSFER,
        .deadline = member_now(member) + 10 * member->election_timeout,
        .done = aside_done,
    };
    if (!membership_hand_over(member, &member->aside, target))
        return;
    member_event(&event, member, successor->name);
    journal_with(LOG_WARNING, event.fields,
                 "There is no room on the disk; %s has some and is asked to lead.",
                 successor->name);
}

/* ---- both ---- */

void space_advance(struct member *member) {
    struct tally tally;

    if (member->failed || member->stepping)
        return;
    if (!member_is_leader(member)) {
        member->growth_refused = false;
        return;
    }
    tally = count_voters(member);
    judge_growth(member, &tally);
    step_aside(member, &tally);
}

void member_set_capacity(struct member *member, uint16_t capacity) {
    member->capacity = capacity;
    space_advance(member);
}
