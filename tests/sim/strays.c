#include "strays.h"

#include "base/memory.h"
#include "network.h"
#include "node/node.h"
#include "oracle.h"

enum { KINDS = STRAY_LATE + 1, LATE_MIN = 1 * MS, LATE_MAX = 10 * SECOND };

/* A copy on its way. */
struct copy {
    struct happening happening;
    struct machine *from, *to;
    uint64_t to_life, member_id;
    uint8_t *data;
    size_t size;
};

static unsigned left[MACHINES_MAX + 1][KINDS]; /* by the sender's number */
static uint64_t count;

void strays_begin(struct machine *from, enum stray kind, unsigned messages) {
    left[from->number][kind] = messages;
}

/* The bodies that a PeerMessage, which begins with the tag of the one it has, may go astray with:
 * those from AppendEntries to SnapshotAck (proto/peer.proto). */
static bool may_go_astray(const uint8_t *data, size_t size) {
    enum { LENGTH_DELIMITED = 2, FIRST = 1, LAST = 8 };

    return size > 0 && (data[0] & 7) == LENGTH_DELIMITED && data[0] >> 3 >= FIRST &&
           data[0] >> 3 <= LAST;
}

static void arrive(struct happening *happening) {
    struct copy *copy = container_of(happening, struct copy, happening);
    struct machine *from = copy->from, *to = copy->to;
    const char *reason = "";

    if (to->life == copy->to_life && machine_up(to)) {
        record("%s > %s: %zu bytes, astray", from->name, to->name, copy->size);
        if (node_receive(to->node, copy->member_id, copy->data, copy->size, &reason) != 0) {
            oracle_refused(from, to, reason);
            network_break(from->number, to->number);
        }
        machine_turn(to);
    }
    free(copy->data);
    free(copy);
}

static void send_copy(struct machine *from, struct machine *to, uint64_t member_id,
                      const uint8_t *data, size_t size) {
    struct copy *copy = xcalloc(1, sizeof *copy);

    *copy = (struct copy){
        .from = from,
        .to = to,
        .to_life = to->life,
        .member_id = member_id,
        .data = xmemdup(data, size),
        .size = size,
    };
    world_after(chance_latency(LATE_MIN, LATE_MAX), &copy->happening, arrive);
}

bool strays_take(struct machine *from, struct machine *to, uint64_t member_id, const uint8_t *data,
                 size_t size) {
    for (int kind = 0; kind < KINDS; kind++) {
        unsigned *messages = &left[from->number][kind];

        if (*messages == 0 || !may_go_astray(data, size) || chance_one_in(2))
            continue;
        (*messages)--;
        count++;
        if (kind == STRAY_LOST)
            record("it is lost");
        else
            send_copy(from, to, member_id, data, size);
        return kind != STRAY_REPEATED;
    }
    return false;
}

void strays_stop(void) {
    for (unsigned i = 0; i <= MACHINES_MAX; i++)
        for (int kind = 0; kind < KINDS; kind++)
            left[i][kind] = 0;
}

uint64_t strays_count(void) {
    return count;
}
