/* HOME of the user where the environment has none: from the container's own passwd(5). */
#include "init.h"

#define HOME_PREFIX "HOME="
#define READS_MAX 1024 /* of a page each: nobody's list of users is longer */

/* What is read of one line. */
struct entry {
  unsigned field; /* 0 name, 1 password, 2 uid, 3 gid, 4 comment, 5 home, 6 shell */
  bool broken;
  uint64_t uid;
  size_t digits;
  size_t size; /* of the home */
};

/* The home is collected behind the prefix. Returns true when the line that ends here is the user's. */
static bool take(struct init *c, struct entry *entry, char byte) {
  char *home = c->home + sizeof HOME_PREFIX - 1;
  if (byte == '\n') {
    bool found = !entry->broken && entry->digits && entry->field >= 5 && entry->uid == number(c, 0) && entry->size;
    home[entry->size] = 0;
    *entry = (struct entry){0};
    return found;
  }
  if (byte == ':') {
    entry->field++;
  } else if (entry->field == 2) {
    entry->uid = entry->uid * 10 + (uint64_t)(byte - '0');
    if (byte < '0' || byte > '9' || ++entry->digits > 10)
      entry->broken = true;
  } else if (entry->field == 5) {
    if (byte == 0 || entry->size == PATH_SIZE - sizeof HOME_PREFIX - 1)
      entry->broken = true;
    else
      home[entry->size++] = byte;
  }
  return false;
}

static bool find(struct init *c, int fd) {
  struct entry entry = {0};
  char page[4096];
  for (int reads = 0; reads < READS_MAX; reads++) {
    long size = SYS(read, fd, page, sizeof page);
    if (size <= 0)
      return take(c, &entry, '\n');
    for (long at = 0; at < size; at++)
      if (take(c, &entry, page[at]))
        return true;
  }
  return false;
}

/* The list of users to read, or a negative number. To open a device or a fifo may be to do something: what the
 * file is, is known before that. The procfs leads to the very file that was looked at. */
static int open_users(struct init *c) {
  char path[48];
  struct stat status;
  struct open_how how = {.flags = O_RDONLY | O_CLOEXEC}; /* the magic link is what leads there */
  int file = open_in_root(c, "/etc/passwd", O_PATH);
  int opened = -ENOENT;
  if (file >= 0 && SYS(fstat, file, &status) == 0 && (status.st_mode & S_IFMT) == S_IFREG && find_procfs(c) >= 0) {
    unsigned size = decimal(path, (uint64_t)SYS(getpid, 0));
    memcpy(path + size, "/fd/", 4);
    decimal(path + size + 4, (uint64_t)file);
    opened = (int)SYS(openat2, c->proc, path, &how, sizeof how);
  }
  retire(c, file);
  return opened;
}

/* A user that is not listed has "/". The file is the container's: it may be anything, and must not stop us. */
void step_home(struct init *c) {
  memcpy(c->home, HOME_PREFIX, sizeof HOME_PREFIX);
  int fd = open_users(c);
  if (fd < 0 || !find(c, fd))
    memcpy(c->home, HOME_PREFIX "/", sizeof HOME_PREFIX "/");
  sys_close(fd);
}
