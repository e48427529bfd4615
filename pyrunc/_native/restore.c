/* The launcher's short cut: an interpreter that has loaded everything, from the snapshot (snapshot.h). */
#include "launcher.h"

#include <linux/fcntl.h>

#if defined(__x86_64__)

#include "snapshot.h"

#include <asm/prctl.h>
#include <asm/signal.h>
#include <asm/stat.h>
#include <linux/auxvec.h>
#include <linux/mman.h>

enum { GROUP_OR_OTHER_MAY_WRITE = 0022 };

static int is_same_file(const struct snapshot_file *file) {
  struct stat status;
  return SYS(stat, file->path, &status) == 0 && status.st_ino == file->inode &&
         (uint64_t)status.st_size == file->size &&
         status.st_mtime * 1000000000u + status.st_mtime_nsec == file->modified &&
         status.st_ctime * 1000000000u + status.st_ctime_nsec == file->changed;
}

static int is_same_text(const char *one, const char *other) {
  while (*one && *one == *other) {
    one++;
    other++;
  }
  return *one == *other;
}

/* Whether this user made it, here, on this processor, of the files that are there now. */
static int is_good(const struct snapshot_header *header, const char *path, const struct stat *status) {
  uint32_t cpu[SNAPSHOT_CPU];
  long uid = SYS(geteuid, 0);
  if (header->magic != SNAPSHOT_MAGIC || header->size != (uint64_t)status->st_size)
    return 0;
  if ((long)header->uid != uid || status->st_uid != uid || status->st_mode & GROUP_OR_OTHER_MAY_WRITE)
    return 0;
  if (!is_same_text(header->path, path))
    return 0;
  if (header->nfiles > SNAPSHOT_FILES || header->nsegments > SNAPSHOT_SEGMENTS)
    return 0;
  snapshot_cpu(cpu);
  for (int i = 0; i < SNAPSHOT_CPU; i++)
    if (cpu[i] != header->cpu[i])
      return 0;
  for (uint64_t i = 0; i < header->nfiles; i++)
    if (!is_same_file(&header->files[i]))
      return 0;
  return 1;
}

/* 0, or the negated errno. */
static long map_segments(const struct snapshot_header *header, long fd) {
  for (uint64_t i = 0; i < header->nsegments; i++) {
    const struct snapshot_segment *segment = &header->segments[i];
    long flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE | (segment->offset ? 0 : MAP_ANONYMOUS | MAP_NORESERVE);
    long at =
        SYS(mmap, segment->start, segment->size, segment->prot, flags, segment->offset ? fd : -1, segment->offset);
    if (at != (long)segment->start)
      return at < 0 ? at : -ENOMEM;
  }
  return 0;
}

static int equal(const char *left, const char *right) {
  while (*left && *left == *right)
    left++, right++;
  return *left == *right;
}

/* The kernel chooses by chance where a stack lies, and once in some thousand times ours is where the image has its
 * own. So we execute ourselves, to get another; once only: where nothing is left to chance it would not end. */
static void try_again(char **argv, char **envp) {
  static const char own[] = "/proc/self/exe";
  const unsigned long *word = (const unsigned long *)envp;
  while (*word++)
    ;
  for (; word[0] != AT_NULL; word += 2)
    if (word[0] == AT_EXECFN && !equal((const char *)word[1], own))
      SYS(execve, own, argv, envp);
}

/* As an interpreter does when it starts: what our caller ignores stays ignored. */
static void set_signals(const struct snapshot_header *header) {
  uint64_t before[4];
  for (int i = 0; i < SNAPSHOT_SIGNALS; i++) {
    const struct snapshot_signal *signal = &header->signals[i];
    if (SYS(rt_sigaction, signal->number, signal->action, before, 8) == 0 && before[0] != 0)
      SYS(rt_sigaction, signal->number, before, 0, 8);
  }
}

__attribute__((noreturn)) static void go_on(const struct snapshot_registers *registers) {
  __asm__ volatile("mov %0, %%rdi\n\t"
                   "mov (%%rdi), %%rbx\n\tmov 8(%%rdi), %%rbp\n\tmov 16(%%rdi), %%r12\n\t"
                   "mov 24(%%rdi), %%r13\n\tmov 32(%%rdi), %%r14\n\tmov 40(%%rdi), %%r15\n\t"
                   "mov 48(%%rdi), %%rsp\n\tmov $1, %%eax\n\tjmp *56(%%rdi)"
                   :
                   : "r"(registers)
                   : "memory");
  __builtin_unreachable();
}

void try_snapshot(const char *path, long argc, char **argv, char **envp) {
  struct stat status;
  long fd = SYS(open, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0)
    return;
  if (fd <= 2) { /* a standard stream is closed */
    SYS(close, fd);
    return;
  }
  const struct snapshot_header *header = (void *)-1;
  if (SYS(fstat, fd, &status) == 0 && status.st_size > (long)sizeof *header)
    header = (const void *)SYS(mmap, 0, sizeof *header, PROT_READ, MAP_PRIVATE, fd, 0);
  long mapped = -ENOEXEC;
  if ((unsigned long)header < -4095ul && is_good(header, path, &status))
    mapped = map_segments(header, fd);
  if (mapped == -EEXIST)
    try_again(argv, envp);
  if (mapped == 0) {
    SYS(close, fd);
    *(struct snapshot_given *)header->given = (struct snapshot_given){argc, argv, envp};
    set_signals(header);
    SYS(arch_prctl, ARCH_SET_FS, header->fs);
    go_on(&header->registers);
  }
  SYS(close, fd);
}

#else

void try_snapshot(const char *path, long argc, char **argv, char **envp) {
  (void)path, (void)argc, (void)argv, (void)envp;
}

#endif
