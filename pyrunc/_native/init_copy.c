/* tmpcopyup: a new tmpfs begins with what the directory below it holds. From descriptor to descriptor; no link
 * is followed. */
#include "init.h"

enum { COPY_DEPTH = 100, ENTRIES_SIZE = 4096, SEEK_DATA_NUMBER = 3, SEEK_HOLE_NUMBER = 4 };

/* As getdents64(2) gives it. */
struct entry {
  uint64_t inode;
  int64_t offset;
  uint16_t size;
  uint8_t type;
  char name[];
};

struct copy {
  struct init *c;
  const char *path; /* the mount's destination, for errors */
};

static void copy_directory(const struct copy *copy, int from, int to, int depth);

static long good(const struct copy *copy, long result) { return must(copy->c, result, PLAN_AT_COPY, copy->path); }

/* The mode after the owner: a change of owner takes setuid bits away. */
static void copy_metadata(const struct copy *copy, int fd, const struct stat *status) {
  int64_t times[4] = {(int64_t)status->st_mtime, (int64_t)status->st_mtime_nsec, (int64_t)status->st_mtime,
                      (int64_t)status->st_mtime_nsec};
  good(copy, SYS(fchown, fd, status->st_uid, status->st_gid));
  good(copy, SYS(fchmod, fd, status->st_mode & 07777));
  good(copy, SYS(utimensat, fd, 0, times, 0));
}

/* What a file holds, without its holes: they would be memory in the tmpfs, and cost the image nothing. */
static void copy_content(const struct copy *copy, int source, int target, int64_t size) {
  int64_t at = 0;
  while (at < size) {
    long data = SYS(lseek, source, at, SEEK_DATA_NUMBER);
    if (data == -ENXIO)
      break; /* the rest is a hole */
    at = good(copy, data);
    int64_t end = good(copy, SYS(lseek, source, at, SEEK_HOLE_NUMBER));
    good(copy, SYS(lseek, target, at, 0));
    while (at < end && good(copy, SYS(sendfile, target, source, &at, end - at)) > 0)
      continue;
    if (at < end)
      break; /* it has become shorter */
  }
  good(copy, SYS(ftruncate, target, size));
}

/* O_NONBLOCK: it may have become a fifo since it was looked at. */
static void copy_file(const struct copy *copy, int from, int to, const char *name, const struct stat *status) {
  struct stat now;
  int source = (int)good(copy, SYS(openat, from, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC));
  good(copy, SYS(fstat, source, &now));
  if ((now.st_mode & S_IFMT) != S_IFREG)
    good(copy, -EAGAIN);
  int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  int target = (int)good(copy, SYS(openat, to, name, flags, 0600));
  copy_content(copy, source, target, now.st_size);
  copy_metadata(copy, target, status);
  sys_close(source);
  sys_close(target);
}

static void copy_link(const struct copy *copy, int from, int to, const char *name, const struct stat *status) {
  char target[PATH_SIZE];
  long size = good(copy, SYS(readlinkat, from, name, target, sizeof target - 1));
  target[size] = 0;
  good(copy, SYS(symlinkat, target, to, name));
  good(copy, SYS(fchownat, to, name, status->st_uid, status->st_gid, AT_SYMLINK_NOFOLLOW));
}

static void copy_below(const struct copy *copy, int from, int to, const char *name, const struct stat *status,
                       int depth) {
  int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  if (depth == COPY_DEPTH)
    fail(copy->c, PLAN_AT_COPY, ELOOP, 0, copy->path);
  good(copy, SYS(mkdirat, to, name, 0700));
  int source = (int)good(copy, SYS(openat, from, name, flags));
  int target = (int)good(copy, SYS(openat, to, name, flags));
  copy_directory(copy, source, target, depth + 1);
  copy_metadata(copy, target, status);
  sys_close(source);
  sys_close(target);
}

static void copy_entry(const struct copy *copy, int from, int to, const char *name, int depth) {
  struct stat status;
  good(copy, SYS(newfstatat, from, name, &status, AT_SYMLINK_NOFOLLOW));
  switch (status.st_mode & S_IFMT) {
  case S_IFDIR:
    copy_below(copy, from, to, name, &status, depth);
    return;
  case S_IFREG:
    copy_file(copy, from, to, name, &status);
    return;
  case S_IFLNK:
    copy_link(copy, from, to, name, &status);
    return;
  default:
    good(copy, SYS(mknodat, to, name, status.st_mode, status.st_rdev));
    good(copy, SYS(fchownat, to, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW));
  }
}

static void copy_directory(const struct copy *copy, int from, int to, int depth) {
  _Alignas(struct entry) char entries[ENTRIES_SIZE];
  long size;
  while ((size = good(copy, SYS(getdents64, from, entries, sizeof entries))) > 0) {
    for (long at = 0; at < size;) {
      const struct entry *entry = (const struct entry *)(const void *)(entries + at);
      if (!is_dots(entry->name))
        copy_entry(copy, from, to, entry->name, depth);
      at += entry->size;
    }
  }
}

void copy_up(struct init *c, int from, int tree, bool own, const char *path) {
  struct copy copy = {c, path};
  struct stat status;
  int source = (int)good(&copy, SYS(openat, from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  int target = (int)good(&copy, SYS(openat, tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  good(&copy, SYS(fstat, source, &status));
  copy_directory(&copy, source, target, 0);
  if (own)
    copy_metadata(&copy, target, &status);
  sys_close(source);
  sys_close(target);
}
