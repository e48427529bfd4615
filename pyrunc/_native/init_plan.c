/* Checks a plan before its first step runs: after this, its arguments are used as they are. */
#include "init_plan.h"

static const char signatures[][PLAN_ARGUMENTS + 1] = {"",
#define PLAN_STEP(name, signature) signature,
                                                      PLAN_STEPS
#undef PLAN_STEP
};

static int good_range(uint32_t plan_size, uint64_t offset, uint64_t size) {
  return offset <= plan_size && size <= plan_size - offset;
}

static int good_text(const struct plan *plan, uint64_t reference) {
  uint64_t offset = reference >> 32;
  uint64_t size = (uint32_t)reference;
  if (!good_range(plan->header->size, offset, size + 1))
    return 0;
  const char *text = plan->bytes + offset;
  for (uint64_t i = 0; i < size; i++) {
    if (text[i] == 0)
      return 0;
  }
  return text[size] == 0;
}

static int good_vector(const struct plan *plan, uint64_t reference) {
  uint64_t offset = reference >> 32;
  uint64_t count = (uint32_t)reference;
  if (offset % 8 != 0 || !good_range(plan->header->size, offset, count * 8))
    return 0;
  const uint64_t *texts = (const uint64_t *)(const void *)(plan->bytes + offset);
  for (uint64_t i = 0; i < count; i++) {
    if (!good_text(plan, texts[i]))
      return 0;
  }
  return 1;
}

static int good_argument(const struct plan *plan, char type, uint64_t value) {
  switch (type) {
  case 'i':
    return 1;
  case 's':
    return good_text(plan, value);
  case 'b':
    return good_range(plan->header->size, value >> 32, (uint32_t)value);
  case 'v':
    return good_vector(plan, value);
  case 'f':
    return value == PLAN_NO_FD || value < plan->header->nfds;
  default:
    return 0;
  }
}

static int good_step(const struct plan *plan, const struct plan_step *step) {
  if (step->op == PLAN_OP_NONE || step->op >= PLAN_OP_END || step->reserved != 0)
    return 0;
  const char *signature = signatures[step->op];
  for (int i = 0; i < PLAN_ARGUMENTS && signature[i]; i++) {
    if (!good_argument(plan, signature[i], step->arg[i]))
      return 0;
  }
  return 1;
}

int plan_decode(struct plan *plan, const void *bytes, size_t size) {
  const struct plan_header *header = bytes;
  if (size < sizeof *header || header->magic != PLAN_MAGIC)
    return -1;
  if (header->version != PLAN_VERSION || header->size != size)
    return -1;
  uint64_t steps_size = (uint64_t)header->nsteps * sizeof(struct plan_step);
  uint64_t tables = sizeof *header + steps_size + (uint64_t)header->nfds * sizeof(int32_t);
  if (tables > size)
    return -1;
  plan->bytes = bytes;
  plan->header = header;
  plan->steps = (const struct plan_step *)(header + 1);
  plan->fds = (const int32_t *)(plan->steps + header->nsteps);
  for (uint32_t i = 0; i < header->nsteps; i++) {
    if (!good_step(plan, &plan->steps[i]))
      return (int)i + 1; /* 72 bytes each: it cannot overflow */
  }
  return 0;
}
