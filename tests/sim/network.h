/*
 * network: links between the machines as src/rpc/links.c keeps them: one connection for each
 * direction, begun with a hello; two streams in it, each in order, of frames as src/rpc/frame.c
 * writes and checks them. A connection that breaks takes with it what is under way. A blocked
 * direction delays what is sent, as TCP's repetition does, until the connection breaks.
 */
#pragma once

#include "machine.h"

struct network_options {
    uint64_t delay_low, delay_high; /* microseconds, one way */
    uint64_t break_one_in;          /* messages; 0: never by itself */
};
extern struct network_options network_options;

void network_attach(struct host *host);
/* The machine has died: its connections end. */
void network_drop(struct machine *machine);
/* The machine's node is closed: the other side of every connection learns of it sooner or later,
 * and what waits for answers hears that there is none. */
void network_fail_askings(struct machine *machine);

bool network_blocked(unsigned from, unsigned to);
void network_block(unsigned from, unsigned to, bool blocked);
void network_heal(void);
/* Breaks all connections between two machines. */
void network_break(unsigned a, unsigned b);
struct network_figures {
    uint64_t messages, damaged, announcements;
};
const struct network_figures *network_figures(void);
