/* The same file, with the deliberate defects of base/defect.h. */
#include "../../../src/raft/entries.c"
