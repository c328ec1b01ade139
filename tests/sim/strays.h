/*
 * strays: messages of Raft that never arrive, arrive twice, or late, behind others that were sent
 * after them. TCP does none of this, but Raft and the streams of states must bear it, and so the
 * guard. (Forwarded requests and farewells rely on what TCP does; README.md.)
 */
#pragma once

#include "machine.h"

enum stray { STRAY_LOST, STRAY_REPEATED, STRAY_LATE };

/* So many of the next messages of a machine go astray in this way, one in two. */
void strays_begin(struct machine *from, enum stray kind, unsigned count);
/* A message is about to be delivered. Whether it does not arrive now. */
bool strays_take(struct machine *from, struct machine *to, uint64_t member_id, const uint8_t *data,
                 size_t size);
void strays_stop(void);
/* How many there were. */
uint64_t strays_count(void);
