/*
 * version: of the programs that this is part of. Only version.c is compiled for it, so the programs
 * of another version come from the same objects (scripts/package --newer).
 */
#pragma once

extern const char raftkv_version[];
