/* Steps that hide paths or make them read-only. */
#include "init.h"

/* One read-only tmpfs of ours for all masks. Nobody else has a path to it. */
void make_masks(struct init *c, const char *parameter) {
  long context = must(c, SYS(fsopen, "tmpfs", FSOPEN_CLOEXEC), PLAN_AT_FSOPEN, "tmpfs");
  if (*parameter)
    must(c, set_parameter((int)context, parameter), PLAN_AT_FSCONFIG, parameter);
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
void attach_masks(struct init *c) {
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
void release_masks(struct init *c) {
  if (c->masks_attached) {
    must(c, SYS(fchdir, c->masks), PLAN_AT_UMOUNT, NULL);
    must(c, SYS(umount2, ".", MNT_DETACH_FLAG), PLAN_AT_UMOUNT, NULL);
    must(c, SYS(chdir, "/"), PLAN_AT_UMOUNT, NULL);
    c->masks_attached = false;
  }
  retire(c, c->masks);
  c->masks = -1;
}

void step_mask(struct init *c) {
  const char *path = text(c, 0);
  int onto = open_existing(c, path);
  if (onto < 0)
    return;
  if (c->masks < 0)
    make_masks(c, text(c, 1));
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
  int tree = clone_tree(c, onto, path, AT_RECURSIVE);
  set_attributes(c, tree, MOUNT_ATTR_RDONLY, 0, true, path);
  attach(c, tree, onto, path);
  retire(c, tree);
  retire(c, onto);
}
