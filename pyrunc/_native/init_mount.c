/* Mounts: each is made detached, gets its attributes, and goes from a descriptor to a descriptor. */
#include "init.h"

#define MOUNT_FD_FLAGS (MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
#define ATIME_BITS 0x70u /* MOUNT_ATTR__ATIME: set or cleared as a whole */

static bool is_root(struct init *c, int fd, const char *path) {
  struct statx root;
  struct statx here;
  if (c->root < 0)
    return false;
  must(c, SYS(statx, c->root, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &root), PLAN_AT_OPEN, path);
  must(c, SYS(statx, fd, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &here), PLAN_AT_OPEN, path);
  return root.stx_mnt_id == here.stx_mnt_id && root.stx_ino == here.stx_ino;
}

/* Put a detached tree on an open file. What is put on the root is the root from then on: a lookup that begins
 * at the old one would not see it. */
void attach(struct init *c, int tree, int onto, const char *path) {
  bool covers = is_root(c, onto, path);
  must(c, SYS(move_mount, tree, "", onto, "", MOUNT_FD_FLAGS), PLAN_AT_MOVE, path);
  if (!covers)
    return;
  c->root = (int)must(c, SYS(fcntl, tree, F_DUPFD_CLOEXEC, 3), PLAN_AT_OPEN, path);
  retire(c, c->parent);
  c->parent = c->devpts = -1;
}

void set_attributes(struct init *c, int fd, uint64_t set, uint64_t clear, bool recursive, const char *path) {
  if ((set | clear) & ATIME_BITS)
    clear |= ATIME_BITS;
  struct mount_attr attributes = {.attr_set = set, .attr_clr = clear};
  if (!set && !clear)
    return;
  unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
  must(c, SYS(mount_setattr, fd, "", flags, &attributes, sizeof attributes), PLAN_AT_SETATTR, path);
}

void set_propagation(struct init *c, int fd, uint64_t propagation, const char *path) {
  struct mount_attr attributes = {.propagation = propagation & ~(uint64_t)MS_REC_FLAG};
  if (!attributes.propagation)
    return;
  unsigned flags = AT_EMPTY_PATH | (propagation & MS_REC_FLAG ? AT_RECURSIVE : 0);
  must(c, SYS(mount_setattr, fd, "", flags, &attributes, sizeof attributes), PLAN_AT_SETATTR, path);
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

long set_parameter(int context, const char *parameter) {
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

/* A new detached mount. */
static int new_mount(struct init *c) {
  uint64_t attributes = number(c, 3);
  if (number(c, 6) & PLAN_MOUNT_COPY_UP)
    attributes &= ~(uint64_t)MOUNT_ATTR_RDONLY; /* not yet */
  const char *type = text(c, 0);
  long context = SYS(fsopen, type, FSOPEN_CLOEXEC);
  must(c, context, PLAN_AT_FSOPEN, type);
  set_source(c, (int)context, text(c, 1));
  set_parameters(c, (int)context, 2);
  long error = SYS(fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0);
  if (error < 0)
    fail_fsconfig(c, (int)context, error, type);
  long tree = SYS(fsmount, context, FSMOUNT_CLOEXEC, attributes);
  retire(c, (int)context);
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

/* A detached copy of what is mounted at an open file; path: for errors. */
int clone_tree(struct init *c, int fd, const char *path, unsigned recursive) {
  unsigned flags = recursive | AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  return (int)must(c, SYS(open_tree, fd, "", flags), PLAN_AT_OPENTREE, path);
}

/* The same, of a path of the host's. */
int clone_path(struct init *c, const char *path, unsigned recursive) {
  unsigned flags = recursive | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  return (int)must(c, SYS(open_tree, AT_FDCWD, path, flags), PLAN_AT_OPENTREE, path);
}

/* A parameter does not fit fsconfig's 256 bytes, or a flag is unknown to it: mount(2) on a directory of our own,
 * then a copy of that mount, detached as those of fsmount are. */
static int mount_legacy(struct init *c) {
  char data[PATH_SIZE];
  const char *type = text(c, 0);
  make_masks(c, "");
  attach_masks(c);
  long onto = must(c, SYS(openat, c->masks, "dir", O_PATH | O_CLOEXEC), PLAN_AT_OPEN, type);
  join_parameters(c, data);
  must(c, SYS(fchdir, onto), PLAN_AT_OPEN, type);
  must(c, SYS(mount, text(c, 1), ".", type, legacy_flags(number(c, 3), number(c, 6) >> 32), data), PLAN_AT_FSMOUNT,
       type);
  long mounted = must(c, SYS(openat, c->masks, "dir", O_PATH | O_CLOEXEC), PLAN_AT_OPEN, type);
  int tree = clone_tree(c, (int)mounted, type, 0);
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

/* Of message queues, for one. */
static void label_root(struct init *c, int tree, const char *path) {
  if (!text_size(c, 8))
    return;
  long root = must(c, SYS(openat, tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), PLAN_AT_OPEN, path);
  const char *label = text(c, 8);
  must(c, SYS(fsetxattr, root, "security.selinux", label, text_size(c, 8), 0), PLAN_AT_LABEL, label);
  retire(c, (int)root);
}

void step_mount(struct init *c) {
  const char *path = text(c, 5);
  uint64_t flags = number(c, 6);
  int tree = flags & PLAN_MOUNT_LEGACY ? mount_legacy(c) : new_mount(c);
  label_root(c, tree, path);
  map_ids(c, tree, descriptor(c, 7));
  /* A directory that has yet to be made has no mode to be kept: the new file system's own is right. */
  int onto = flags & PLAN_MOUNT_COPY_OWN ? open_existing(c, path) : -1;
  bool own = onto >= 0;
  if (!own)
    onto = destination(c, path, false);
  if (flags & PLAN_MOUNT_COPY_UP) {
    copy_up(c, onto, tree, own, path);
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

/* Instead of the tree that the parent cloned before init had mounted anything. Its mounts are still peers of the
 * host's, which would be unmounted with them: so they leave that group first. */
static int attach_again(struct init *c, int tree, int onto, const char *path) {
  int fresh = clone_tree(c, tree, path, AT_RECURSIVE);
  set_propagation(c, tree, MS_PRIVATE | MS_REC_FLAG, path);
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
  int tree = by_path ? clone_path(c, text(c, 6), recursive) : descriptor(c, 0);
  struct stat status;
  must(c, SYS(fstat, tree, &status), PLAN_AT_OPENTREE, path);
  set_attributes(c, tree, number(c, 1) >> 32, (uint32_t)number(c, 1), false, path);
  set_attributes(c, tree, number(c, 2) >> 32, (uint32_t)number(c, 2), true, path);
  int onto = destination(c, path, (status.st_mode & S_IFMT) != S_IFDIR);
  int root = c->root;
  attach(c, tree, onto, path);
  if (number(c, 5) & PLAN_BIND_AGAIN && (status.st_mode & S_IFMT) == S_IFDIR) {
    c->root = root;
    tree = attach_again(c, tree, onto, path);
  }
  set_propagation(c, tree, number(c, 3), path);
  retire(c, onto);
  retire(c, tree);
}

/* The directory below a tmpfs of ours can't be anything but what we make. */
void step_cgroup_bind(struct init *c) {
  const char *name = text(c, 1);
  int tree = clone_path(c, text(c, 0), 0);
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
