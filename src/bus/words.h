/* The words for roles and states on the bus. */
#pragma once

#include "proto/unpack.h"

const char *role_word(Raftkv__V1__Role role);
const char *state_word(Raftkv__V1__State state);
