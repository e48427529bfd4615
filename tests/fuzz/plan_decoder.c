/* Fuzzes the decoder of plans, and then reads every argument that it let through.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -Ipyrunc/_native tests/fuzz/plan_decoder.c \
 *         pyrunc/_native/init_plan.c -o plan_decoder
 */
#include <stdlib.h>
#include <string.h>

#include "init_plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char signatures[][PLAN_ARGUMENTS + 1] = {
    "",
#define PLAN_STEP(name, signature) signature,
    PLAN_STEPS
#undef PLAN_STEP
};

static void check_text(const struct plan *plan, uint64_t reference) {
  if (strlen(plan_text(plan, reference)) != (uint32_t)reference) abort();
}

static void check_argument(const struct plan *plan, char type, uint64_t value) {
  static volatile unsigned sink; /* so that the reads are not optimized away */
  const char *bytes = plan_text(plan, value);
  if (type == 's') check_text(plan, value);
  if (type == 'f') sink = sink + (unsigned)plan_fd(plan, value);
  for (uint32_t i = 0; type == 'b' && i < (uint32_t)value; i++) sink = sink + (unsigned)bytes[i];
  for (uint32_t i = 0; type == 'v' && i < (uint32_t)value; i++) {
    check_text(plan, ((const uint64_t *)(const void *)bytes)[i]);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct plan plan;
  char *copy = malloc(size ? size : 1); /* aligned, and of this size exactly: ASan sees a byte too many */
  if (copy == NULL) return 0;
  if (size) memcpy(copy, data, size);
  if (size >= sizeof(struct plan_header)) {
    /* What random bytes would not find. */
    struct plan_header *header = (struct plan_header *)(void *)copy;
    header->magic = PLAN_MAGIC;
    header->version = PLAN_VERSION;
    if (header->size % 8 != 0) header->size = (uint32_t)size;
  }
  if (plan_decode(&plan, copy, size) == 0) {
    for (uint32_t i = 0; i < plan.header->nsteps; i++) {
      const struct plan_step *step = &plan.steps[i];
      const char *signature = signatures[step->op];
      for (int j = 0; signature[j]; j++) {
        if (signature[j] == 'i') continue;
        if (signature[j] == 'f' || step->arg[j] >> 32 <= size) check_argument(&plan, signature[j], step->arg[j]);
      }
    }
  }
  free(copy);
  return 0;
}
