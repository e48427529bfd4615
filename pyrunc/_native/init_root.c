/* Steps of the root: the old tree, the rootfs, what becomes of both. */
#include "init.h"

void step_propagate(struct init *c) {
  struct mount_attr attributes = {.propagation = number(c, 0) & ~(uint64_t)MS_REC_FLAG};
  must(c, SYS(mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &attributes, sizeof attributes), PLAN_AT_SETATTR, "/");
}

/* The one place where a path of the host's leads to the rootfs. */
void step_rootfs(struct init *c) {
  const char *path = text(c, 1);
  int tree = descriptor(c, 0);
  int onto = (int)must(c, SYS(openat, AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC), PLAN_AT_OPEN, path);
  if (tree < 0)
    tree = clone_tree(c, onto, path, AT_RECURSIVE);
  else
    /* Cloned where the mounts may be shared: with a peer of theirs, they would go when it goes. */
    set_propagation(c, tree, MS_SLAVE | MS_REC_FLAG, path);
  attach(c, tree, onto, path);
  retire(c, onto);
  c->root = tree;
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

void step_chroot(struct init *c) {
  int root = descriptor(c, 0);
  must(c, SYS(fchdir, root), PLAN_AT_PIVOT, NULL);
  must(c, SYS(chroot, "."), PLAN_AT_PIVOT, NULL);
  retire(c, root);
}
