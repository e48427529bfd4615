/* Steps that build the container's file system. A mount goes from an fd to an fd; a path of the rootfs is
 * resolved once, below the rootfs' root, without magic links. */
#include "init.h"

#define MOUNT_FD_FLAGS (MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
#define ATIME_BITS 0x70u /* MOUNT_ATTR__ATIME: set or cleared as a whole */
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

static bool is_dots(const char *name) { return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0)); }

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

static int destination(struct init *c, const char *path, uint64_t flags, bool file) {
  return (int)must(c, open_or_make(c, path, O_PATH | flags, file), PLAN_AT_OPEN, path);
}

/* The directory of a path (made when missing), and the last component in `leaf`. */
static int open_parent(struct init *c, const char *path, const char **leaf) {
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

/* Put a detached tree on an open file. */
static void attach(struct init *c, int tree, int onto, const char *path) {
  must(c, SYS(move_mount, tree, "", onto, "", MOUNT_FD_FLAGS), PLAN_AT_MOVE, path);
}

static void set_attributes(struct init *c, int fd, uint64_t set, uint64_t clear, bool recursive, const char *path) {
  if ((set | clear) & ATIME_BITS)
    clear |= ATIME_BITS;
  struct mount_attr attributes = {.attr_set = set, .attr_clr = clear};
  if (!set && !clear)
    return;
  unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
  must(c, SYS(mount_setattr, fd, "", flags, &attributes, sizeof attributes), PLAN_AT_SETATTR, path);
}

static void set_propagation(struct init *c, int fd, uint64_t propagation, const char *path) {
  struct mount_attr attributes = {.propagation = propagation & ~(uint64_t)MS_REC_FLAG};
  if (!attributes.propagation)
    return;
  unsigned flags = AT_EMPTY_PATH | (propagation & MS_REC_FLAG ? AT_RECURSIVE : 0);
  must(c, SYS(mount_setattr, fd, "", flags, &attributes, sizeof attributes), PLAN_AT_SETATTR, path);
}

void step_propagate(struct init *c) {
  struct mount_attr attributes = {.propagation = number(c, 0) & ~(uint64_t)MS_REC_FLAG};
  must(c, SYS(mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &attributes, sizeof attributes), PLAN_AT_SETATTR, "/");
}

/* The one place where a path of the host's leads to the rootfs. */
void step_rootfs(struct init *c) {
  const char *path = text(c, 1);
  int tree = descriptor(c, 0);
  int onto = (int)must(c, SYS(openat, AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC), PLAN_AT_OPEN, path);
  if (tree < 0) {
    unsigned flags = AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
    tree = (int)must(c, SYS(open_tree, onto, "", flags), PLAN_AT_OPENTREE, path);
  }
  attach(c, tree, onto, path);
  retire(c, onto);
  c->root = tree;
}

/* Messages of a file system's context are lines like "e overlay: No changes allowed". */
static _Noreturn void fail_fsconfig(struct init *c, int context, long error, const char *parameter) {
  char body[768];
  size_t size = strlen(parameter);
  if (size > 256)
    size = 256;
  memcpy(body, parameter, size);
  body[size] = 0;
  long read;
  while ((read = SYS(read, context, body + size + 2, sizeof body - size - 3)) > 0) {
    size_t end = size + 2 + (size_t)read;
    if (body[end - 1] == '\n')
      end--;
    bool prefixed = read > 2 && body[size + 3] == ' ';
    body[size] = ':';
    body[size + 1] = ' ';
    if (prefixed) {
      for (size_t i = size + 2; i + 2 < end; i++)
        body[i] = body[i + 2];
      end -= 2;
    }
    body[end] = 0;
  }
  fail(c, PLAN_AT_FSCONFIG, error, 0, body);
}

/* "key=value" or "key" */
static long set_parameter(int context, const char *parameter) {
  char key[256];
  size_t size = 0;
  while (parameter[size] && parameter[size] != '=')
    size++;
  if (size >= sizeof key)
    return -E2BIG;
  memcpy(key, parameter, size);
  key[size] = 0;
  if (!parameter[size])
    return SYS(fsconfig, context, FSCONFIG_SET_FLAG, key, 0, 0);
  return SYS(fsconfig, context, FSCONFIG_SET_STRING, key, parameter + size + 1, 0);
}

static void set_source(struct init *c, int context, const char *source) {
  long error = *source ? SYS(fsconfig, context, FSCONFIG_SET_STRING, "source", source, 0) : 0;
  if (error < 0)
    fail_fsconfig(c, context, error, "source");
}

/* Those of an argument of the step. */
static void set_parameters(struct init *c, int context, int argument) {
  const uint64_t *parameters = (const uint64_t *)(const void *)text(c, argument);
  for (uint32_t i = 0; i < text_size(c, argument); i++) {
    const char *parameter = plan_text(&c->plan, parameters[i]);
    long error = set_parameter(context, parameter);
    if (error < 0)
      fail_fsconfig(c, context, error, parameter);
  }
}

/* A new detached mount, or -1 when it is optional and refused. */
static int new_mount(struct init *c) {
  bool optional = number(c, 6) & PLAN_MOUNT_OPTIONAL;
  uint64_t attributes = number(c, 3);
  if (number(c, 6) & PLAN_MOUNT_COPY_UP)
    attributes &= ~(uint64_t)MOUNT_ATTR_RDONLY; /* not yet */
  const char *type = text(c, 0);
  long context = SYS(fsopen, type, FSOPEN_CLOEXEC);
  if (context < 0 && optional) {
    warn(c, PLAN_AT_FSOPEN, context, 0, type);
    return -1;
  }
  must(c, context, PLAN_AT_FSOPEN, type);
  set_source(c, (int)context, text(c, 1));
  set_parameters(c, (int)context, 2);
  long error = SYS(fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0);
  if (error < 0 && !optional)
    fail_fsconfig(c, (int)context, error, type);
  long tree = error < 0 ? error : SYS(fsmount, context, FSMOUNT_CLOEXEC, attributes);
  retire(c, (int)context);
  if (tree < 0 && optional) {
    warn(c, PLAN_AT_FSMOUNT, tree, 0, type);
    return -1;
  }
  return (int)must(c, tree, PLAN_AT_FSMOUNT, type);
}

/* MOUNT_ATTR_* as flags of mount(2), and those that only mount(2) has. */
static unsigned long legacy_flags(uint64_t attributes, uint64_t more) {
  unsigned long flags = more | (attributes & 0xf); /* ro, nosuid, nodev, noexec are the same bits */
  if (attributes & MOUNT_ATTR_NOATIME)
    flags |= 1ul << 10;
  if (attributes & MOUNT_ATTR_NODIRATIME)
    flags |= 1ul << 11;
  if (attributes & MOUNT_ATTR_STRICTATIME)
    flags |= 1ul << 24;
  if (attributes & MOUNT_ATTR_NOSYMFOLLOW)
    flags |= 1ul << 8;
  return flags;
}

/* The parameters as the data of mount(2): one page, commas between. */
static void join_parameters(struct init *c, char *data) {
  const uint64_t *parameters = (const uint64_t *)(const void *)text(c, 2);
  size_t size = 0;
  for (uint32_t i = 0; i < text_size(c, 2); i++) {
    size_t length = (uint32_t)parameters[i];
    if (size + length + 2 > PATH_SIZE)
      fail(c, PLAN_AT_FSCONFIG, E2BIG, 0, text(c, 0));
    if (size)
      data[size++] = ',';
    memcpy(data + size, plan_text(&c->plan, parameters[i]), length);
    size += length;
  }
  data[size] = 0;
}

static int clone_tree(struct init *c, int fd, const char *path, unsigned flags) {
  flags |= OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  return (int)must(c, SYS(open_tree, fd, path, flags), PLAN_AT_OPENTREE, path);
}

/* One read-only tmpfs of ours for all masks. Nobody else has a path to it. */
static void make_masks(struct init *c) {
  long context = must(c, SYS(fsopen, "tmpfs", FSOPEN_CLOEXEC), PLAN_AT_FSOPEN, "tmpfs");
  long error = SYS(fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0);
  must(c, error, PLAN_AT_FSCONFIG, "tmpfs");
  int tree = (int)must(c, SYS(fsmount, context, FSMOUNT_CLOEXEC, 0), PLAN_AT_FSMOUNT, "tmpfs");
  retire(c, (int)context);
  must(c, SYS(mkdirat, tree, "dir", 0555), PLAN_AT_MKDIR, "dir");
  must(c, SYS(mknodat, tree, "file", S_IFREG | 0444, 0), PLAN_AT_MKNOD, "file");
  set_attributes(c, tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, 0, false,
                 "tmpfs");
  c->masks = tree;
}

/* On top of / no lookup sees it. */
static void attach_masks(struct init *c) {
  must(c, SYS(move_mount, c->masks, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH), PLAN_AT_MOVE, "/");
  c->masks_attached = true;
}

/* Before Linux 6.15 only a mount that is attached can be cloned. */
static int clone_mask(struct init *c, const char *kind) {
  long tree = SYS(open_tree, c->masks, kind, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (tree == -EINVAL && !c->masks_attached) {
    attach_masks(c);
    tree = SYS(open_tree, c->masks, kind, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  }
  return (int)must(c, tree, PLAN_AT_OPENTREE, kind);
}

/* It must be gone before pivot_root: there it would be what umount2(".") finds instead of the old root. */
static void release_masks(struct init *c) {
  if (c->masks_attached) {
    must(c, SYS(fchdir, c->masks), PLAN_AT_UMOUNT, NULL);
    must(c, SYS(umount2, ".", MNT_DETACH_FLAG), PLAN_AT_UMOUNT, NULL);
    must(c, SYS(chdir, "/"), PLAN_AT_UMOUNT, NULL);
    c->masks_attached = false;
  }
  retire(c, c->masks);
  c->masks = -1;
}

/* A parameter does not fit fsconfig's 256 bytes, or a flag is unknown to it: mount(2) on a directory of our own, then a copy of that
 * mount, detached as those of fsmount are. The path goes through the host's procfs. */
static int mount_legacy(struct init *c) {
  char data[PATH_SIZE];
  char path[40] = "/proc/self/fd/";
  const char *type = text(c, 0);
  make_masks(c);
  attach_masks(c);
  long onto = must(c, SYS(openat, c->masks, "dir", O_PATH | O_CLOEXEC), PLAN_AT_OPEN, type);
  decimal(path + 14, (uint64_t)onto);
  join_parameters(c, data);
  must(c, SYS(mount, text(c, 1), path, type, legacy_flags(number(c, 3), number(c, 6) >> 32), data), PLAN_AT_FSMOUNT,
       type);
  long mounted = must(c, SYS(openat, c->masks, "dir", O_PATH | O_CLOEXEC), PLAN_AT_OPEN, type);
  int tree = clone_tree(c, (int)mounted, "", AT_EMPTY_PATH);
  retire(c, (int)onto);
  retire(c, (int)mounted);
  release_masks(c);
  return tree;
}

/* userns: a descriptor, or -1 */
static void map_ids(struct init *c, int tree, int userns) {
  struct mount_attr attributes = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns};
  if (userns < 0)
    return;
  must(c, SYS(mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes), PLAN_AT_SETATTR, text(c, 0));
  retire(c, userns);
}

void step_mount(struct init *c) {
  const char *path = text(c, 5);
  uint64_t flags = number(c, 6);
  int tree = flags & PLAN_MOUNT_LEGACY ? mount_legacy(c) : new_mount(c);
  if (tree < 0)
    return;
  map_ids(c, tree, descriptor(c, 7));
  int onto = destination(c, path, 0, false);
  if (flags & PLAN_MOUNT_COPY_UP) {
    copy_up(c, onto, tree, flags & PLAN_MOUNT_COPY_OWN, path);
    set_attributes(c, tree, number(c, 3) & MOUNT_ATTR_RDONLY, 0, false, path);
  }
  attach(c, tree, onto, path);
  retire(c, onto);
  set_propagation(c, tree, number(c, 4), path);
  if (flags & PLAN_MOUNT_PROC) {
    c->proc = tree;
  } else if (flags & PLAN_MOUNT_DEVPTS) {
    c->devpts = tree;
  } else if (flags & PLAN_MOUNT_CGROUPS) {
    c->cgroups = tree;
  } else {
    retire(c, tree);
  }
}

/* What is mounted at a path: the file system's parameters, then the mount's own attributes. */
void step_remount(struct init *c) {
  const char *path = text(c, 4);
  int mounted = (int)must(c, open_in_root(c, path, O_PATH), PLAN_AT_OPEN, path);
  if (text_size(c, 0)) {
    int context = (int)must(c, SYS(fspick, mounted, "", FSPICK_EMPTY_PATH | FSPICK_CLOEXEC), PLAN_AT_FSOPEN, path);
    set_parameters(c, context, 0);
    long error = SYS(fsconfig, context, FSCONFIG_CMD_RECONFIGURE, 0, 0, 0);
    if (error < 0)
      fail_fsconfig(c, context, error, path);
    retire(c, context);
  }
  set_attributes(c, mounted, number(c, 1) >> 32, (uint32_t)number(c, 1), false, path);
  set_attributes(c, mounted, number(c, 2) >> 32, (uint32_t)number(c, 2), true, path);
  set_propagation(c, mounted, number(c, 3), path);
  retire(c, mounted);
}

/* Instead of the tree that the parent cloned before init had mounted anything. */
static int attach_again(struct init *c, int tree, int onto, const char *path) {
  int fresh = clone_tree(c, tree, "", AT_EMPTY_PATH | AT_RECURSIVE);
  must(c, SYS(fchdir, tree), PLAN_AT_UMOUNT, path);
  must(c, SYS(umount2, ".", MNT_DETACH_FLAG), PLAN_AT_UMOUNT, path);
  attach(c, fresh, onto, path);
  retire(c, tree);
  return fresh;
}

void step_bind(struct init *c) {
  const char *path = text(c, 4);
  bool by_path = text_size(c, 6) != 0;
  unsigned recursive = number(c, 5) & PLAN_BIND_RECURSIVE ? AT_RECURSIVE : 0;
  int tree = by_path ? clone_tree(c, AT_FDCWD, text(c, 6), recursive) : descriptor(c, 0);
  struct stat status;
  must(c, SYS(fstat, tree, &status), PLAN_AT_OPENTREE, path);
  set_attributes(c, tree, number(c, 1) >> 32, (uint32_t)number(c, 1), false, path);
  set_attributes(c, tree, number(c, 2) >> 32, (uint32_t)number(c, 2), true, path);
  uint64_t follow = number(c, 5) & PLAN_BIND_NOFOLLOW ? O_NOFOLLOW : 0;
  int onto = destination(c, path, follow, (status.st_mode & S_IFMT) != S_IFDIR);
  attach(c, tree, onto, path);
  if (number(c, 5) & PLAN_BIND_AGAIN && (status.st_mode & S_IFMT) == S_IFDIR)
    tree = attach_again(c, tree, onto, path);
  set_propagation(c, tree, number(c, 3), path);
  retire(c, onto);
  retire(c, tree);
}

/* The directory below a tmpfs of ours can't be anything but what we make. */
void step_cgroup_bind(struct init *c) {
  const char *name = text(c, 1);
  int tree = clone_tree(c, AT_FDCWD, text(c, 0), 0);
  must(c, SYS(mkdirat, c->cgroups, name, 0755), PLAN_AT_MKDIR, name);
  must(c, SYS(move_mount, tree, "", c->cgroups, name, MOVE_MOUNT_F_EMPTY_PATH), PLAN_AT_MOVE, name);
  retire(c, tree);
}

void step_cgroup_seal(struct init *c) {
  struct mount_attr attributes = {.attr_set = number(c, 0), .propagation = number(c, 1) & ~(uint64_t)MS_REC_FLAG};
  if (attributes.attr_set & ATIME_BITS)
    attributes.attr_clr = ATIME_BITS;
  unsigned flags = AT_EMPTY_PATH | AT_RECURSIVE;
  must(c, SYS(mount_setattr, c->cgroups, "", flags, &attributes, sizeof attributes), PLAN_AT_SETATTR, NULL);
  retire(c, c->cgroups);
  c->cgroups = -1;
}

static bool same_node(const struct stat *status, uint64_t type, uint64_t device) {
  if ((status->st_mode & S_IFMT) != type)
    return false;
  return type == S_IFIFO || type == S_IFREG || (uint32_t)status->st_rdev == (uint32_t)device;
}

void step_mknod(struct init *c) {
  const char *leaf;
  const char *path = text(c, 0);
  int parent = open_parent(c, path, &leaf);
  long made = SYS(mknodat, parent, leaf, number(c, 1), number(c, 2));
  if (made != -EEXIST)
    must(c, made, PLAN_AT_MKNOD, path);
  bool owned = number(c, 3) != 0 || number(c, 4) != 0;
  if (made == 0 && !owned)
    return;
  long node = must(c, SYS(openat, parent, leaf, O_PATH | O_NOFOLLOW | O_CLOEXEC), PLAN_AT_OPEN, path);
  struct stat status;
  must(c, SYS(fstat, node, &status), PLAN_AT_OPEN, path);
  if (!same_node(&status, number(c, 1) & S_IFMT, number(c, 2)))
    fail(c, PLAN_AT_OCCUPIED, EEXIST, 0, path);
  if (owned || made < 0) {
    must(c, SYS(fchownat, node, "", number(c, 3), number(c, 4), AT_EMPTY_PATH), PLAN_AT_CHOWN, path);
  }
  retire(c, (int)node);
}

void step_bind_device(struct init *c) {
  const char *source = text(c, 0);
  const char *path = text(c, 1);
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  int tree = (int)must(c, SYS(open_tree, AT_FDCWD, source, flags), PLAN_AT_OPENTREE, source);
  struct stat status;
  must(c, SYS(fstat, tree, &status), PLAN_AT_OPENTREE, source);
  if (!same_node(&status, number(c, 2), number(c, 3)))
    fail(c, PLAN_AT_OCCUPIED, ENODEV, 0, source);
  int onto = destination(c, path, 0, true);
  attach(c, tree, onto, path);
  retire(c, onto);
  retire(c, tree);
}

void step_symlink(struct init *c) {
  const char *leaf;
  int parent = open_parent(c, text(c, 1), &leaf);
  long error = SYS(symlinkat, text(c, 0), parent, leaf);
  if (error == -EEXIST && number(c, 2) & 1) {
    must(c, SYS(unlinkat, parent, leaf, 0), PLAN_AT_OPEN, text(c, 1));
    error = SYS(symlinkat, text(c, 0), parent, leaf);
  }
  if (error != -EEXIST)
    must(c, error, PLAN_AT_OPEN, text(c, 1));
}

/* A descriptor, or -1 when there is nothing at this path. */
static int open_existing(struct init *c, const char *path) {
  int fd = open_in_root(c, path, O_PATH);
  if (fd == -ENOENT || fd == -ENOTDIR)
    return -1;
  return (int)must(c, fd, PLAN_AT_OPEN, path);
}

void step_mask(struct init *c) {
  const char *path = text(c, 0);
  int onto = open_existing(c, path);
  if (onto < 0)
    return;
  if (c->masks < 0)
    make_masks(c);
  struct stat status;
  must(c, SYS(fstat, onto, &status), PLAN_AT_OPEN, path);
  const char *kind = (status.st_mode & S_IFMT) == S_IFDIR ? "dir" : "file";
  int tree = clone_mask(c, kind);
  attach(c, tree, onto, path);
  retire(c, tree);
  retire(c, onto);
  if (c->pivoted)
    release_masks(c);
}

void step_readonly(struct init *c) {
  const char *path = text(c, 0);
  int onto = open_existing(c, path);
  if (onto < 0)
    return;
  unsigned flags = AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  int tree = (int)must(c, SYS(open_tree, onto, "", flags), PLAN_AT_OPENTREE, path);
  set_attributes(c, tree, MOUNT_ATTR_RDONLY, 0, true, path);
  attach(c, tree, onto, path);
  retire(c, tree);
  retire(c, onto);
}

void step_root_readonly(struct init *c) { set_attributes(c, open_root(c), MOUNT_ATTR_RDONLY, 0, false, "/"); }

void step_root_propagation(struct init *c) { set_propagation(c, open_root(c), number(c, 0), "/"); }

/* Both roots are "." for a moment: no directory for the old one is needed in the rootfs. */
static void pivot_root(struct init *c) {
  must(c, SYS(pivot_root, ".", "."), PLAN_AT_PIVOT, NULL);
  /* PROPAGATE has made the old tree private or a slave: the host does not see this. */
  must(c, SYS(umount2, ".", MNT_DETACH_FLAG), PLAN_AT_UMOUNT, NULL);
}

void step_pivot(struct init *c) {
  release_masks(c);
  must(c, SYS(fchdir, open_root(c)), PLAN_AT_PIVOT, NULL);
  if (number(c, 0) == PLAN_PIVOT_ROOT) {
    pivot_root(c);
  } else {
    if (number(c, 0) == PLAN_PIVOT_MOVE) {
      must(c, SYS(move_mount, c->root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH), PLAN_AT_MOVE, "/");
    }
    must(c, SYS(chroot, "."), PLAN_AT_PIVOT, NULL);
  }
  must(c, SYS(chdir, "/"), PLAN_AT_PIVOT, NULL);
  c->pivoted = true;
}

/* A procfs that nobody has put anything into: the container's own before it runs, or a private one. */
int private_procfs(void) {
  long context = SYS(fsopen, "proc", FSOPEN_CLOEXEC);
  if (context < 0)
    return (int)context;
  long error = SYS(fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0);
  long fd = error < 0 ? error : SYS(fsmount, context, FSMOUNT_CLOEXEC, 0);
  sys_close((int)context);
  return (int)fd;
}

/* In a user namespace a new procfs may be refused: then /proc, if it is the root of a procfs and of ours. */
static int checked_procfs(struct init *c) {
  char self[24];
  char own[24];
  struct statfs fs;
  struct stat status;
  int fd = open_in_root(c, "/proc", O_PATH | O_DIRECTORY);
  must(c, fd, PLAN_AT_OPEN, "/proc");
  must(c, SYS(fstatfs, fd, &fs), PLAN_AT_NOT_PROC, "/proc");
  must(c, SYS(fstat, fd, &status), PLAN_AT_NOT_PROC, "/proc");
  long size = must(c, SYS(readlinkat, fd, "self", self, sizeof self), PLAN_AT_NOT_PROC, "/proc/self");
  unsigned own_size = decimal(own, (uint64_t)SYS(getpid, 0));
  bool ours = size == own_size && memcmp(self, own, own_size) == 0;
  if (fs.f_type != PROC_SUPER_MAGIC || status.st_ino != 1 || !ours) {
    fail(c, PLAN_AT_NOT_PROC, EINVAL, 0, "/proc");
  }
  return fd;
}

int open_procfs(struct init *c) {
  if (c->proc < 0)
    c->proc = private_procfs();
  if (c->proc < 0)
    c->proc = checked_procfs(c);
  return c->proc;
}

/* The multiplexer of the container's devpts. No other file is opened: a device of the image may do harm. */
static int open_ptmx(struct init *c) {
  const char *path = "/dev/pts/ptmx";
  if (c->devpts < 0)
    c->devpts = (int)must(c, open_in_root(c, "dev/pts", O_PATH | O_DIRECTORY), PLAN_AT_PTMX, path);
  struct open_how how = {
      .flags = O_RDWR | O_NOCTTY | O_CLOEXEC,
      .resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS,
  };
  struct statfs fs;
  must(c, SYS(fstatfs, c->devpts, &fs), PLAN_AT_PTMX, path);
  if (fs.f_type != DEVPTS_SUPER_MAGIC)
    fail(c, PLAN_AT_PTMX, EINVAL, 0, path);
  return (int)must(c, SYS(openat2, c->devpts, "ptmx", &how, sizeof how), PLAN_AT_PTMX, path);
}

/* /dev/console is the same terminal. */
static void bind_console(struct init *c, int terminal) {
  unsigned flags = AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  long tree = must(c, SYS(open_tree, terminal, "", flags), PLAN_AT_OPENTREE, "/dev/console");
  int onto = destination(c, "dev/console", 0, true);
  attach(c, (int)tree, onto, "/dev/console");
  retire(c, onto);
  retire(c, (int)tree);
}

void step_console(struct init *c) {
  int unlocked = 0;
  uint16_t size[4] = {(uint16_t)number(c, 2), (uint16_t)number(c, 1), 0, 0}; /* struct winsize */
  int master = open_ptmx(c);
  must(c, SYS(ioctl, master, TIOCSPTLCK, &unlocked), PLAN_AT_PTMX, NULL);
  long terminal = SYS(ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  must(c, terminal, PLAN_AT_PTMX, NULL);
  if (size[0] || size[1])
    must(c, SYS(ioctl, master, TIOCSWINSZ, size), PLAN_AT_PTMX, NULL);
  long error = SYS(fchown, terminal, number(c, 3), -1);
  if (error != -EPERM && error != -EINVAL && error != -EROFS)
    must(c, error, PLAN_AT_CHOWN, NULL);
  if (number(c, 4) & 1)
    bind_console(c, (int)terminal);
  must(c, send_descriptor(descriptor(c, 0), "/dev/ptmx", 9, NULL, master), PLAN_AT_SENDMSG, NULL);
  sys_close(master);
  sys_close(descriptor(c, 0));
  for (int fd = 0; fd < 3; fd++)
    must(c, SYS(dup3, terminal, fd, 0), PLAN_AT_PTMX, NULL);
  sys_close((int)terminal);
  must(c, SYS(ioctl, 0, TIOCSCTTY, 0), PLAN_AT_PTMX, NULL);
}
