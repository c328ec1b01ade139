/* raftkv's own protocol, for the engine. */
#pragma once

#include "bench/engine.h"

extern const struct protocol raftkv_protocol;
