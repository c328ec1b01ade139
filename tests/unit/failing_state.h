/* What the tests share in which calls fail below a state. */
#pragma once

#include "failing_calls.h"
#include "test_state_fixture.h"

enum { FAILING_VALUE_SIZE = 1800 /* all fifty of them are more than a small cache holds */ };

/* Does it again when there was no space, and now is. */
#define FAILING_WITH_SPACE(expression) \
    ({                                 \
        int _r = (expression);         \
                                       \
        if (_r == -ENOSPC) {           \
            failing_end();             \
            _r = (expression);         \
        }                              \
        _r;                            \
    })

/* A state after that many batches, in a new directory. */
char *failing_make_state(size_t batches);
int failing_open(struct state **ret, const char *directory, struct failure *failure);
/* Opens, and fails the test when that fails. */
struct state *failing_open_again(const char *directory);
/* model_apply(), a batch at a time; and state_checkpoint(), both as a node does it. */
int failing_apply(struct state *state, size_t count);
int failing_checkpoint(struct state *state, uint64_t *ret_durable);
/* Closes the state when r is 0. Otherwise the node ends without closing, and the failure says why.
 * Returns r. */
int failing_close(struct state *state, int r, struct failure *failure);

/* Applies more to the state, closes it, opens it again and checks that all is there. */
void failing_go_on(struct state *state, const char *directory);
