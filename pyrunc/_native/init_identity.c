/* Steps of who the process is: user, groups, capabilities. */
#include "init.h"

/* clone.c raised ambient capabilities to bring them over the exec of pyrunc-init; root needs none. */
void step_become_root(struct init *c) {
  if (!number(c, 0))
    SYS(setgroups, 0, 0); /* denied where an unprivileged user wrote the maps */
  must(c, SYS(setresgid, 0, 0, 0), PLAN_AT_SETGID, NULL);
  must(c, SYS(setresuid, 0, 0, 0), PLAN_AT_SETUID, NULL);
  SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
}

void step_bounding(struct init *c) {
  for (int capability = 0; capability < 64; capability++) {
    if (number(c, 0) >> capability & 1)
      continue;
    long result = SYS(prctl, PR_CAPBSET_DROP, capability);
    if (result == -EINVAL)
      return; /* beyond the kernel's last */
    must(c, result, PLAN_AT_NONE, NULL);
  }
}

void step_setgroups(struct init *c) {
  uint32_t size = text_size(c, 0);
  long result = SYS(setgroups, size / sizeof(uint32_t), size ? text(c, 0) : NULL);
  if (size == 0 && result == -EPERM)
    return; /* denied in this user namespace: there is nothing to drop */
  must(c, result, PLAN_AT_SETGROUPS, NULL);
}

struct capabilities {
  struct __user_cap_header_struct header;
  struct __user_cap_data_struct data[2];
};

static long get_capabilities(struct capabilities *all) {
  all->header.version = _LINUX_CAPABILITY_VERSION_3;
  all->header.pid = 0;
  return SYS(capget, &all->header, all->data);
}

/* A change from root to another user keeps the permitted set, but the effective one has to be raised. */
void step_setids(struct init *c) {
  struct capabilities all;
  bool root = number(c, 0) == 0;
  if (!root)
    must(c, SYS(prctl, PR_SET_KEEPCAPS, 1), PLAN_AT_NONE, NULL);
  must(c, SYS(setresgid, number(c, 1), number(c, 1), number(c, 1)), PLAN_AT_SETGID, NULL);
  must(c, SYS(setresuid, number(c, 0), number(c, 0), number(c, 0)), PLAN_AT_SETUID, NULL);
  if (root)
    return;
  must(c, SYS(prctl, PR_SET_KEEPCAPS, 0), PLAN_AT_NONE, NULL);
  must(c, get_capabilities(&all), PLAN_AT_NONE, NULL);
  for (int i = 0; i < 2; i++)
    all.data[i].effective = all.data[i].permitted;
  must(c, SYS(capset, &all.header, all.data), PLAN_AT_NONE, NULL);
}

static void set_word(struct capabilities *all, int word, uint64_t effective, uint64_t permitted, uint64_t inheritable) {
  all->data[word].effective = (uint32_t)(effective >> (word * 32));
  all->data[word].permitted = (uint32_t)(permitted >> (word * 32));
  all->data[word].inheritable = (uint32_t)(inheritable >> (word * 32));
}

static long set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
  struct capabilities all = {.header = {.version = _LINUX_CAPABILITY_VERSION_3}};
  for (int word = 0; word < 2; word++)
    set_word(&all, word, effective, permitted, inheritable);
  return SYS(capset, &all.header, all.data);
}

/* What the process has not got cannot be given to it: that is a warning, not a failure. */
void step_capabilities(struct init *c) {
  uint64_t permitted = number(c, 1);
  long result = set_capabilities(number(c, 0), permitted, number(c, 2));
  if (result == -EPERM) {
    struct capabilities now;
    must(c, get_capabilities(&now), PLAN_AT_NONE, NULL);
    uint64_t had = now.data[0].permitted | (uint64_t)now.data[1].permitted << 32;
    uint64_t could = had | now.data[0].inheritable | (uint64_t)now.data[1].inheritable << 32;
    uint64_t missing = (permitted & ~had) | (number(c, 2) & ~could);
    permitted &= had;
    result = set_capabilities(number(c, 0) & permitted, permitted, number(c, 2) & could);
    warn(c, PLAN_AT_NONE, EPERM, (int64_t)missing, NULL);
  }
  must(c, result, PLAN_AT_NONE, NULL);
}

void step_ambient(struct init *c) {
  SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
  for (int capability = 0; capability < 64; capability++) {
    if (number(c, 0) >> capability & 1)
      SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability);
  }
}

void step_no_new_privileges(struct init *c) { must(c, SYS(prctl, PR_SET_NO_NEW_PRIVS, 1), PLAN_AT_NONE, NULL); }
