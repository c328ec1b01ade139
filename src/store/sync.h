/*
 * sync: how bytes reach the disk. A sync that failed must end the process: the kernel may have
 * dropped the pages, and the next sync would answer 0. The raft log, the state and the small files
 * beside them all sync through here.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Puts the hook behind Berkeley DB's fsync, and xmalloc() in the place of its malloc, once per
 * process; the stores call it before they open an environment. Who replaces the hooks (a simulator)
 * calls it first and sets its own afterwards.
 */
void store_sync_init(void);

/* What this thread does when Berkeley DB pauses between two pages of a checkpoint, and holds
 * nothing that others wait for; NULL: nothing. */
void store_set_pause(void (*work)(void *data), void *data);
/* Does it, without the pause, if it is such a one: Berkeley DB's yield function where time is not
 * real. Returns 0. */
int store_work_in_pause(unsigned long seconds, unsigned long microseconds);

/* Makes the file's content durable. Does not return when the sync fails (store_set_sync_failed). */
void store_sync(int fd);
/* The same without the file's times: what Berkeley DB would call for its own files. */
void store_sync_data(int fd);
/* Has the disk take a part of the file, a little at a time (size 0: all of it at once), and waits
 * for it. It is not durable by that; but the sync that makes it so takes no long time any more, in
 * which other files' syncs would have to wait. */
void store_write_out(int fd, off_t offset, off_t size);
/* Syncs a file by its path. -errno when it can't be opened. */
int store_sync_file(const char *path);
/* The same for the entries of a directory. -errno when it can't be opened. */
int store_sync_directory(const char *path);

/* Reads up to size bytes; less only at the end of the file. Negative errno. */
ssize_t store_read_at(int fd, void *data, size_t size, off_t offset);
/*
 * Reads a file to its end, so that what it holds is in memory. Berkeley DB takes what it can't read
 * for the end of a log, without a word: whoever lets it look for that end does this first. 0, or
 * negative errno.
 */
int store_read_through(const char *path);
/* Writes all of it. Negative errno (-ENOSPC also for a quota); how much was written is unknown
 * then. */
int store_write_at(int fd, const void *data, size_t size, off_t offset);

/*
 * Small text files that are replaced as a whole: lines `key=value`, and a last line with the
 * CRC-32C of those before.
 */
enum { SMALL_FILE_MAX = 4096 };

/* Replaces directory/name durably: write, fsync, rename, fsync of the directory. Negative errno. */
int store_replace_file(const char *directory, const char *name, const char *text);
/*
 * Reads directory/name; *ret_text (to free) is without the last line. -ENOENT when there is none;
 * -EBADMSG when it is not such a file or its checksum is wrong.
 */
int store_read_file(const char *directory, const char *name, char **ret_text);
/* The value of a key, copied; -EBADMSG when it is missing or has more than size - 1 bytes. */
int store_text_get(const char *text, const char *key, char *ret, size_t size);
/* The value of a key as a decimal number. */
int store_text_get_number(const char *text, const char *key, uint64_t *ret);
