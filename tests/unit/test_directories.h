/* Directories of tests. Those in memory, where that can be had, are for tests that would only wait
 * for the disk. */
#pragma once

/* A new directory under $TMPDIR or /tmp; the same in memory. */
char *make_directory(void);
char *make_directory_in_memory(void);
/* Removes a directory with all that is in it, if it is there. */
void remove_tree(const char *directory);
/* Removes one that is there, and frees its path. */
void remove_directory(char *directory);
/* Copies a directory of files and directories; the copy may exist. */
void copy_directory(const char *from, const char *to);
