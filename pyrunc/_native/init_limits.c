/* Steps of what the process may use, and when: scheduling, memory, limits. */
#include "init.h"

/* SCHED_ATTR_SIZE_VER0 of the kernel's struct sched_attr. */
struct scheduler_attributes {
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime;
  uint64_t deadline;
  uint64_t period;
};

void step_scheduler(struct init *c) {
  struct scheduler_attributes attributes = {
      .size = sizeof attributes,
      .policy = (uint32_t)number(c, 0),
      .nice = (int32_t)number(c, 1),
      .priority = (uint32_t)number(c, 2),
      .flags = number(c, 3),
      .runtime = number(c, 4),
      .deadline = number(c, 5),
      .period = number(c, 6),
  };
  must(c, SYS(sched_setattr, 0, &attributes, 0), PLAN_AT_NONE, NULL);
}

void step_io_priority(struct init *c) {
  must(c, SYS(ioprio_set, 2 /* IOPRIO_WHO_PGRP */, 0, number(c, 0)), PLAN_AT_NONE, NULL);
}

void step_affinity(struct init *c) {
  must(c, SYS(sched_setaffinity, 0, text_size(c, 0), text(c, 0)), PLAN_AT_NONE, NULL);
}

void step_memory_policy(struct init *c) {
  if (number(c, 2) > (uint64_t)text_size(c, 1) * 8)
    fail(c, PLAN_AT_DECODE, EINVAL, 0, NULL);
  const char *mask = text_size(c, 1) ? text(c, 1) : NULL;
  /* The kernel counts one bit less than it is told. */
  uint64_t bits = mask ? number(c, 2) + 1 : 0;
  must(c, SYS(set_mempolicy, number(c, 0), mask, bits), PLAN_AT_NONE, NULL);
}

void step_rlimit(struct init *c) {
  uint64_t limit[2] = {number(c, 1), number(c, 2)};
  must(c, SYS(prlimit64, 0, number(c, 0), limit, 0), PLAN_AT_NONE, NULL);
}
