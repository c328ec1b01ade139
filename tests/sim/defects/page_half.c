/* The same file, with the deliberate defects of base/defect.h. */
#include "../../../src/store/page_half.c"
