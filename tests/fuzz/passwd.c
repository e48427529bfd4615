/* Fuzzes the reader of the container's passwd: the system calls of init_home.c give it the fuzzer's bytes.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -Ipyrunc/_native tests/fuzz/passwd.c -o passwd
 */
#include "init.h"

enum { DESCRIPTOR = 1 << 30 }; /* closing it is no harm */

static const uint8_t *given;
static size_t left;

/* read(2): the rest of the bytes, in pieces whose size they say themselves. */
static long give(char *to, size_t size) {
  size_t piece = left ? given[0] * 16u + 1 : 0;
  if (piece > left) piece = left;
  if (piece > size) piece = size;
  memcpy(to, given, piece);
  given += piece;
  left -= piece;
  return (long)piece;
}

static long look(struct stat *status) {
  *status = (struct stat){.st_mode = S_IFREG};
  return 0;
}

#undef SYS
#define SYS(name, ...) fuzz_##name(__VA_ARGS__)
#define fuzz_read(fd, to, size) give(to, size)
#define fuzz_fstat(fd, status) look(status)
#define fuzz_close(fd) 0
#define fuzz_getpid(unused) 1
#define fuzz_openat2(directory, path, how, size) ((void)(how), DESCRIPTOR)

#include "init_home.c"

int open_in_root(struct init *c, const char *path, uint64_t flags) {
  (void)c, (void)path, (void)flags;
  return DESCRIPTOR;
}

int find_procfs(struct init *c) {
  (void)c;
  return DESCRIPTOR;
}

void retire(struct init *c, int fd) { (void)c, (void)fd; }

unsigned decimal(char *out, uint64_t value) {
  *out = (char)('0' + value % 10);
  return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static char home[PATH_SIZE];
  struct plan_step step = {.arg = {size ? data[0] : 0}};
  struct init context = {.at = &step, .home = home};
  given = data;
  left = size;
  step_home(&context);
  if (memcmp(home, "HOME=", 5) != 0 || strlen(home) >= PATH_SIZE) __builtin_trap();
  return 0;
}
