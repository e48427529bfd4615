/* Steps that make devices and links. */
#include "init.h"

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
  int tree = clone_path(c, source, 0);
  struct stat status;
  must(c, SYS(fstat, tree, &status), PLAN_AT_OPENTREE, source);
  if (!same_node(&status, number(c, 2), number(c, 3)))
    fail(c, PLAN_AT_OCCUPIED, ENODEV, 0, source);
  int onto = destination(c, path, true);
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
