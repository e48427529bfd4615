/* Paths of the rootfs: each is resolved once, below the rootfs' root, without magic links. */
#include "init.h"

#define LINKS_MAX 40

/* Without a ROOTFS step (exec): what is / now. */
int open_root(struct init *c) {
  if (c->root < 0) {
    c->root = (int)must(c, SYS(openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC), PLAN_AT_OPEN, "/");
  }
  return c->root;
}

/* A descriptor or -errno. EAGAIN: something was renamed meanwhile, and `..` could not be trusted. */
int open_in_root(struct init *c, const char *path, uint64_t flags) {
  struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  int root = open_root(c);
  long fd;
  int tries = 128;
  do {
    fd = SYS(openat2, root, *path ? path : ".", &how, sizeof how);
  } while (fd == -EINTR || (fd == -EAGAIN && --tries > 0));
  return (int)fd;
}

/* One more component: a directory, or an empty file. Returns a descriptor of it or -errno. */
static int make_component(int parent, const char *name, bool file) {
  long error = file ? SYS(mknodat, parent, name, S_IFREG | 0644, 0) : SYS(mkdirat, parent, name, 0755);
  if (error < 0 && error != -EEXIST)
    return (int)error;
  return (int)SYS(openat, parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

/* path[start..end) is a link that leads nowhere: put its target in its place. path: PATH_SIZE bytes. */
static int splice_link(char *path, size_t start, size_t end, int parent, const char *name) {
  char joined[PATH_SIZE];
  char target[PATH_SIZE];
  long size = SYS(readlinkat, parent, name, target, sizeof target);
  if (size < 0)
    return (int)size;
  size_t kept = target[0] == '/' ? 0 : start;
  size_t rest = strlen(path + end) + 1;
  if (kept + (size_t)size + rest > PATH_SIZE)
    return -ENAMETOOLONG;
  memcpy(joined, path, kept);
  memcpy(joined + kept, target, (size_t)size);
  memcpy(joined + kept + (size_t)size, path + end, rest);
  memcpy(path, joined, kept + (size_t)size + rest);
  return 0;
}

/* Where a walk stands. Everything before `end` is there, and `parent` is the directory before it. */
struct walk {
  char *path;
  size_t end;
  int parent; /* -1: the root */
};

static void enter(struct walk *walk, int fd) {
  sys_close(walk->parent);
  walk->parent = fd;
}

/* The next component of the walk. 1: the path was rewritten, begin again. 0: done. Else -errno. */
static int walk_component(struct init *c, struct walk *walk, size_t start, bool file) {
  char name[256];
  char *path = walk->path;
  char saved = path[walk->end];
  path[walk->end] = 0;
  int fd = open_in_root(c, path, O_PATH);
  if (fd == -ENOENT) {
    size_t size = walk->end - start;
    int parent = walk->parent < 0 ? c->root : walk->parent;
    if (size >= sizeof name)
      return -ENAMETOOLONG;
    memcpy(name, path + start, size + 1);
    path[walk->end] = saved;
    if (is_dots(name))
      return 1; /* gone beneath us; only the kernel takes `..`, which it keeps below the root */
    if (splice_link(path, start, walk->end, parent, name) == 0)
      return 1;
    fd = make_component(parent, name, file);
  }
  path[walk->end] = saved;
  if (fd < 0)
    return fd;
  enter(walk, fd);
  return 0;
}

/* All components from the root on. Returns 1 when a link made it begin again. */
static int walk_once(struct init *c, struct walk *walk, bool file) {
  size_t at = 0;
  enter(walk, -1);
  for (;;) {
    while (walk->path[at] == '/')
      at++;
    if (!walk->path[at])
      return 0;
    size_t start = at;
    while (walk->path[at] && walk->path[at] != '/')
      at++;
    size_t next = at;
    while (walk->path[next] == '/')
      next++;
    walk->end = at;
    int result = walk_component(c, walk, start, file && !walk->path[next]);
    if (result != 0)
      return result;
  }
}

static size_t directory_size(const char *path) {
  size_t cut = 0;
  for (size_t i = 0; path[i]; i++) {
    if (path[i] == '/')
      cut = i + 1;
  }
  return cut;
}

/* The directory of the step before, if it is this one's too: devices, links and mounts come in rows below one
 * directory. Nothing can have been mounted on it in between. */
static int same_parent(const struct init *c, const char *path, size_t cut) {
  bool same = c->parent >= 0 && c->parent_step + 1 >= c->step && cut == c->parent_size &&
              memcmp(path, c->parent_path, cut) == 0;
  return same ? c->parent : -1;
}

static int remember_parent(struct init *c, const char *path, size_t cut, int fd) {
  if (fd != c->parent)
    retire(c, c->parent);
  c->parent = fd;
  c->parent_path = path;
  c->parent_size = cut;
  c->parent_step = c->step;
  return fd;
}

/* The usual case of a missing path: all but its last component is there, and that is no dangling link.
 * Returns a descriptor, or -ENOENT when it is another case. */
static int make_last(struct init *c, const char *path, bool file) {
  char directory[PATH_SIZE];
  size_t cut = directory_size(path);
  const char *leaf = path + cut;
  if (cut == 0 || !*leaf || is_dots(leaf))
    return -ENOENT;
  int parent = same_parent(c, path, cut);
  if (parent < 0) {
    memcpy(directory, path, cut);
    directory[cut] = 0;
    parent = open_in_root(c, directory, O_PATH | O_DIRECTORY);
  }
  if (parent < 0)
    return -ENOENT;
  remember_parent(c, path, cut, parent);
  long made = file ? SYS(mknodat, parent, leaf, S_IFREG | 0644, 0) : SYS(mkdirat, parent, leaf, 0755);
  return made < 0 ? -ENOENT : (int)SYS(openat, parent, leaf, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

/* Open a path; what is missing of it is made: directories, and at the end a file if `file`.
 * Returns a descriptor (O_PATH) or -errno. */
int open_or_make(struct init *c, const char *path, uint64_t flags, bool file) {
  char copy[PATH_SIZE];
  int fd = open_in_root(c, path, flags);
  if (fd != -ENOENT)
    return fd;
  size_t size = strlen(path);
  if (size >= sizeof copy)
    return -ENAMETOOLONG;
  memcpy(copy, path, size + 1);
  fd = make_last(c, path, file);
  if (fd != -ENOENT)
    return fd;
  struct walk walk = {copy, 0, -1};
  int result = 1;
  for (int links = 0; result == 1 && links <= LINKS_MAX; links++)
    result = walk_once(c, &walk, file);
  if (result == 0)
    return walk.parent;
  retire(c, walk.parent);
  return result == 1 ? -ELOOP : result;
}

int destination(struct init *c, const char *path, bool file) {
  return (int)must(c, open_or_make(c, path, O_PATH, file), PLAN_AT_OPEN, path);
}

/* The directory of a path (made when missing), and the last component in `leaf`. */
int open_parent(struct init *c, const char *path, const char **leaf) {
  char directory[PATH_SIZE];
  size_t cut = directory_size(path);
  *leaf = path + cut;
  if (!**leaf || is_dots(*leaf))
    fail(c, PLAN_AT_OPEN, EINVAL, 0, path);
  if (cut >= sizeof directory)
    fail(c, PLAN_AT_OPEN, ENAMETOOLONG, 0, path);
  int fd = same_parent(c, path, cut);
  if (fd < 0) {
    memcpy(directory, path, cut);
    directory[cut] = 0;
    fd = (int)must(c, open_or_make(c, directory, O_PATH | O_DIRECTORY, false), PLAN_AT_OPEN, path);
  }
  return remember_parent(c, path, cut, fd);
}

/* A descriptor, or -1 when there is nothing at this path. */
int open_existing(struct init *c, const char *path) {
  int fd = open_in_root(c, path, O_PATH);
  if (fd == -ENOENT || fd == -ENOTDIR)
    return -1;
  return (int)must(c, fd, PLAN_AT_OPEN, path);
}
