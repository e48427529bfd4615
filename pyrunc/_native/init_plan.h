/* The decoder of a plan. It needs no libc and compiles with one (the fuzzer does). */
#ifndef PYRUNC_INIT_PLAN_H
#define PYRUNC_INIT_PLAN_H

#include <stddef.h>

#include "plan.h"

struct plan {
  const char *bytes;
  const struct plan_header *header;
  const struct plan_step *steps;
  const int32_t *fds;
};

#define PLAN_NO_FD (~UINT64_C(0))

/* Check all of a plan at `bytes` (aligned to 8) and fill in `plan`.
 * 0: good. -1: no header that can be believed. n > 0: step n - 1 is broken, the header is good. */
int plan_decode(struct plan *plan, const void *bytes, size_t size);

static inline const char *plan_text(const struct plan *plan, uint64_t reference) {
  return plan->bytes + (reference >> 32);
}

static inline int plan_fd(const struct plan *plan, uint64_t index) {
  return index == PLAN_NO_FD ? -1 : plan->fds[index];
}

#endif
