/* The snapshot: the memory of an interpreter that has loaded pyrunc and waits for a command line. The
 * launcher maps it instead of starting an interpreter. Written by snapshot.c, read by restore.c.
 *
 *   header | pages of the segments (holes where they are zero)
 *
 * It is good for one user on one processor, and as long as none of the files that it was made from changes. */
#ifndef PYRUNC_SNAPSHOT_H
#define PYRUNC_SNAPSHOT_H

#include <stdint.h>

#define SNAPSHOT_MAGIC 0x33706e73636e7570ull /* changes with the layout of the header */

enum {
  SNAPSHOT_PAGE = 4096,
  SNAPSHOT_FILES = 40,
  SNAPSHOT_SEGMENTS = 160,
  SNAPSHOT_SIGNALS = 3,
  SNAPSHOT_CPU = 8,
  SNAPSHOT_PATH = 216,
};

/* Times in nanoseconds. The device is left out: some file systems have another number after a reboot. */
struct snapshot_file {
  uint64_t inode;
  uint64_t size;
  uint64_t modified;
  uint64_t changed;
  char path[SNAPSHOT_PATH];
};

struct snapshot_segment {
  uint64_t start;
  uint64_t size;
  uint64_t offset; /* in the file; 0: zeros */
  uint64_t prot;
};

struct snapshot_signal {
  uint64_t number;
  uint64_t action[4]; /* the kernel's struct sigaction */
};

/* Where the interpreter goes on: what a called function has to preserve. */
struct snapshot_registers {
  uint64_t rbx, rbp, r12, r13, r14, r15, rsp, rip;
};

/* What the launcher hands over; it lives on the launcher's stack. */
struct snapshot_given {
  long argc;
  char **argv;
  char **envp;
};

struct snapshot_header {
  uint64_t magic;
  uint64_t size; /* bytes of the whole file */
  uint64_t uid;
  uint64_t fs;              /* the thread pointer */
  uint64_t given;           /* the address of a struct snapshot_given in a segment */
  char path[SNAPSHOT_PATH]; /* of this file: a copy of an installation needs one of its own */
  struct snapshot_registers registers;
  uint32_t cpu[SNAPSHOT_CPU];
  uint64_t nfiles;
  uint64_t nsegments;
  struct snapshot_signal signals[SNAPSHOT_SIGNALS];
  struct snapshot_segment segments[SNAPSHOT_SEGMENTS];
  struct snapshot_file files[SNAPSHOT_FILES];
};

#if defined(__x86_64__)
/* What the C library chose its functions by. */
static inline void snapshot_cpu(uint32_t *words) {
  uint32_t a, b, c, d;
  __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(1), "c"(0));
  words[0] = a;
  words[1] = c;
  words[2] = d;
  __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
  words[3] = b;
  words[4] = c;
  words[5] = d;
  words[6] = words[7] = 0;
  if (words[1] >> 27 & 1) /* OSXSAVE: which registers the kernel saves */
    __asm__("xgetbv" : "=a"(words[6]), "=d"(words[7]) : "c"(0));
}
#endif

#endif
